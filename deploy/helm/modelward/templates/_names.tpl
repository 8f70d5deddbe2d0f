{{- define "modelward.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "modelward.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "modelward.name" .) .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "modelward.name" .) | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "modelward.selector" -}}
app.kubernetes.io/name: {{ include "modelward.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "modelward.labels" -}}
{{ include "modelward.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .Values.shape }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "modelward.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "modelward.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "modelward.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "modelward.tlsSecret" -}}
{{- if .Values.tls.secretName -}}
{{ .Values.tls.secretName }}
{{- else if .Values.certManager.enabled -}}
{{ include "modelward.fullname" . }}-tls
{{- end -}}
{{- end }}

{{- /* Whether the audit log is in PostgreSQL. */}}
{{- define "modelward.auditStore" -}}
{{- if or .Values.postgres.url .Values.postgres.urlKey (get (default dict .Values.config.audit) "postgres") -}}true{{- end -}}
{{- end }}

{{- /* What the values say that do not fit together, in words. */}}
{{- define "modelward.check" -}}
{{- $kind := .Values.backend.kind -}}
{{- $places := dict "gateway" (list "embedded" "upstream") "sidecar" (list "embedded" "triton" "mlserver" "kserve") -}}
{{- if not (has $kind (get $places .Values.shape)) -}}
{{ fail (printf "backend.kind: %s does not go with shape: %s; write one of %s" $kind .Values.shape (join ", " (get $places .Values.shape))) }}
{{- end -}}
{{- if and (eq $kind "upstream") (not .Values.backend.upstreams) (not .Values.config.upstreams) (not .Values.config.models) -}}
{{ fail "backend.kind is upstream, and there are no backend.upstreams" }}
{{- end -}}
{{- if and (eq .Values.shape "sidecar") (eq $kind "embedded") (not .Values.application) -}}
{{ fail "a sidecar with embedded models needs the application that calls them: set application.name and application.image" }}
{{- end -}}
{{- if and (has $kind (list "triton" "mlserver")) (not .Values.backend.image) -}}
{{ fail (printf "backend.kind is %s: set backend.image" $kind) }}
{{- end -}}
{{- if and (has $kind (list "embedded" "triton" "mlserver")) (not .Values.models.volume) -}}
{{ fail (printf "backend.kind is %s: set models.volume, such as {persistentVolumeClaim: {claimName: models}}" $kind) }}
{{- end -}}
{{- if and (eq $kind "kserve") (not .Values.kserve.storageUri) -}}
{{ fail "backend.kind is kserve: set kserve.storageUri" }}
{{- end -}}
{{- if and (eq .Values.state.kind "existingClaim") (not .Values.state.existingClaim) -}}
{{ fail "state.kind is existingClaim: set state.existingClaim" }}
{{- end -}}
{{- if and (eq .Values.state.kind "claim") (ne .Values.workload "StatefulSet") -}}
{{ fail "state.kind: claim gives each pod its own claim: set workload: StatefulSet" }}
{{- end -}}
{{- if and .Values.certManager.enabled (not .Values.certManager.issuerRef) -}}
{{ fail "certManager.enabled: set certManager.issuerRef" }}
{{- end -}}
{{- include "modelward.checkParts" . -}}
{{- if .Values.fleet -}}
{{- with get .Values .Values.fleet -}}
{{- if not (or .url .urlKey) -}}
{{ fail (printf "fleet is %s: set %s.url or %s.urlKey" $.Values.fleet $.Values.fleet $.Values.fleet) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "modelward.noPasswords" (dict "value" .Values.config "path" "config") -}}
{{- include "modelward.noPasswords" (dict "value" .Values.env "path" "env") -}}
{{- range $name := list "valkey" "postgres" -}}
{{- $store := get $.Values $name -}}
{{- include "modelward.noPasswords" (dict "value" $store.url "path" (printf "%s.url" $name)) -}}
{{- if and (or $store.urlKey $store.passwordKey) (not $store.secretName) -}}
{{ fail (printf "%s.urlKey and %s.passwordKey are keys of a Secret: set %s.secretName" $name $name $name) }}
{{- end -}}
{{- end -}}
{{- end }}

{{- /*
Fails where a URL in a value holds a password: ConfigMaps, arguments and variables of pods are no places for one. path: of the
value, which is all that is told of it.
*/}}
{{- define "modelward.noPasswords" -}}
{{- if kindIs "map" .value -}}
{{- range $key, $each := .value -}}
{{- include "modelward.noPasswords" (dict "value" $each "path" (printf "%s.%s" $.path $key)) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $i, $each := .value -}}
{{- include "modelward.noPasswords" (dict "value" $each "path" (printf "%s.%d" $.path $i)) -}}
{{- end -}}
{{- else if kindIs "string" .value -}}
{{- if or (regexMatch "://[^@]*:[^@]+@" .value) (regexMatch "(?i)://.*[?&](ssl)?password=." .value) -}}
{{ fail (printf "%s: the URL holds a password, which everybody who may read the objects of the namespace would see. Put it in a Secret: the whole URL with valkey.secretName and valkey.urlKey, or the password alone with valkey.passwordKey; of PostgreSQL the same keys of postgres" .path) }}
{{- end -}}
{{- end -}}
{{- end }}
