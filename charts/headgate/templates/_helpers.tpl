{{/* Names and labels, and nothing else. */}}

{{- define "headgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "headgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "headgate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "headgate.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "headgate.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{/* Cluster-wide objects of two releases of one name in two namespaces must not meet. */}}
{{- define "headgate.clusterName" -}}
{{- $name := include "headgate.fullname" . -}}
{{- $namespace := include "headgate.namespace" . -}}
{{- ternary $name (printf "%s-%s" $namespace $name) (eq $name $namespace) -}}
{{- end }}

{{- define "headgate.serviceAccountName" -}}
{{- default (ternary (include "headgate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{- define "headgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "headgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "headgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{ include "headgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: headgate
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "headgate.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* The one namespace that is watched; empty for all. */}}
{{- define "headgate.watchNamespace" -}}
{{- if .Values.watch.namespace -}}
{{- .Values.watch.namespace -}}
{{- else if eq .Values.rbac.scope "Namespaced" -}}
{{- include "headgate.namespace" . -}}
{{- end -}}
{{- end }}

{{/* The Service whose addresses go into the status of Ingresses; empty for none. */}}
{{- define "headgate.publishService" -}}
{{- if and .Values.publishService.enabled (not .Values.publishStatusAddress) -}}
{{- if .Values.publishService.pathOverride -}}
{{- .Values.publishService.pathOverride -}}
{{- else if .Values.service.enabled -}}
{{- printf "%s/%s" (include "headgate.namespace" .) (include "headgate.fullname" .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The Lease of the replica that writes status: another class has one of its own. */}}
{{- define "headgate.lease" -}}
{{- ternary "headgate-leader" (printf "headgate-leader-%s" .Values.ingressClass.name) (eq .Values.ingressClass.name "headgate") -}}
{{- end }}

{{/* When a stopping pod is killed: after everything that it may wait for. */}}
{{- define "headgate.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add .Values.shutdown.delaySeconds .Values.shutdown.timeoutSeconds 15 -}}
{{- else -}}
{{- .Values.terminationGracePeriodSeconds | int -}}
{{- end -}}
{{- end }}

{{/* Whether there is ever more than one pod. */}}
{{- define "headgate.several" -}}
{{- if eq .Values.kind "DaemonSet" }}yes
{{- else if .Values.autoscaling.enabled }}{{ if gt (int .Values.autoscaling.minReplicas) 1 }}yes{{ end }}
{{- else if kindIs "invalid" .Values.replicaCount }}yes
{{- else if gt (int .Values.replicaCount) 1 }}yes{{ end -}}
{{- end }}

{{/* Whether the pods take ports of their node, so that two of them cannot be on one. */}}
{{- define "headgate.onNode" -}}
{{- if or .Values.hostNetwork .Values.hostPort.enabled }}yes{{ end -}}
{{- end }}
