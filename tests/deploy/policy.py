"""What every manifest of ours keeps to. Each rule yields texts; none means that all is well."""

import re

import chart

# Objects that belong to a person's own additions.
LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
SELECTOR_LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
# Host folders, and whether they may be written.
HOST_PATHS = {"/var/log/pods": False, "/var/lib/tailwater-agent": True, "/run/promtail": False}
# Of sources that some have.
HOST_PATHS |= dict.fromkeys(("/var/lib/docker/containers", "/var/log/containers", "/run/log/journal", "/var/log/journal", "/etc/machine-id"), False)
MONITORS = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
# What the agent's ServiceAccount may do: {(group, resource): verbs}.
OF_AGENT = {("", "pods"): {"list", "watch"}, ("", "namespaces"): {"list", "watch"}}
# Role → what it may grant, one of these; a resource with a name is that object alone.
RIGHTS = {
    "tailwater:api-access": [
        {**{("logs.tailwater.io", resource): {"get", "list", "watch", "create"} for resource in ("pods", "pods/log", "loki/v1")}, ("logs.tailwater.io", "events"): {"list"}}
    ],
    "tailwater:namespaces": [{("", "namespaces"): {"list"}}],
    "tailwater:agent": [OF_AGENT, {**OF_AGENT, ("events.k8s.io", "events"): {"list", "watch"}}],
    "tailwater-canary": [{("", "pods/log"): {"get"}}],
    "tailwater-agent-events": [{("coordination.k8s.io", "leases"): {"create"}, ("coordination.k8s.io", "leases/tailwater-agent-events"): {"get", "update"}}],
}


def problems(document):
    found = [*labels(document), *rights(document), *monitor_label(document), *secrets(document)]
    for metadata, spec in chart.pod_specs(document):
        found += pod(document, metadata, spec)
        containers = spec.get("initContainers", []) + spec["containers"]
        for container in containers:
            found += [f"container {container['name']}: {text}" for text in of_container(document, spec, container)]
    return [f"{chart.identity(document)}: {text}" for text in found]


def labels(document):
    metadata = document["metadata"]
    missing = LABELS - set(metadata.get("labels", {}))
    if missing:
        yield f"labels are missing: {', '.join(sorted(missing))}"
    if document["kind"] not in ("ClusterRole", "ClusterRoleBinding", "PriorityClass", "APIService") and not metadata.get("namespace"):
        yield "names no namespace"
    selector = document.get("spec", {}).get("selector") if isinstance(document.get("spec"), dict) else None
    if isinstance(selector, dict) and document["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "PodDisruptionBudget"):
        used = set(selector.get("matchLabels", {}))
        if used != SELECTOR_LABELS:
            yield f"selects by {sorted(used)}: only name, instance and component never change"


def rights(document):
    if document["kind"] not in ("Role", "ClusterRole"):
        return
    for rule in document["rules"]:
        for text in [*rule.get("apiGroups", []), *rule.get("resources", []), *rule["verbs"], *rule.get("nonResourceURLs", [])]:
            if "*" in text:
                yield f"grants `{text}`"
    allowed = RIGHTS.get(document["metadata"]["name"], [{}])
    if given(document) not in allowed:
        yield f"grants {given(document)}, the program needs {allowed}"


def given(role):
    """What a role grants: {(group, resource): verbs}; a resource with a name is that object alone."""
    rights = {}
    for rule in role["rules"]:
        names = [f"/{name}" for name in rule.get("resourceNames", [])] or [""]
        for group in rule.get("apiGroups", []):
            for resource in (resource + name for resource in rule["resources"] for name in names):
                rights.setdefault((group, resource), set()).update(rule["verbs"])
    return rights


def monitor_label(document):
    if document["kind"] in MONITORS and document["metadata"]["labels"].get("release") != "kube-prometheus-stack":
        yield "has no label `release: kube-prometheus-stack`: the operator passes it over"


# A variable in the place of the text, which the program fills in, is none.
SECRET_KEYS = re.compile(r"(?i)^\s*[\"']?(\w*(password|secret_access_key|secret_key|bearer_token))[\"']?\s*[:=]\s*(?!\$[A-Z_]+$)\S", re.MULTILINE)


def secrets(document):
    if document["kind"] == "ConfigMap":
        for name, text in document.get("data", {}).items():
            for match in SECRET_KEYS.finditer(text):
                yield f"`{name}` holds `{match.group(1)}`: secrets belong into a Secret"


def pod(document, metadata, spec):
    is_agent = metadata["labels"].get("app.kubernetes.io/component") == "agent"
    security = spec.get("securityContext", {})
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccompProfile RuntimeDefault"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"has {key}"
    if is_agent:
        if security.get("runAsUser") != 0:
            yield "the agent must say that it is root: log folders are open to root only"
    elif security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "may run as root"
    if document["kind"] in ("Deployment", "DaemonSet", "StatefulSet") and not spec.get("serviceAccountName"):
        yield "runs as the namespace's default ServiceAccount"
    if spec.get("enableServiceLinks") is not False:
        yield "is given variables named after Services, which begin as those of our programs do"
    if metadata.get("annotations", {}).get("sidecar.istio.io/inject") != "false":
        yield "lets a mesh put a sidecar in"
    writable = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", []) if not mount.get("readOnly")}
    for volume in spec.get("volumes", []):
        path = volume.get("hostPath", {}).get("path")
        if path is None:
            continue
        if path not in HOST_PATHS:
            yield f"mounts the node's {path}"
        elif volume["name"] in writable and not HOST_PATHS[path]:
            yield f"may write to the node's {path}"
    if document["kind"] == "Deployment" and not spec.get("topologySpreadConstraints"):
        yield "has no topologySpreadConstraints"


def of_container(document, spec, container):
    image = container["image"]
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        yield f"image `{image}` says nothing about its version"
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may escalate privileges"
    if security.get("privileged"):
        yield "is privileged"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
    capabilities = security.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "keeps capabilities"
    if security.get("runAsUser") == 0:
        yield "runs as root"
    resources = container.get("resources", {})
    for kind, names in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
        for name in names:
            if name not in resources.get(kind, {}):
                yield f"has no resources.{kind}.{name}"
    if "cpu" in resources.get("limits", {}):
        yield "has a CPU limit, which throttles it in a burst"
    if document["kind"] in ("Deployment", "DaemonSet", "StatefulSet"):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"has no {probe}"
    for variable in container.get("env", []):
        if re.search(r"(?i)password|secret|token", variable["name"]) and "value" in variable:
            yield f"variable {variable['name']} has its secret in the manifest"
    for argument in container.get("args", []):
        if re.search(r"(?i)(password|secret|token)=", argument):
            yield "has a secret in its arguments"


def together(documents):
    """What no object shows alone."""
    replicas = {}
    for document in documents:
        if document["kind"] == "Deployment":
            replicas[document["metadata"]["name"]] = document["spec"].get("replicas")
    scaled = {one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"] for one in documents if one["kind"] == "HorizontalPodAutoscaler"}
    budgets = {one["metadata"]["name"] for one in documents if one["kind"] == "PodDisruptionBudget"}
    for name, count in replicas.items():
        least = scaled.get(name, count)
        if least is None:
            yield f"Deployment/{name}: neither replicas nor an autoscaler"
        elif (least > 1) != (name in budgets):
            yield f"Deployment/{name}: {least} replicas {'without' if least > 1 else 'with'} a PodDisruptionBudget"
    bound = {subject["name"] for one in documents if one["kind"] in ("RoleBinding", "ClusterRoleBinding") for subject in one["subjects"]}
    for document in documents:
        for _, spec in chart.pod_specs(document):
            has_token = spec.get("automountServiceAccountToken") is not False
            if has_token and spec.get("serviceAccountName") not in bound:
                yield f"{chart.identity(document)}: is given a token of the Kubernetes API that it has no use for"
            if not has_token and spec.get("serviceAccountName") in bound:
                yield f"{chart.identity(document)}: has rights at the Kubernetes API and no token"
    policies = {}
    for document in documents:
        if document["kind"] == "NetworkPolicy":
            policies[document["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]] = set(document["spec"]["policyTypes"])
    if policies:
        for document in documents:
            for metadata, _ in chart.pod_specs(document):
                component = metadata["labels"]["app.kubernetes.io/component"]
                if document["kind"] in ("Deployment", "DaemonSet", "StatefulSet") and policies.get(component) != {"Ingress", "Egress"}:
                    yield f"{chart.identity(document)}: no NetworkPolicy denies what is not listed"
