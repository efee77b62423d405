"""Whether what objects name is there: among the objects, or in the list of what a person brings along."""

import chart

# Secrets that the values files name and a person makes beforehand.
BROUGHT = {("Secret", name) for name in ("tailwater-s3", "logs-users", "logs-tls", "tailwater-agent-config", "gateway-tls", "clients-ca", "push-token", "tailwater-minio", "cloudflared", "canary-user")}
# And those that the example's certificates are kept in.
BROUGHT |= {("Secret", one["spec"]["secretName"]) for one in chart.load_all((chart.DEPLOY / "cert-manager/certificates.yaml").read_text()) if one["kind"] == "Certificate"}
# What every cluster has.
BROUGHT |= {("ClusterRole", "system:auth-delegator"), ("Role", "extension-apiserver-authentication-reader"), ("Group", "system:authenticated")}
BROUGHT |= {("PersistentVolumeClaim", "tailwater-store"), ("PriorityClass", "system-node-critical")}


def problems(documents, brought=BROUGHT):
    known = {(one["kind"], one["metadata"]["name"]) for one in documents} | brought
    keys = {}
    for one in documents:
        if one["kind"] in ("ConfigMap", "Secret"):
            keys[one["kind"], one["metadata"]["name"]] = set(one.get("data", {})) | set(one.get("stringData", {}))
    pods = [(document, metadata["labels"], spec) for document in documents for metadata, spec in chart.pod_specs(document)]
    known |= {("Secret", one["spec"]["secretName"]) for one in documents if one["kind"] == "Certificate"}
    seen = set()
    for document in documents:
        key = (document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"])
        if key in seen:
            yield f"{chart.identity(document)}: is there twice"
        seen.add(key)
        for text in of_document(document, known, keys, pods):
            yield f"{chart.identity(document)}: {text}"


def of_document(document, known, keys, pods):
    kind, spec = document["kind"], document.get("spec", {})
    for _, pod in chart.pod_specs(document):
        yield from of_pod(pod, known, keys)
    if kind in ("Deployment", "DaemonSet", "StatefulSet"):
        wanted = spec["selector"]["matchLabels"]
        found = spec["template"]["metadata"]["labels"]
        if not wanted.items() <= found.items():
            yield f"its selector {wanted} does not match its own pods {found}"
        others = [chart.identity(other) for other, labels, _ in pods if other is not document and wanted.items() <= labels.items()]
        if others:
            yield f"its selector matches the pods of {', '.join(others)} too"
    if kind == "Service" and "selector" in spec:
        selected = [pod for _, labels, pod in pods if spec["selector"].items() <= labels.items()]
        if not selected:
            yield "selects no pod"
        for port in spec["ports"]:
            for pod in selected:
                if port["targetPort"] not in port_names(pod):
                    yield f"port {port['name']} leads to `{port['targetPort']}`, which no container has"
    if kind == "StatefulSet" and ("Service", spec["serviceName"]) not in known:
        yield f"its Service {spec['serviceName']} is not there"
    if kind == "HorizontalPodAutoscaler":
        target = spec["scaleTargetRef"]
        if (target["kind"], target["name"]) not in known:
            yield f"its target {target['kind']}/{target['name']} is not there"
    if kind in ("PodDisruptionBudget", "NetworkPolicy"):
        wanted = (spec.get("selector") or spec.get("podSelector"))["matchLabels"]
        if not any(wanted.items() <= labels.items() for _, labels, _ in pods):
            yield f"selects no pod: {wanted}"
    if kind in ("RoleBinding", "ClusterRoleBinding"):
        role = document["roleRef"]
        if (role["kind"], role["name"]) not in known:
            yield f"its {role['kind']}/{role['name']} is not there"
        for subject in document["subjects"]:
            if (subject["kind"], subject["name"]) not in known:
                yield f"its subject {subject['name']} is not there"
    if kind == "APIService":
        yield from service_port(spec["service"], known, document)
    if kind == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                yield from service_port(path["backend"]["service"], known, document)
        for tls in spec.get("tls", []):
            if ("Secret", tls["secretName"]) not in known:
                yield f"its Secret {tls['secretName']} is not there"
    if kind in ("ServiceMonitor", "PodMonitor"):
        yield from of_monitor(document, pods)


def of_monitor(document, pods):
    spec = document["spec"]
    wanted = spec["selector"]["matchLabels"]
    endpoints = spec.get("endpoints") or spec.get("podMetricsEndpoints")
    selected = [pod for _, labels, pod in pods if wanted.items() <= labels.items()]
    if not selected:
        yield f"finds nothing: {wanted}"
    for endpoint in endpoints:
        for pod in selected:
            if endpoint["port"] not in port_names(pod):
                yield f"scrapes port `{endpoint['port']}`, which no container has"


def service_port(service, known, document):
    if ("Service", service["name"]) not in known:
        yield f"its Service {service['name']} is not there"


def port_names(pod):
    return {port["name"] for container in pod["containers"] for port in container.get("ports", [])}


def of_pod(pod, known, keys):
    account = pod.get("serviceAccountName")
    if account and ("ServiceAccount", account) not in known:
        yield f"its ServiceAccount {account} is not there"
    priority = pod.get("priorityClassName")
    if priority and ("PriorityClass", priority) not in known:
        yield f"its PriorityClass {priority} is not there"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for volume in pod.get("volumes", []):
        for field, kind, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName")):
            if field in volume and (kind, volume[field][name]) not in known:
                yield f"volume {volume['name']}: {kind}/{volume[field][name]} is not there"
        for source in volume.get("projected", {}).get("sources", []):
            yield from of_projection(volume["name"], source, known, keys)
    for container in pod["containers"]:
        mounted = [mount["name"] for mount in container.get("volumeMounts", [])]
        # A claim template's volume is named by the StatefulSet, not by the pod.
        for name in set(mounted) - volumes - {"data"}:
            yield f"container {container['name']} mounts volume {name}, which is not there"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for how in ("httpGet", "tcpSocket"):
                port = container.get(probe, {}).get(how, {}).get("port")
                if isinstance(port, str) and port not in {one["name"] for one in container.get("ports", [])}:
                    yield f"container {container['name']}: {probe} asks port `{port}`, which it has not"
        for variable in container.get("env", []):
            for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                reference = variable.get("valueFrom", {}).get(field)
                if not reference:
                    continue
                named = (kind, reference["name"])
                if named not in known:
                    yield f"variable {variable['name']}: {kind}/{reference['name']} is not there"
                elif named in keys and reference["key"] not in keys[named] and not reference.get("optional"):
                    yield f"variable {variable['name']}: {kind}/{reference['name']} has no key {reference['key']}"


def of_projection(volume, source, known, keys):
    """Files that a volume makes of single keys."""
    for field, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
        reference = source.get(field)
        if not reference:
            continue
        named = (kind, reference["name"])
        if named not in known and not reference.get("optional"):
            yield f"volume {volume}: {kind}/{reference['name']} is not there"
        for item in reference.get("items", []):
            if named in keys and item["key"] not in keys[named] and not reference.get("optional"):
                yield f"volume {volume}: {kind}/{reference['name']} has no key {item['key']}"
