{{- define "ottla.name" -}}
{{- if contains "ottla" .Release.Name }}{{ .Release.Name | trunc 48 | trimSuffix "-" }}{{ else }}{{ printf "%s-ottla" (.Release.Name | trunc 42 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "ottla.selector" -}}
app.kubernetes.io/name: ottla-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ottla.labels" -}}
{{ include "ottla.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Rights on what the operator makes, in every namespace that it looks after. */}}
{{- define "ottla.rules" -}}
# The specs it is asked to carry out.
- apiGroups: [ottla.dev]
  resources: [kafkaclusters, kafkatopics]
  verbs: [get, list, watch]
# What it reports about them.
- apiGroups: [ottla.dev]
  resources: [kafkaclusters/status, kafkatopics/status]
  verbs: [get, patch]
# One StatefulSet per node; delete: a node that is not asked for any more, once nothing needs it.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# Addresses of nodes and listeners; configuration and the record of owned topics.
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Certificates of the admin ports. By name alone: what Secrets there are is neither listed nor watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# Claims are made and grown. They are never deleted by the operator: by policy they belong to the cluster and go with it.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# A node's pod is read for its state, and deleted to make it take a new template.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
# One budget per cluster. Racks need no right: Kubernetes copies the zone of a machine to its pods.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Who may connect to nodes and listeners.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# To say that pods name a ServiceAccount that does not exist, before one is restarted to take it.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
# What happened, for `kubectl describe`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
