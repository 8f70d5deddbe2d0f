{{- /*
Values that would be dropped without a word, or that the server or the cluster would refuse. One template for each part of
values.yaml; `modelward.check` begins with what every shape needs.
*/}}
{{- define "modelward.checkParts" -}}
{{- include "modelward.checkPlace" . -}}
{{- include "modelward.checkTls" . -}}
{{- include "modelward.checkAccess" . -}}
{{- include "modelward.checkState" . -}}
{{- include "modelward.checkStores" . -}}
{{- include "modelward.checkScaling" . -}}
{{- include "modelward.checkPolicy" . -}}
{{- include "modelward.checkOperators" . -}}
{{- end }}

{{- /* What goes with some backends alone. */}}
{{- define "modelward.checkPlace" -}}
{{- $kind := .Values.backend.kind -}}
{{- if and .Values.application (not (include "modelward.beside" .)) -}}
{{ fail "application is the container beside Modelward: set shape: sidecar and backend.kind: embedded, or leave it out" }}
{{- end -}}
{{- if and .Values.backend.upstreams (ne $kind "upstream") -}}
{{ fail (printf "backend.upstreams are servers elsewhere, and backend.kind is %s: set backend.kind: upstream, or leave them out" $kind) }}
{{- end -}}
{{- if and .Values.models.path (ne $kind "embedded") -}}
{{ fail (printf "models.path is what Modelward itself serves, and backend.kind is %s: leave it out" $kind) }}
{{- end -}}
{{- if eq $kind "kserve" -}}
{{- if .Values.monitoring.serviceMonitor.enabled -}}
{{ fail "monitoring.serviceMonitor.enabled: KServe makes the Services of an InferenceService: let Prometheus find its pods, and leave it out" }}
{{- end -}}
{{- if eq .Values.workload "StatefulSet" -}}
{{ fail "workload: StatefulSet: KServe makes the Deployment of an InferenceService: leave it out" }}
{{- end -}}
{{- if ne .Values.state.kind "ephemeral" -}}
{{ fail (printf "state.kind: %s does not go with backend.kind: kserve, which puts a new pod beside an old one: leave it out, and share promotions with fleet" .Values.state.kind) }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "modelward.checkTls" -}}
{{- $tls := .Values.tls -}}
{{- if include "modelward.beside" . -}}
{{- if or $tls.secretName $tls.clientCA $tls.requireClientCertificate .Values.certManager.enabled -}}
{{ fail "beside an application Modelward listens on 127.0.0.1 without TLS: leave tls and certManager out" }}
{{- end -}}
{{- end -}}
{{- if and $tls.requireClientCertificate (not $tls.clientCA) -}}
{{ fail "tls.requireClientCertificate: set tls.clientCA, the key of the Secret that holds the authorities of clients, such as ca.crt" }}
{{- end -}}
{{- if and $tls.clientCA (not (include "modelward.tlsSecret" .)) -}}
{{ fail "tls.clientCA is a key of the Secret with the server's certificate: set tls.secretName, or certManager.enabled" }}
{{- end -}}
{{- if and (get (default dict .Values.config.access) "certificates") (or (not $tls.clientCA) (include "modelward.beside" .)) -}}
{{ fail "config.access.certificates: no client is asked for a certificate: set tls.clientCA, or leave it out" }}
{{- end -}}
{{- if and .Values.certManager.enabled (eq .Values.backend.kind "kserve") -}}
{{ fail "certManager.enabled: this chart makes no Certificate for an InferenceService: make one, and set tls.secretName instead" }}
{{- end -}}
{{- end }}

{{- /* A folder of state is one server's. */}}
{{- define "modelward.checkState" -}}
{{- if eq .Values.state.kind "existingClaim" -}}
{{- $each := "set workload: StatefulSet and state.kind: claim, which gives each pod a claim" -}}
{{- if ne .Values.autoscaling.kind "none" -}}
{{ fail (printf "state.kind: existingClaim is the state of one server, and autoscaling adds others: %s" $each) }}
{{- end -}}
{{- if gt (int .Values.replicas) 1 -}}
{{ fail (printf "state.kind: existingClaim is the state of one server, and replicas is %d: set replicas: 1, or %s" (int .Values.replicas) $each) }}
{{- end -}}
{{- else if .Values.state.existingClaim -}}
{{ fail (printf "state.existingClaim: state.kind is %s: set state.kind: existingClaim" .Values.state.kind) }}
{{- end -}}
{{- $named := and (eq .Values.workload "StatefulSet") (include "modelward.auditStore" .) -}}
{{- if and $named (eq .Values.state.kind "ephemeral") (not (get (default dict .Values.config.audit) "folder")) -}}
{{ fail "postgres: a new pod of a StatefulSet has the name of the old one, and without its key cannot go on with its audit log: set state.kind: claim" }}
{{- end -}}
{{- end }}

{{- define "modelward.checkAccess" -}}
{{- if and .Values.keys.secretName (not (get (default dict .Values.config.access) "rules")) -}}
{{ fail "keys.secretName: without a rule no client may call anything: write config.access.rules, such as [{identity: \"*\", by: key, models: [\"*\"]}]" }}
{{- end -}}
{{- end }}

{{- define "modelward.checkStores" -}}
{{- $keys := dict "valkey" (list "limits" "shared") "postgres" (list "audit" "postgres") -}}
{{- range $name, $path := $keys -}}
{{- $store := get $.Values $name -}}
{{- if and $store.secretName (not (or $store.urlKey $store.passwordKey)) -}}
{{ fail (printf "%s.secretName: say which of its keys to read: set %s.urlKey or %s.passwordKey" $name $name $name) }}
{{- end -}}
{{- if and $store.url $store.urlKey -}}
{{ fail (printf "%s.url and %s.urlKey are the same: leave one out" $name $name) }}
{{- end -}}
{{- $own := get (default dict (get $.Values.config (first $path))) (last $path) -}}
{{- $known := and (kindIs "map" $own) (get $own "url") -}}
{{- if and $store.passwordKey (not (or $store.url $store.urlKey $known)) -}}
{{ fail (printf "%s.passwordKey: set %s.url or %s.urlKey" $name $name $name) }}
{{- end -}}
{{- end -}}
{{- if and (not .Values.fleet) (kindIs "map" .Values.config.fleet) (not (get .Values.config.fleet "url")) -}}
{{ fail "config.fleet has no url: set fleet: valkey or fleet: postgres" }}
{{- end -}}
{{- end }}

{{- define "modelward.checkScaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if ne $scaling.kind "none" -}}
{{- if eq .Values.backend.kind "kserve" -}}
{{ fail (printf "autoscaling.kind: %s: KServe scales the pods of an InferenceService itself: leave it out" $scaling.kind) }}
{{- end -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{ fail (printf "autoscaling.minReplicas is %d, more than maxReplicas, %d" (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
{{- end -}}
{{- if and (eq $scaling.kind "hpa") (lt (int $scaling.minReplicas) 1) -}}
{{ fail "autoscaling.minReplicas: 0: no pod is left that reports its use: write 1 or more, or autoscaling.kind: keda with autoscaling.triggers" }}
{{- end -}}
{{- if and (eq $scaling.kind "keda") (lt (int $scaling.minReplicas) 1) (not $scaling.triggers) -}}
{{ fail "autoscaling.minReplicas: 0: no pod is left that reports its use: add to autoscaling.triggers what wakes the first one" }}
{{- end -}}
{{- if and (eq $scaling.kind "keda") (not $scaling.prometheus) -}}
{{ fail "autoscaling.kind is keda: set autoscaling.prometheus" }}
{{- end -}}
{{- end -}}
{{- if and $scaling.triggers (ne $scaling.kind "keda") -}}
{{ fail "autoscaling.triggers are of KEDA: set autoscaling.kind: keda, or leave them out" }}
{{- end -}}
{{- if and $scaling.metrics (ne $scaling.kind "hpa") -}}
{{ fail "autoscaling.metrics are of a HorizontalPodAutoscaler: set autoscaling.kind: hpa, or leave them out" }}
{{- end -}}
{{- end }}

{{- /* Ports and a Service beside an application, or of KServe, are not the chart's. */}}
{{- define "modelward.checkPolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $elsewhere := or (eq .Values.backend.kind "kserve") (eq (include "modelward.beside" .) "true") -}}
{{- range $name := list "clients" "monitoring" "operators" "egress" -}}
{{- if and (get $policy $name) (not $policy.enabled) -}}
{{ fail (printf "networkPolicy.%s: networkPolicy.enabled is false: set it to true, or leave networkPolicy.%s out" $name $name) }}
{{- end -}}
{{- if and (get $policy $name) $elsewhere (ne $name "operators") -}}
{{ fail (printf "networkPolicy.%s: beside an application and in a predictor of KServe the policy is for the admin API alone: write a NetworkPolicy of your own, and leave it out" $name) }}
{{- end -}}
{{- end -}}
{{- if and $policy.operators (not .Values.admin.secretName) -}}
{{ fail "networkPolicy.operators: the admin API has no port: set admin.secretName, or leave it out" }}
{{- end -}}
{{- $service := .Values.service -}}
{{- if and $elsewhere (or $service.annotations (ne $service.type "ClusterIP") (ne (int $service.port) 8001)) -}}
{{ fail "service: beside an application and in a predictor of KServe this chart makes no Service for clients: leave it out" }}
{{- end -}}
{{- if and (eq (toString .Values.config.workers) "auto") (not (get (default dict .Values.resources.limits) "cpu")) -}}
{{ fail "config.workers: auto counts the node's cores where the container has no limit of CPU: set resources.limits.cpu, or a number of workers" }}
{{- end -}}
{{- end }}

{{- /* Bindings that could match no operator. */}}
{{- define "modelward.checkOperators" -}}
{{- $operators := .Values.config.operators -}}
{{- $port := ne .Values.admin.secretName "" -}}
{{- if kindIs "map" $operators -}}
{{- range $i, $binding := (default list (get $operators "bindings")) -}}
{{- if kindIs "map" $binding -}}
{{- if and (hasKey $binding "certificate") (not $port) -}}
{{ fail (printf "config.operators.bindings[%d] is for a certificate, and the admin API is a socket: set admin.secretName" $i) }}
{{- end -}}
{{- if and (or (hasKey $binding "user") (hasKey $binding "group")) $port -}}
{{ fail (printf "config.operators.bindings[%d] is for a user or group, and the admin API is a port: leave it out, or admin.secretName" $i) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
