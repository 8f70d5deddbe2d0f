{{- /*
The pod of every shape. What others depend on is a native sidecar, which starts before them and ends after them:
beside an application that is Modelward, in front of a model server the model server.
*/}}
{{- define "modelward.pod" -}}
{{- $native := include "modelward.nativeSidecars" . -}}
{{- $beside := include "modelward.beside" . -}}
{{- $hasBackend := has .Values.backend.kind (list "triton" "mlserver") -}}
metadata:
  labels:
    {{- include "modelward.selector" . | nindent 4 }}
    app.kubernetes.io/component: {{ .Values.shape }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ ternary .Values.application.name "modelward" (eq $beside "true") }}
    modelward/restart: {{ include "modelward.fixed" . | sha256sum | trunc 16 | quote }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "modelward.serviceAccount" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext: {{- include "modelward.podSecurity" . | nindent 4 }}
  {{- if and $native (or $beside $hasBackend) }}
  initContainers:
    {{- if $beside }}
    - name: modelward
      restartPolicy: Always
      {{- include "modelward.container" . | nindent 6 }}
    {{- else }}
    - {{ include "modelward.backend" . | nindent 6 | trim }}
      restartPolicy: Always
    {{- end }}
  {{- end }}
  containers:
    {{- if $beside }}
    - {{ include "modelward.application" . | nindent 6 | trim }}
    {{- end }}
    {{- if not (and $beside $native) }}
    - name: modelward
      {{- include "modelward.container" . | nindent 6 }}
    {{- end }}
    {{- if and $hasBackend (not $native) }}
    - {{ include "modelward.backend" . | nindent 6 | trim }}
      lifecycle: {{- include "modelward.backendPreStop" . | nindent 8 }}
    {{- end }}
  volumes: {{- include "modelward.volumes" . | nindent 4 }}
  {{- if .Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range .Values.topologySpread.keys }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels: {{- include "modelward.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ ternary "pod-template-hash" "controller-revision-hash" (eq $.Values.workload "Deployment") }}]
    {{- end }}
  {{- end }}
  {{- include "modelward.placement" . | nindent 2 }}
{{- end }}

{{- /* Who pulls the image, and where pods go: keys of a pod's spec. */}}
{{- define "modelward.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* As given; the restricted policy holds for it too, unless it says otherwise. */}}
{{- define "modelward.application" -}}
{{- $own := dict "securityContext" (include "modelward.restricted" . | fromYaml) -}}
{{ toYaml (merge (deepCopy .Values.application) $own) }}
{{- end }}
