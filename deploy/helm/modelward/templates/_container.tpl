{{- define "modelward.restricted" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "modelward.podSecurity" -}}
runAsNonRoot: true
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* KServe makes its Service of the ports, and takes one alone: h2c, for gRPC. Probes need no name. */}}
{{- define "modelward.container" -}}
image: {{ include "modelward.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/modelward/config/modelward.yaml]
env: {{- include "modelward.env" . | nindent 2 }}
ports:
  {{- if not (include "modelward.beside" .) }}
  - {name: {{ ternary "h2c" "grpc" (eq .Values.backend.kind "kserve") }}, containerPort: 8001, protocol: TCP}
  {{- end }}
  {{- if ne .Values.backend.kind "kserve" }}
  - {name: http, containerPort: 8002, protocol: TCP}
  {{- end }}
  {{- if .Values.admin.secretName }}
  - {name: admin, containerPort: 8003, protocol: TCP}
  {{- end }}
{{ include "modelward.probes" . }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "modelward.restricted" . | nindent 2 }}
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
volumeMounts:
  - {name: modelward-config, mountPath: /etc/modelward/config, readOnly: true}
  - {name: modelward-state, mountPath: /var/lib/modelward}
  - {name: modelward-run, mountPath: /run/modelward}
  - {name: modelward-tmp, mountPath: /tmp}
  {{- if eq .Values.backend.kind "embedded" }}
  - {name: models, mountPath: /models, readOnly: true}
  {{- end }}
  {{- range (include "modelward.secrets" . | fromYamlArray) }}
  - {name: modelward-{{ .name }}, mountPath: {{ .path }}, readOnly: true}
  {{- end }}
{{- end }}

{{- define "modelward.env" -}}
- {name: STATE_DIRECTORY, value: /var/lib/modelward}
{{- if not .Values.admin.secretName }}
- {name: MODELWARD_ADMIN, value: "unix:/run/modelward/admin.sock"}
{{- end }}
{{- if .Values.valkey.urlKey }}
- name: MODELWARD__LIMITS__SHARED__URL
  valueFrom: {secretKeyRef: {name: {{ .Values.valkey.secretName }}, key: {{ .Values.valkey.urlKey }}}}
{{- end }}
{{- if .Values.postgres.urlKey }}
- name: MODELWARD__AUDIT__POSTGRES__URL
  valueFrom: {secretKeyRef: {name: {{ .Values.postgres.secretName }}, key: {{ .Values.postgres.urlKey }}}}
{{- end }}
{{- if .Values.fleet }}
{{- with get .Values .Values.fleet }}
{{- if .urlKey }}
- name: MODELWARD__FLEET__URL
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: {{ .urlKey }}}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Secrets that are mounted: name of the volume, path, name of the Secret. Whole folders, which the kubelet keeps up to date. */}}
{{- define "modelward.secrets" -}}
{{- if and (include "modelward.tlsSecret" .) (not (include "modelward.beside" .)) }}
- {name: tls, path: /etc/modelward/tls, secret: {{ include "modelward.tlsSecret" . }}}
{{- end }}
{{- with .Values.admin.secretName }}
- {name: admin, path: /etc/modelward/admin, secret: {{ . }}}
{{- end }}
{{- with .Values.keys.secretName }}
- {name: keys, path: /etc/modelward/keys, secret: {{ . }}}
{{- end }}
{{- if .Values.valkey.passwordKey }}
- {name: valkey, path: /etc/modelward/valkey, secret: {{ .Values.valkey.secretName }}}
{{- end }}
{{- if .Values.postgres.passwordKey }}
- {name: postgres, path: /etc/modelward/postgres, secret: {{ .Values.postgres.secretName }}}
{{- end }}
{{- range $i, $name := .Values.secrets }}
- {name: secret-{{ $i }}, path: /etc/modelward/secrets/{{ $name }}, secret: {{ $name }}}
{{- end }}
{{- end }}

{{- define "modelward.volumes" -}}
- name: modelward-config
  configMap: {name: {{ include "modelward.fullname" . }}}
{{- if eq .Values.state.kind "existingClaim" }}
- name: modelward-state
  persistentVolumeClaim: {claimName: {{ .Values.state.existingClaim }}}
{{- else if eq .Values.state.kind "ephemeral" }}
- name: modelward-state
  emptyDir: {sizeLimit: {{ .Values.state.size }}}
{{- end }}
- name: modelward-run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: modelward-tmp
  emptyDir: {sizeLimit: 256Mi}
{{- range (include "modelward.secrets" . | fromYamlArray) }}
- name: modelward-{{ .name }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440}
{{- end }}
{{- with .Values.models.volume }}
- name: models
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if has .Values.backend.kind (list "triton" "mlserver") }}
- name: backend-tmp
  emptyDir: {}
- name: backend-shm
  emptyDir: {medium: Memory}
{{- range $i, $path := .Values.backend.writable }}
- name: backend-{{ $i }}
  emptyDir: {}
{{- end }}
{{- end }}
{{- end }}

{{- /* The model server in the pod of the guard. */}}
{{- define "modelward.backend" -}}
{{- $port := int .Values.backend.port -}}
{{- $http := add $port 1 -}}
{{- $metrics := add $port 2 -}}
name: {{ .Values.backend.kind }}
image: {{ .Values.backend.image }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if eq .Values.backend.kind "triton" }}
args:
  - tritonserver
  - --model-repository=/models
  - --grpc-address=127.0.0.1
  - --grpc-port={{ $port }}
  - --http-address=127.0.0.1
  - --http-port={{ $http }}
  - --metrics-port={{ $metrics }}
  {{- with .Values.backend.args }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.backend.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- else }}
{{- with .Values.backend.args }}
args: {{- toYaml . | nindent 2 }}
{{- end }}
env:
  - {name: MLSERVER_MODELS_DIR, value: /models}
  - {name: MLSERVER_HOST, value: 127.0.0.1}
  - {name: MLSERVER_GRPC_PORT, value: {{ $port | quote }}}
  - {name: MLSERVER_HTTP_PORT, value: {{ $http | quote }}}
  - {name: MLSERVER_METRICS_PORT, value: {{ $metrics | quote }}}
  {{- with .Values.backend.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
resources: {{- toYaml .Values.backend.resources | nindent 2 }}
securityContext:
  {{- $own := dict "runAsUser" 1000 "runAsGroup" 1000 }}
  {{- toYaml (merge (deepCopy .Values.backend.securityContext) $own (include "modelward.restricted" . | fromYaml)) | nindent 2 }}
volumeMounts:
  - {name: models, mountPath: /models, readOnly: true}
  - {name: backend-tmp, mountPath: /tmp}
  - {name: backend-shm, mountPath: /dev/shm}
  {{- range $i, $path := .Values.backend.writable }}
  - {name: backend-{{ $i }}, mountPath: {{ $path }}}
  {{- end }}
{{- end }}
