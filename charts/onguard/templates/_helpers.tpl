{{- define "onguard.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-onguard" .Release.Name) (contains "onguard" .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "onguard.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "onguard.selector" . }}
{{- end }}

{{- define "onguard.selector" -}}
app.kubernetes.io/name: onguard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Reference of an image: (dict "image" .Values.image.operator "root" $) */ -}}
{{- define "onguard.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "onguard.certificateSecret" -}}
{{- .Values.webhook.certificate.secretName | default (printf "%s-webhook-tls" (include "onguard.fullname" .)) -}}
{{- end }}

{{- define "onguard.tokenSecret" -}}
{{- .Values.gate.alerts.existingSecret | default (printf "%s-alerts-token" (include "onguard.fullname" .)) -}}
{{- end }}

{{- define "onguard.keySecret" -}}
{{- .Values.countsKey.existingSecret | default (printf "%s-counts-key" (include "onguard.fullname" .)) -}}
{{- end }}

{{- /* "true" where the Prometheus operator's kinds exist, else empty */ -}}
{{- define "onguard.prometheusOperator" -}}
{{- if and (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule") -}}
true
{{- end -}}
{{- end }}

{{- define "onguard.scrapeAnnotations" -}}
{{- if not (include "onguard.prometheusOperator" .) -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9090"
prometheus.io/path: /metrics
{{- end -}}
{{- end }}

{{- define "onguard.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "onguard.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}
