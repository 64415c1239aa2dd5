{{/* The pod of the Deployment and of the DaemonSet. */}}
{{- define "headgate.pod" -}}
metadata:
  labels:
    {{- include "headgate.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "headgate.serviceAccountName" . }}
  automountServiceAccountToken: true
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "headgate.gracePeriod" . }}
  # Nothing here is found by the environment variables of every Service in the namespace.
  enableServiceLinks: false
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if .Values.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with .Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not (kindIs "invalid" .Values.topologySpreadConstraints) }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- else if eq .Values.kind "Deployment" }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "headgate.selectorLabels" $ | nindent 10 }}
      # The pods of an old version are on their way out and count for nothing.
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: headgate
      image: {{ include "headgate.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- include "headgate.arguments" . | nindent 8 }}
      env:
        {{- include "headgate.environment" . | nindent 8 }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- range $name, $listener := .Values.listeners }}
        - name: {{ $name }}
          containerPort: {{ $listener.port }}
          {{- if $.Values.hostPort.enabled }}
          hostPort: {{ $listener.hostPort }}
          {{- end }}
        {{- end }}
        - name: admin
          containerPort: {{ .Values.metrics.port }}
      {{- range $probe, $path := dict "startupProbe" "/readyz" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
      {{- with index $.Values $probe }}
      {{ $probe }}:
        httpGet: {path: {{ $path }}, port: admin}
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      {{- $redisCa := and .Values.redis.endpoints .Values.redis.caSecret }}
      {{- if or $redisCa .Values.extraVolumeMounts }}
      volumeMounts:
        {{- if $redisCa }}
        - {name: redis-ca, mountPath: /etc/headgate/redis-ca, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or $redisCa .Values.extraVolumes }}
  volumes:
    {{- if $redisCa }}
    - name: redis-ca
      secret: {secretName: {{ .Values.redis.caSecret }}, items: [{key: ca.crt, path: ca.crt}]}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* The command line of `headgate serve`: everything that is set by the chart, in one place. */}}
{{- define "headgate.arguments" -}}
- serve
- --http=:{{ .Values.listeners.http.port }}
- --https=:{{ .Values.listeners.https.port }}
- --admin=:{{ .Values.metrics.port }}
- --ingress-class={{ .Values.ingressClass.name }}
{{- with include "headgate.watchNamespace" . }}
- --watch-namespace={{ . }}
{{- end }}
{{- with include "headgate.publishService" . }}
- --publish-service={{ . }}
{{- end }}
{{- with .Values.publishStatusAddress }}
- --publish-address={{ . }}
{{- end }}
- --lease-namespace={{ include "headgate.namespace" . }}
- --drain-delay={{ .Values.shutdown.delaySeconds }}s
- --drain-timeout={{ .Values.shutdown.timeoutSeconds }}s
{{- with .Values.workers }}
- --workers={{ . }}
{{- end }}
- --log-format={{ .Values.logs.format }}
{{- with .Values.proxyProtocol.trustedIPs }}
- --proxy-protocol-from={{ join "," . }}
{{- end }}
{{- with .Values.forwardedHeaders.trustedIPs }}
- --trusted-proxies={{ join "," . }}
{{- end }}
{{- with .Values.tracing.otlpEndpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
- --access-log={{ .Values.accessLog }}
{{- with .Values.redis }}
{{- if .endpoints }}
- --redis-url={{ join "," .endpoints }}
- --redis-timeout={{ .timeout }}
- --redis-prefix={{ .prefix }}
{{- if .caSecret }}
- --redis-ca-file=/etc/headgate/redis-ca/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.extraArgs }}
- --{{ $name }}{{ if not (kindIs "invalid" $value) }}={{ $value }}{{ end }}
{{- end }}
{{- end }}

{{- define "headgate.environment" -}}
# Who holds the Lease is told by the pod's name.
- name: HOSTNAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: HEADGATE_LOG
  value: {{ .Values.logs.level | quote }}
{{- if .Values.tracing.otlpEndpoint }}
{{- with .Values.tracing.protocol }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ . }}
{{- end }}
{{- if not (kindIs "invalid" .Values.tracing.sampleRatio) }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .Values.tracing.sampleRatio | quote }}
{{- end }}
{{- end }}
{{- if and .Values.redis.endpoints .Values.redis.existingSecret }}
{{- range $key, $optional := dict "username" true "password" false }}
- name: HEADGATE_REDIS_{{ upper $key }}
  valueFrom:
    secretKeyRef: {name: {{ $.Values.redis.existingSecret }}, key: {{ $key }}{{ if $optional }}, optional: true{{ end }}}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
