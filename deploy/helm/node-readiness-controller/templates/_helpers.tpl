{{- define "host.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The release's name counts alone where it has the chart's in it, as in the Go controller's chart. */}}
{{- define "host.fullname" -}}
{{- $name := include "host.name" . -}}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $both | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "host.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{- define "host.leaseNamespace" -}}
{{- .Values.leaderElection.namespace | default (include "host.namespace" .) -}}
{{- end }}

{{- define "host.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "host.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "host.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- mustMerge $labels .Values.commonLabels | toYaml -}}
{{- end }}

{{/* A Deployment's selector never changes: these are the Go controller's. */}}
{{- define "host.selectorLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ include "host.name" . | quote }}
control-plane: controller-manager
{{- end }}

{{- define "host.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "host.fullname" .) "default") -}}
{{- end }}

{{/* The port in an address such as ":8081"; nothing for "0" and "". */}}
{{- define "host.port" -}}
{{- if contains ":" (toString .) }}{{ regexFind "[0-9]+$" . }}{{ end -}}
{{- end }}

{{- define "host.validatingWebhookName" -}}
{{ include "host.fullname" . }}-{{ .Values.validatingWebhook.name }}
{{- end }}

{{- define "host.metricsSecret" -}}
{{- if and .Values.metrics.enabled .Values.metrics.secure }}{{ .Values.metrics.certSecretName }}{{ end -}}
{{- end }}

{{/* The further prefixes of taints among controller.extraArgs, for Jobs: a YAML list of flags. A flag of the host
     may have one dash, as in Go, and its value may be the next item; other commands take neither. */}}
{{- define "host.taintKeyPrefixes" -}}
{{- $flags := list -}}
{{- $before := "" -}}
{{- range .Values.controller.extraArgs -}}
{{- if regexMatch "^--?taint-key-prefix$" $before -}}
{{- $flags = append $flags (printf "--taint-key-prefix=%s" .) -}}
{{- else if regexMatch "^--?taint-key-prefix=" . -}}
{{- $flags = append $flags (printf "--%s" (trimPrefix "-" (trimPrefix "-" .))) -}}
{{- end -}}
{{- $before = . -}}
{{- end -}}
{{- toYaml $flags -}}
{{- end }}

{{/* Pods of Jobs: dict "root" "name" "args". */}}
{{- define "host.job" -}}
{{- with .root }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $.name }}
  namespace: {{ include "host.namespace" . }}
  labels: {{- include "host.labels" . | nindent 4 }}
  annotations: {{- include "host.hook" (dict "root" . "on" $.on "weight" "5") | nindent 4 }}
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 280
  template:
    metadata:
      labels: {{- include "host.labels" . | nindent 8 }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ $.name }}
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext: {{- toYaml .Values.podSecurityContext | nindent 8 }}
      containers:
        - name: host
          image: {{ include "host.image" . | quote }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          command: [/host]
          args: {{- toYaml $.args | nindent 12 }}
          resources: {{- toYaml .Values.resources | nindent 12 }}
          securityContext: {{- toYaml .Values.securityContext | nindent 12 }}
      {{- with .Values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end }}

{{/* What is there only while a hook runs: dict "on" "weight". */}}
{{- define "host.hook" -}}
helm.sh/hook: {{ .on }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* A ServiceAccount that exists only while a hook runs: dict "root" "name" "on". */}}
{{- define "host.hookAccount" -}}
{{- with .root }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $.name }}
  namespace: {{ include "host.namespace" . }}
  labels: {{- include "host.labels" . | nindent 4 }}
  annotations: {{- include "host.hook" (dict "on" $.on "weight" "-5") | nindent 4 }}
{{- end }}
{{- end }}

{{/* Rights of a ServiceAccount, with their binding.
     dict "root" "name" "account" "rules"; "namespace": a Role there; "hook": annotations. */}}
{{- define "host.rights" -}}
{{- $kind := empty .namespace | ternary "ClusterRole" "Role" -}}
{{- $binding := .binding | default (printf "%sbinding" .name) -}}
{{- range $object := list $kind (printf "%sBinding" $kind) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $object }}
metadata:
  name: {{ eq $object $kind | ternary $.name $binding }}
  {{- with $.namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "host.labels" $.root | nindent 4 }}
  {{- with $.on }}
  annotations: {{- include "host.hook" (dict "on" . "weight" "-5") | nindent 4 }}
  {{- end }}
{{- if eq $object $kind }}
rules: {{- toYaml $.rules | nindent 2 }}
{{- else }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $.name }}
subjects:
  - kind: ServiceAccount
    name: {{ $.account }}
    namespace: {{ include "host.namespace" $.root }}
{{- end }}
{{- end }}
{{- end }}
