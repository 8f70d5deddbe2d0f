{{- /*
All times follow from terminationGracePeriodSeconds. Of it, 5 s are a margin: a drain takes up to 2 s more than its two parts,
and what is in front of it ends after it.
  traffic from outside   delay: a sixth, at most 30 s, in which Services and load balancers learn of the end; the rest drains
  beside an application  native sidecar: it is told to end after the application, so there is nothing to wait for
                         otherwise both are told at once: Modelward serves on for as long as the application may take
*/}}
{{- define "modelward.kubeVersion" -}}
{{ default .Capabilities.KubeVersion.Version .Values.kubeVersion }}
{{- end }}

{{- /* Containers that start before the others and end after them: init containers with restartPolicy Always. */}}
{{- define "modelward.nativeSidecars" -}}
{{- if semverCompare ">=1.29.0-0" (include "modelward.kubeVersion" .) -}}true{{- end -}}
{{- end }}

{{- define "modelward.beside" -}}
{{- if and (eq .Values.shape "sidecar") (eq .Values.backend.kind "embedded") -}}true{{- end -}}
{{- end }}

{{- define "modelward.drainDelay" -}}
{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- if not (include "modelward.beside" .) -}}
{{ min 30 (div $grace 6) }}
{{- else if include "modelward.nativeSidecars" . -}}
0
{{- else -}}
{{ sub $grace 10 }}
{{- end -}}
{{- end }}

{{- define "modelward.drainTimeout" -}}
{{ sub (sub (int .Values.terminationGracePeriodSeconds) 5) (int (include "modelward.drainDelay" .)) }}
{{- end }}

{{- /* How long a model server in the same pod goes on, where it is told to end together with Modelward. */}}
{{- define "modelward.backendPreStop" -}}
{{- $seconds := sub (int .Values.terminationGracePeriodSeconds) 5 -}}
preStop:
  {{- if semverCompare ">=1.30.0-0" (include "modelward.kubeVersion" .) }}
  sleep: {seconds: {{ $seconds }}}
  {{- else }}
  exec: {command: [sleep, {{ $seconds | quote }}]}
  {{- end }}
{{- end }}

{{- define "modelward.probes" -}}
{{- $delay := int (include "modelward.drainDelay" .) -}}
startupProbe:
  httpGet:
    path: {{ ternary "/readyz" "/healthz" (eq .Values.backend.kind "embedded") }}
    port: 8002
  periodSeconds: 1
  failureThreshold: {{ .Values.startupSeconds }}
readinessProbe:
  httpGet: {path: /readyz, port: 8002}
  periodSeconds: 1
  failureThreshold: {{ max 1 (min 3 (sub $delay 1)) }}
livenessProbe:
  httpGet: {path: /healthz, port: 8002}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}
