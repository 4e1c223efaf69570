{{/* Names are fixed, not derived from the release: one operator serves a namespace, and bots find it by these names. */}}

{{- define "cryptoai.labels" -}}
app.kubernetes.io/name: cryptoai
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: cryptoai
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Called with a dict: root, component. What a Service selects by and a Deployment may never change. */}}
{{- define "cryptoai.selector" -}}
app.kubernetes.io/name: cryptoai
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Called with a dict: root, image. */}}
{{- define "cryptoai.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- if hasPrefix "@" $tag -}}
{{ .image.repository }}{{ $tag }}
{{- else -}}
{{ .image.repository }}:{{ $tag }}
{{- end }}
{{- end }}

{{/* host:port of the online feature store. */}}
{{- define "cryptoai.redis" -}}
{{- if .Values.redis.enabled -}}
cryptoai-redis.{{ .Release.Namespace }}:6379
{{- else -}}
{{ required "redis.host: with redis.enabled=false, give the address of your own Redis" .Values.redis.host }}:{{ .Values.redis.port }}
{{- end }}
{{- end }}

{{/* What every pod has in common: who it runs as, where, and what it pulls with. */}}
{{- define "cryptoai.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "cryptoai.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The operator's rights where its TradingBots live. It has none on Secrets, and what it grants to a bot
     (get, list, watch of tradingbots) it holds itself, so that it needs neither bind nor escalate. */}}
{{- define "cryptoai.rules" -}}
- apiGroups: [cryptoai.dev]
  resources: [tradingbots]
  verbs: [get, list, watch]
- apiGroups: [cryptoai.dev]
  resources: [tradingbots/status]
  verbs: [patch]
# Lets it own what it makes where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [cryptoai.dev]
  resources: [tradingbots/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
