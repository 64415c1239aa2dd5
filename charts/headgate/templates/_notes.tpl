{{/* In a template of its own, so that tests can render it. */}}
{{- define "headgate.notes" -}}
{{- $name := include "headgate.fullname" . -}}
{{- $namespace := include "headgate.namespace" . -}}
Headgate {{ .Values.image.tag | default .Chart.AppVersion }} is installed as {{ $name }} in namespace {{ $namespace }}, and serves the class "{{ .Values.ingressClass.name }}".

Reach it:
{{- if not .Values.service.enabled }}
  There is no Service. {{ if include "headgate.onNode" . }}It listens on its nodes' ports.{{ else }}Make one that selects its pods.{{ end }}
{{- else if eq .Values.service.type "LoadBalancer" }}
  kubectl -n {{ $namespace }} get service {{ $name }} --watch   # until it has an EXTERNAL-IP
  ADDRESS=$(kubectl -n {{ $namespace }} get service {{ $name }} -o jsonpath='{.status.loadBalancer.ingress[0].ip}{.status.loadBalancer.ingress[0].hostname}')
  curl -H 'Host: hello.example.com' http://$ADDRESS/
{{- else if eq .Values.service.type "NodePort" }}
  PORT=$(kubectl -n {{ $namespace }} get service {{ $name }} -o jsonpath='{.spec.ports[?(@.name=="http")].nodePort}')
  NODE=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[0].address}')
  curl -H 'Host: hello.example.com' http://$NODE:$PORT/
{{- else }}
  kubectl -n {{ $namespace }} port-forward service/{{ $name }} 8080:{{ .Values.listeners.http.exposedPort | default .Values.listeners.https.exposedPort }} &
  curl -H 'Host: hello.example.com' http://127.0.0.1:8080/
{{- end }}

A first route, which needs no backend:

  kubectl apply -f - <<'EOF'
  apiVersion: headgate.dev/v1alpha1
  kind: GatewayRoute
  metadata: {name: hello, namespace: default}
  spec:
    ingressClassName: {{ .Values.ingressClass.name }}
    hostnames: [hello.example.com]
    rules:
      - filters: [{type: DirectResponse, directResponse: {statusCode: 200, body: "hello\n"}}]
  EOF
  kubectl get gwr,ing -A

See what is served and why:

  kubectl -n {{ $namespace }} port-forward {{ .Values.kind | lower }}/{{ $name }} 8081:{{ .Values.metrics.port }}   # then http://127.0.0.1:8081/
{{- if and .Values.service.enabled (eq .Values.service.externalTrafficPolicy "Local") (eq .Values.kind "Deployment") (not (include "headgate.several" .)) }}

WARNING: externalTrafficPolicy is Local and there is one pod: while it moves to another node, nobody is served.
{{- end }}
{{- if and (eq .Values.kind "Deployment") (not .Values.autoscaling.enabled) (not (include "headgate.several" .)) }}

WARNING: there is one replica. Give it two, so that the loss of a node is not noticed.
{{- end }}
{{- if and .Values.hostNetwork .Values.autoscaling.enabled }}

WARNING: hostNetwork allows one pod on a node, so autoscaling can go no further than there are nodes.
{{- end }}
{{- if eq .Values.rbac.secrets "None" }}

WARNING: rbac.secrets is None: HTTPS has no certificate to show, and rules that need keys from Secrets answer 500.
{{- end }}
{{- if not .Values.ingressClass.enabled }}

WARNING: no IngressClass was made. Ingresses are served when one named "{{ .Values.ingressClass.name }}" exists, with controller headgate.dev/ingress-controller.
{{- end }}
{{- if not .Values.crds.enabled }}

WARNING: the CRDs are not part of this release. Apply those of this version yourself: kubectl apply --server-side -f crds/
{{- end }}
{{- end }}
