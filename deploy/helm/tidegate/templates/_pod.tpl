{{- define "tidegate.labels" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegate.image" -}}
{{- $tag := .tag | default .Values.image.tag | default .Chart.AppVersion -}}
{{- if and .Values.image.digest (not .tag) -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{- define "tidegate.container" -}}
image: {{ include "tidegate.image" . }}
imagePullPolicy: IfNotPresent
envFrom: [{secretRef: {name: {{ .Values.secretName }}}}]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/tidegate, readOnly: true}
  - {name: data, mountPath: /var/lib/tidegate}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "tidegate.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false  # the variables of a Service named tidegate-api would be taken for configuration
securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
{{- with .Values.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - {name: {{ . }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "tidegate.volumes" -}}
- {name: config, configMap: {name: {{ .config }}}}
- {name: data, emptyDir: {sizeLimit: {{ .Values.spoolSize }}}}
- {name: tmp, emptyDir: {sizeLimit: 64Mi}}
{{- end }}

{{- /* What a reload takes up needs no new pods; of all else a change is a new checksum. */}}
{{- define "tidegate.fixed" -}}
{{ omit .Values.config "providers" "routes" "limits" "budgets" "guardrails" "auth" "upstream" "shadows" "canary" | toYaml | sha256sum }}
{{- end }}

{{- define "tidegate.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "tidegate.labels" . | nindent 4 }}
spec:
  {{- if .replicas }}
  replicas: {{ .replicas }}
  {{- end }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: {{ .component }}}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata:
      labels: {{- include "tidegate.labels" . | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
      annotations: {checksum/config: {{ include "tidegate.fixed" . }}}
    spec:
      {{- include "tidegate.pod" . | nindent 6 }}
      # leaveAfter, then api.drain, then ten seconds for last events, rows and closing.
      terminationGracePeriodSeconds: {{ add .Values.leaveAfter (trimSuffix "s" .Values.config.api.drain | int) 10 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: {{ .component }}}}
      containers:
        - name: tidegate
          {{- include "tidegate.container" . | nindent 10 }}
          ports: [{name: http, containerPort: 8080}]
          startupProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1, failureThreshold: 60}
          livenessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3}
          readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 2}
          lifecycle: {preStop: {sleep: {seconds: {{ .Values.leaveAfter }}}}}
      volumes: {{- include "tidegate.volumes" (merge (dict "config" .Release.Name) .) | nindent 8 }}
{{- end }}

{{- define "tidegate.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "tidegate.labels" . | nindent 4 }}
spec:
  selector: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: {{ .component }}}
  ports: [{name: http, port: 80, targetPort: http}]
{{- end }}

{{- define "tidegate.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .name }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "tidegate.labels" . | nindent 4 }}
  annotations:
    nginx.ingress.kubernetes.io/proxy-buffering: "off"
    nginx.ingress.kubernetes.io/proxy-body-size: 32m
    nginx.ingress.kubernetes.io/proxy-read-timeout: "130"
    nginx.ingress.kubernetes.io/proxy-next-upstream: error
    {{- if eq .component "canary" }}
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-weight: {{ .Values.canary.weight | quote }}
    {{- end }}
spec:
  ingressClassName: {{ .Values.ingress.className }}
  tls: [{hosts: [{{ .Values.ingress.host }}], secretName: {{ .Values.ingress.tlsSecret }}}]
  rules:
    - host: {{ .Values.ingress.host }}
      http:
        paths:
          # Not /admin and /metrics: those are for this cluster.
          {{- range list "/v1" "/api" "/health" }}
          - {path: {{ . }}, pathType: Prefix, backend: {service: {name: {{ $.name }}, port: {name: http}}}}
          {{- end }}
{{- end }}
