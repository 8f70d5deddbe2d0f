{{- /* What the server is configured with: the value `config`, and what the other values say. */}}
{{- define "modelward.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $beside := include "modelward.beside" . -}}
{{- $kind := .Values.backend.kind -}}
{{- $host := .Values.listen.host -}}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end -}}
{{- $listen := dict "grpc" (ternary "127.0.0.1:8001" (printf "%s:8001" $host) (eq $beside "true")) -}}
{{- $_ := set $listen "http" (printf "%s:8002" $host) -}}
{{- $_ := set $listen "admin" (ternary (printf "%s:8003" $host) "unix:/run/modelward/admin.sock" (ne .Values.admin.secretName "")) -}}
{{- $owned := dict "listen" $listen -}}
{{- $_ := set $owned "drain" (dict "delay" (printf "%ss" (include "modelward.drainDelay" .)) "timeout" (printf "%ss" (include "modelward.drainTimeout" .))) -}}
{{- if eq $kind "embedded" -}}
{{- $_ := set $owned "repository" (trimSuffix "/" (printf "/models/%s" .Values.models.path)) -}}
{{- else if eq $kind "upstream" -}}
{{- if .Values.backend.upstreams }}{{ $_ := set $owned "upstreams" .Values.backend.upstreams }}{{ end -}}
{{- else -}}
{{- $_ := set $owned "upstreams" (list (printf "127.0.0.1:%d" (int .Values.backend.port))) -}}
{{- end -}}
{{- if and (include "modelward.tlsSecret" .) (not $beside) -}}
{{- $tls := dict "certificate" "/etc/modelward/tls/tls.crt" "key" "/etc/modelward/tls/tls.key" -}}
{{- if .Values.tls.clientCA -}}
{{- $_ := set $tls "client_ca" (printf "/etc/modelward/tls/%s" .Values.tls.clientCA) -}}
{{- $_ := set $tls "require_client_certificate" .Values.tls.requireClientCertificate -}}
{{- end -}}
{{- $_ := set $owned "tls" $tls -}}
{{- end -}}
{{- if .Values.admin.secretName -}}
{{- $folder := "/etc/modelward/admin" -}}
{{- $_ := set $owned "admin_tls" (dict "certificate" (printf "%s/tls.crt" $folder) "key" (printf "%s/tls.key" $folder) "client_ca" (printf "%s/ca.crt" $folder)) -}}
{{- end -}}
{{- if .Values.keys.secretName -}}
{{- $_ := set $owned "access" (dict "keys" (printf "/etc/modelward/keys/%s" .Values.keys.key)) -}}
{{- end -}}
{{- with include "modelward.store" (dict "store" .Values.valkey "name" "valkey") | fromYaml -}}
{{- $_ := set $owned "limits" (dict "shared" .) -}}
{{- end -}}
{{- with include "modelward.store" (dict "store" .Values.postgres "name" "postgres") | fromYaml -}}
{{- $_ := set $owned "audit" (dict "postgres" .) -}}
{{- end -}}
{{- if .Values.fleet -}}
{{- with include "modelward.store" (dict "store" (get .Values .Values.fleet) "name" .Values.fleet) | fromYaml -}}
{{- $_ := set $owned "fleet" . -}}
{{- end -}}
{{- end -}}
{{- $whole := mergeOverwrite $config $owned -}}
{{- /* releases that share a store are apart, unless they say that they belong together */ -}}
{{- $own := include "modelward.ownName" . -}}
{{- $limits := default dict (get $whole "limits") -}}
{{- if or .Values.valkey.urlKey (get $limits "shared") -}}
{{- $shared := default dict (get $limits "shared") -}}
{{- if kindIs "string" $shared }}{{ $shared = dict "url" $shared }}{{ end -}}
{{- $_ := set $limits "shared" (merge $shared (dict "prefix" $own)) -}}
{{- $_ := set $whole "limits" $limits -}}
{{- end -}}
{{- if or .Values.fleet (get $whole "fleet") -}}
{{- $fleet := default dict (get $whole "fleet") -}}
{{- if kindIs "string" $fleet }}{{ $fleet = dict "url" $fleet }}{{ end -}}
{{- $_ := set $whole "fleet" (merge $fleet (dict "name" $own)) -}}
{{- end -}}
{{- /* how long the start waits for servers that models run on: as long as the startup probe, unless config says otherwise */ -}}
{{- $remote := hasKey $whole "upstreams" -}}
{{- range (default dict (get $whole "models")) -}}
{{- if kindIs "map" . }}{{ $remote = or $remote (hasKey . "upstreams") }}{{ end -}}
{{- end -}}
{{- if $remote -}}
{{- $startup := dict "startup" (printf "%ds" (int .Values.startupSeconds)) -}}
{{- $_ := set $whole "health" (merge (default dict (get $whole "health")) $startup) -}}
{{- end -}}
{{ toYaml $whole }}
{{- end }}

{{- /* What no other release of the cluster is called, in at most 63 characters: no namespace has a dot in its name. */}}
{{- define "modelward.ownName" -}}
{{- $name := printf "%s.%s" .Release.Namespace .Release.Name -}}
{{- if gt (len $name) 63 -}}
{{ printf "%s-%s" (trunc 52 $name) (sha256sum $name | trunc 10) }}
{{- else -}}
{{ $name }}
{{- end -}}
{{- end }}

{{- /* Of a store: its URL, unless a Secret has it, and the file of its password. */}}
{{- define "modelward.store" -}}
{{- if .store.url }}
url: {{ .store.url | quote }}
{{- end }}
{{- if .store.passwordKey }}
password_file: /etc/modelward/{{ .name }}/{{ .store.passwordKey }}
{{- end }}
{{- end }}

{{- /*
Changes that a running server cannot follow, so that they replace the pods: the keys of files/fixed.json, which `make docs`
writes, limits.shared, access.jwt, and whether there is tls or access at all. All others it follows.
*/}}
{{- define "modelward.fixed" -}}
{{- $config := include "modelward.config" . | fromYaml -}}
{{- $fixed := dict "shared" (dig "limits" "shared" "" $config) "jwt" (dig "access" "jwt" "" $config) -}}
{{- $_ := set $fixed "has" (list (hasKey $config "tls") (hasKey $config "access")) -}}
{{- range (.Files.Get "files/fixed.json" | fromJsonArray) -}}
{{- $_ := set $fixed (printf "key %s" .) (get $config .) -}}
{{- end -}}
{{ toJson $fixed }}
{{- end }}
