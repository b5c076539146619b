{{/* Labels that select the pods of one process: (dict "root" $ "process" "worker"). */}}
{{- define "streamgauge.selector" -}}
app.kubernetes.io/name: streamgauge
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .process }}
{{- end }}

{{- define "streamgauge.labels" -}}
{{ include "streamgauge.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "streamgauge.metadata" -}}
name: {{ .root.Release.Name }}-{{ .process }}
labels: {{- include "streamgauge.labels" . | nindent 2 }}
{{- end }}

{{- define "streamgauge.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "streamgauge.podSecurity" -}}
runAsNonRoot: true
{{- /* The image's user: a name in an image can't be checked against runAsNonRoot. */}}
runAsUser: 10001
runAsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "streamgauge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* One variable from a Secret: (list "NAME" "secret" "key"). */}}
{{- define "streamgauge.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end }}

{{/* Settings of every process, with one login: (dict "root" $ "login" "worker"). */}}
{{- define "streamgauge.env" -}}
{{- $values := .root.Values -}}
{{- $secret := index $values.logins .login -}}
{{- $keys := $values.secretKeys -}}
- {name: STREAMGAUGE_LOG_FORMAT, value: json}
- {name: STREAMGAUGE_KAFKA_BOOTSTRAP_SERVERS, value: {{ $values.kafka.bootstrapServers | quote }}}
- {name: STREAMGAUGE_KAFKA_SECURITY_PROTOCOL, value: {{ $values.kafka.securityProtocol }}}
{{- if hasPrefix "SASL" $values.kafka.securityProtocol }}
- {name: STREAMGAUGE_KAFKA_SASL_MECHANISM, value: {{ $values.kafka.saslMechanism }}}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_KAFKA_USERNAME" $secret $keys.kafkaUsername) }}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_KAFKA_PASSWORD" $secret $keys.kafkaPassword) }}
{{- end }}
{{- range $server := list "kafka" "registry" }}
{{- if hasKey $values.authorities $server }}
- {name: STREAMGAUGE_{{ upper $server }}_CA_FILE, value: /authorities/{{ $server }}/ca.crt}
{{- end }}
{{- end }}
- {name: STREAMGAUGE_REGISTRY_URL, value: {{ $values.registry.url | quote }}}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_POSTGRES_DSN" $secret $keys.postgresDsn) }}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_REDIS_URL" $secret $keys.redisUrl) }}
{{- end }}

{{- define "streamgauge.pseudonymKey" -}}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_PSEUDONYM_KEY" .Values.keys .Values.secretKeys.pseudonymKey) }}
{{- end }}

{{/* The lake with one login, none for who reads nothing in it, and where links lead: (dict "root" $ "login" "batch"). */}}
{{- define "streamgauge.lakeEnv" -}}
{{- $lake := .root.Values.lake -}}
- {name: STREAMGAUGE_LAKE_URL, value: {{ $lake.url | quote }}}
- {name: AWS_REGION, value: {{ $lake.region | quote }}}
{{- with $lake.start }}
- {name: STREAMGAUGE_BATCH_START, value: {{ . | quote }}}
{{- end }}
{{- with $lake.endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with get $lake.secrets (.login | default "") }}
{{ include "streamgauge.fromSecret" (list "AWS_ACCESS_KEY_ID" . "AWS_ACCESS_KEY_ID") }}
{{ include "streamgauge.fromSecret" (list "AWS_SECRET_ACCESS_KEY" . "AWS_SECRET_ACCESS_KEY") }}
{{- end }}
{{- range $name, $url := .root.Values.urls }}
{{- if $url }}
- {name: STREAMGAUGE_{{ upper $name }}_URL, value: {{ $url | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* What Dagster's own processes and its runs have. */}}
{{- define "streamgauge.dagsterEnv" -}}
- {name: DAGSTER_HOME, value: /dagster}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_DAGSTER_POSTGRES_URL" .Values.logins.dagster .Values.secretKeys.dagsterPostgresUrl) }}
- {name: STREAMGAUGE_DAGSTER_CODE_HOST, value: {{ .Release.Name }}-dagster-code}
- {name: STREAMGAUGE_DAGSTER_CODE_PORT, value: "4000"}
{{- end }}

{{/* What a batch process has, and a run: one list, so that a run sees what the code server saw. */}}
{{- define "streamgauge.batchEnv" -}}
{{ include "streamgauge.env" (dict "root" . "login" "batch") }}
{{ include "streamgauge.pseudonymKey" . }}
{{ include "streamgauge.lakeEnv" (dict "root" . "login" "batch") }}
{{ include "streamgauge.dagsterEnv" . }}
- name: STREAMGAUGE_ALERT_WEBHOOK_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.keys }}, key: {{ .Values.secretKeys.alertWebhookUrl }}, optional: true}}
{{- end }}

{{/* By which checkpoints of the audit log and evidence of final hours are signed: in the code server, and in runs. */}}
{{- define "streamgauge.auditKey" -}}
{{ include "streamgauge.fromSecret" (list "STREAMGAUGE_AUDIT_KEY" .Values.keys .Values.secretKeys.auditKey) }}
{{- end }}

{{/* Volumes and their mounts: (dict "root" $ "contracts" NAME "dagster" BOOL). All but these is read-only. */}}
{{- define "streamgauge.volumes" -}}
- {name: tmp, emptyDir: {}}
- {name: contracts, configMap: {name: {{ .contracts }}}}
{{- range $name, $secret := .root.Values.authorities }}
- {name: authority-{{ $name }}, secret: {secretName: {{ $secret }}, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- if .dagster }}
- {name: dagster-storage, emptyDir: {}}
- {name: dagster-instance, configMap: {name: {{ .root.Release.Name }}-dagster-instance}}
{{- end }}
{{- end }}

{{- define "streamgauge.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: contracts, mountPath: /contracts, readOnly: true}
{{- range $name, $_ := .root.Values.authorities }}
- {name: authority-{{ $name }}, mountPath: /authorities/{{ $name }}, readOnly: true}
{{- end }}
{{- if .dagster }}
- {name: dagster-storage, mountPath: /dagster/storage}
- {name: dagster-instance, mountPath: /dagster/dagster.yaml, subPath: dagster.yaml, readOnly: true}
{{- end }}
{{- end }}

{{/* The fields that the pods of all processes share: (dict "root" $ "contracts" NAME "dagster" BOOL "token" BOOL). */}}
{{- define "streamgauge.pod" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
securityContext: {{- include "streamgauge.podSecurity" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
volumes: {{- include "streamgauge.volumes" . | nindent 2 }}
{{- end }}

{{/* The fields that their containers share. */}}
{{- define "streamgauge.container" -}}
image: {{ include "streamgauge.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- include "streamgauge.containerSecurity" . | nindent 2 }}
volumeMounts: {{- include "streamgauge.mounts" . | nindent 2 }}
{{- end }}
