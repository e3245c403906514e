{{/* The chart's name in labels. */}}
{{- define "dunlin.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What objects are called: release and chart, once where the one has the other in it. */}}
{{- define "dunlin.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of an object that has a suffix, cut so that the suffix stays: (list . "leases"). */}}
{{- define "dunlin.suffixed" -}}
{{- $suffix := index . 1 }}
{{- $name := include "dunlin.fullname" (index . 0) }}
{{- printf "%s-%s" ($name | trunc (int (sub 62 (len $suffix))) | trimSuffix "-") $suffix }}
{{- end }}

{{/* The name of an object that no namespace keeps apart from another release's. */}}
{{- define "dunlin.clusterwide" -}}
{{- $root := index . 0 }}
{{- $parts := prepend (rest .) (include "dunlin.fullname" $root) }}
{{- join ":" (concat (list $root.Release.Namespace) $parts) }}
{{- end }}

{{- define "dunlin.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dunlin.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "dunlin.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "dunlin.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with omit .Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dunlin.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dunlin.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "dunlin.leaseName" -}}
{{- default (include "dunlin.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- define "dunlin.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The namespaces that are looked after, as JSON; none of them for all. */}}
{{- define "dunlin.namespaces" -}}
{{- if eq .Values.scope.mode "Own" }}{{ list .Release.Namespace | toJson }}
{{- else if eq .Values.scope.mode "Namespaces" }}{{ .Values.scope.namespaces | uniq | sortAlpha | toJson }}
{{- else }}[]
{{- end }}
{{- end }}

{{/* What the operator may do where it looks after MigrationSets: each of it is a call that it makes, and no more. */}}
{{- define "dunlin.rules" -}}
- apiGroups: [dunlin.dev]
  resources: [migrationsets]
  verbs: [get, list, watch]
- apiGroups: [dunlin.dev]
  resources: [migrationsets/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
# By name alone: what isn't named by a MigrationSet can't even be found.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.rbac.hookJobs }}
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
{{- end }}

{{/* What the schema of the values can't say. */}}
{{- define "dunlin.validate" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicaCount: more than one needs leaderElection.enabled: true" }}
{{- end }}
{{- range $kind := list "serviceMonitor" "prometheusRule" "dashboard" }}
{{- if and (not $.Values.metrics.enabled) (index $.Values.metrics $kind).enabled }}
{{- fail (printf "metrics.%s.enabled: there is nothing to it without metrics.enabled: true" $kind) }}
{{- end }}
{{- end }}
{{- if eq (int .Values.health.port) (int .Values.metrics.port) }}
{{- fail "health.port and metrics.port: they must differ" }}
{{- end }}
{{- end }}
