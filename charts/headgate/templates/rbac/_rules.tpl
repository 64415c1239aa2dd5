{{/* What Headgate may do, and nothing more. Each rule says what it is for. */}}

{{- define "headgate.rules" -}}
# The declarations that are compiled into routes.
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch]
- apiGroups: [headgate.dev]
  resources: [gatewayroutes, ratelimitpolicies]
  verbs: [get, list, watch]
# Consent to references across namespaces. Without the Gateway API installed this rule grants nothing.
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [get, list, watch]
# Backends: ports and protocols of Services (and the addresses of the one named by --publish-service), and the
# endpoints behind them.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# What became of the declarations, by server-side apply on the status subresource only; specs are never written.
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
- apiGroups: [headgate.dev]
  resources: [gatewayroutes/status, ratelimitpolicies/status]
  verbs: [patch]
# One Event for each new problem, beside the object it is about. Events are never read, changed or deleted.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if eq .Values.rbac.secrets "Cluster" }}
# Certificates and keys. Only Secrets that a route refers to are kept, but RBAC cannot say so: `rbac.secrets` narrows this
# down to chosen namespaces, or to none.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
{{- if eq .Values.rbac.configMaps "Cluster" }}
# Authorities and public keys. Only ConfigMaps that a route refers to are ever read, each by its name, but RBAC cannot say
# so: `rbac.configMaps` narrows this down to chosen namespaces, or to none.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{- define "headgate.classRules" -}}
# Which class is ours, and whether it is the default. IngressClasses are cluster-wide, so this needs a ClusterRole even
# where only one namespace is watched.
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [get, list, watch]
{{- end }}

{{- define "headgate.subjects" -}}
- kind: ServiceAccount
  name: {{ include "headgate.serviceAccountName" . }}
  namespace: {{ include "headgate.namespace" . }}
{{- end }}
