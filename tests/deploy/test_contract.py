"""The values that other people write into their files: each is there with the default that was agreed, is described, and is checked by the schema."""

import json

import pytest
import yaml

import chart
import values_table

VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())
SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text())
ANY = object()

# (key, default); changing one of these is a change that breaks somebody's HelmRelease.
AGREED = {
    "global.clusterDomain": "cluster.local",
    "global.image.registry": "",
    "global.image.pullSecrets": [],
    "cluster.name": "",
    "compat.lokiServices": False,
    "tenancy.enabled": False,
    "tenancy.default": "fake",
    "agent.enabled": True,
    "agent.resources.requests": {"cpu": "20m", "memory": "32Mi"},
    "agent.resources.limits": {"memory": "128Mi"},
    "agent.push.url": "",
    "agent.push.tenantID": "",
    "agent.push.basicAuth.existingSecret": "",
    "agent.push.bearerTokenFile": "",
    "agent.push.tls.existingSecret": "",
    "agent.config": {},
    "agent.dataDir": "/var/lib/tailwater-agent",
    "agent.tolerations": [{"operator": "Exists", "effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoExecute"}],
    "agent.priorityClassName": "",
    "agent.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
    "aggregator.replicas": 1,
    "aggregator.cache.diskBytes": "5Gi",
    "aggregator.config": {},
    "aggregator.limits": {"retention_period": "744h"},
    "aggregator.overrides": {},
    "aggregator.resources.requests": {"cpu": "250m", "memory": "256Mi"},
    "aggregator.resources.limits": {"memory": "2Gi"},
    "aggregator.autoscaling.enabled": False,
    "aggregator.autoscaling.targetCPUUtilizationPercentage": 70,
    "aggregator.strictSpread": False,
    "storage.type": "s3",
    "storage.filesystem.hostPath": "",
    "storage.filesystem.existingClaim": "",
    "storage.s3.endpoint": "",
    "storage.s3.region": ANY,
    "storage.s3.bucket": "",
    "storage.s3.prefix": "",
    "storage.s3.forcePathStyle": False,
    "storage.s3.insecure": False,
    "storage.s3.sse": "",
    "storage.s3.kmsKeyId": "",
    "storage.s3.existingSecret": "",
    "storage.s3.accessKeyKey": "AWS_ACCESS_KEY_ID",
    "storage.s3.secretKeyKey": "AWS_SECRET_ACCESS_KEY",
    "minio.enabled": False,
    "minio.iKnowThisIsDev": False,
    "minio.persistence.size": "20Gi",
    "gateway.replicas": 1,
    "gateway.service.port": 80,
    "gateway.ingress.enabled": False,
    "gateway.basicAuth.existingSecret": "",
    "gateway.nginxConfig.serverSnippet": "",
    "gateway.nginxConfig.httpSnippet": "",
    "gateway.nginxConfig.locationSnippet": "",
    "gateway.nginxConfig.clientMaxBodySize": "16m",
    "gateway.nginxConfig.resolver": "",
    "gateway.nginxConfig.enableIPv6": ANY,
    "gateway.nginxConfig.ssl": False,
    "gateway.verboseLogging": ANY,
    "gateway.affinity": {},
    "gateway.autoscaling.enabled": False,
    "gateway.exposeAdmin": False,
    "gateway.exporter": False,
    "gateway.tls.existingSecret": "",
    "gateway.tls.clientCaSecret": "",
    "gateway.tls.mtls": "",
    "auth.mode": "none",
    "apiserver.enabled": False,
    "apiserver.replicas": 2,
    "apiserver.audit": False,
    "networkPolicy.enabled": True,
    "networkPolicy.ingressFrom": [],
    "networkPolicy.egressS3Cidrs": ANY,
    "monitoring.serviceMonitor.enabled": True,
    "monitoring.podMonitor.enabled": True,
    "monitoring.rules.enabled": True,
    "monitoring.dashboards.enabled": True,
    "monitoring.datasource.enabled": True,
    "monitoring.labels": {"release": "kube-prometheus-stack"},
    "monitoring.interval": "30s",
    "monitoring.force": False,
    "canary.enabled": True,
    "extraObjects": [],
}
# Evident from their names, or described by the key above them.
WITHOUT_WORDS = {"enabled", "type", "registry", "pullPolicy", "digest", "tag", "repository", "replicas", "affinity", "annotations", "labels"}


# alert → (how long it waits, severity): runbooks and routings of other people name them.
ALERTS = {
    "TailwaterAgentDown": ("10m", "warning"), "TailwaterAgentMissingOnNode": ("15m", "warning"), "TailwaterAgentLagging": ("10m", "warning"),
    "TailwaterAgentPushFailing": ("15m", "critical"), "TailwaterAgentDroppingLines": ("0m", "critical"), "TailwaterAgentFileLost": ("0m", "critical"),
    "TailwaterAgentWatchStale": ("15m", "warning"), "TailwaterAggregatorDown": ("5m", "critical"), "TailwaterIngestErrors": ("10m", "critical"),
    "TailwaterIngestRejected": ("15m", "warning"), "TailwaterQueryErrors": ("15m", "warning"), "TailwaterQuerySlow": ("15m", "warning"),
    "TailwaterFlushStalled": ("1m", "critical"), "TailwaterSegmentPutErrors": ("5m", "critical"), "TailwaterSegmentsUncompacted": ("15m", "warning"),
    "TailwaterManifestStale": ("10m", "warning"), "TailwaterObjectStoreErrors": ("15m", "critical"), "TailwaterCompactionStalled": ("1h", "warning"),
    "TailwaterRetentionStalled": ("1h", "warning"), "TailwaterChecksumMismatch": ("0m", "critical"), "TailwaterCanaryLost": ("0m", "critical"),
    "TailwaterCanaryDuplicated": ("0m", "critical"), "TailwaterCanaryLatency": ("15m", "warning"), "TailwaterBucketGrowth": ("1h", "warning"),
    "TailwaterCertificateExpiring": ("1h", "warning"), "TailwaterApiserverUnavailable": ("5m", "warning"), "TailwaterAuthzErrors": ("10m", "warning"),
}


def test_alerts_are_those_that_were_agreed():
    groups = yaml.safe_load((chart.DEPLOY / "prometheus/rules.yaml").read_text())["groups"]
    rules = {rule["alert"]: (rule.get("for", "0m"), rule["labels"]["severity"]) for group in groups for rule in group["rules"]}
    assert {name: rules.get(name) for name in ALERTS} == ALERTS


def container_of(values, kind, component):
    (container,) = [one for one in chart.find(values, kind, f"tailwater-{component}")["spec"]["template"]["spec"]["containers"] if one["name"] != "exporter"]
    return container


def variables(container):
    """Name → where its value comes from."""
    return {one["name"]: one["valueFrom"].get("fieldRef", {}).get("fieldPath") or one["valueFrom"].get("resourceFieldRef", {}).get("resource") for one in container.get("env", []) if "valueFrom" in one}


@pytest.mark.parametrize("values", ["default", "ha", "filesystem", "s3-irsa"])
def test_pods_are_told_where_they_are_and_what_they_have(values):
    assert variables(container_of(values, "Deployment", "aggregator")) == {"POD_IP": "status.podIP", "TAILWATER_MEMORY_LIMIT": "limits.memory"}
    assert variables(container_of(values, "DaemonSet", "agent")) == {"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


def test_a_memory_limit_of_the_configuration_goes_before_the_containers():
    """A variable would win over the file."""
    outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=["--set", "aggregator.config.memory_limit=1GiB"])
    (deployment,) = [one for one in chart.load_all(outcome.stdout) if chart.identity(one) == "Deployment/tailwater-aggregator"]
    assert set(variables(deployment["spec"]["template"]["spec"]["containers"][0])) == {"POD_IP"}
    (config,) = [one for one in chart.load_all(outcome.stdout) if chart.identity(one) == "ConfigMap/tailwater-aggregator"]
    assert yaml.safe_load(config["data"]["aggregator.yaml"])["memory_limit"] == "1GiB"


def test_probes_ask_what_cannot_fail_for_others_reasons():
    """Liveness never depends on anybody else; readiness of the agent is its own; the agent has five minutes to start."""
    for kind, component, start, patience in (("DaemonSet", "agent", "/live", 300), ("Deployment", "aggregator", "/ready", 300)):
        container = container_of("default", kind, component)
        paths = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert paths == [start, "/live", "/ready"]
        assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= patience


def test_a_rollout_takes_no_replica_away_before_another_is_there():
    for values, strategy in (("ha", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}), ("filesystem", {"type": "Recreate"})):
        spec = chart.find(values, "Deployment", "tailwater-aggregator")["spec"]
        assert spec["strategy"] == strategy and spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    for values, wanted in (("default", "ScheduleAnyway"), ("ha", "DoNotSchedule")):
        pod = chart.find(values, "Deployment", "tailwater-aggregator")["spec"]["template"]["spec"]
        spread = {one["topologyKey"]: (one["maxSkew"], one["whenUnsatisfiable"]) for one in pod["topologySpreadConstraints"]}
        assert spread == {"topology.kubernetes.io/zone": (1, wanted), "kubernetes.io/hostname": (1, wanted)}
        # Required, it would leave the second replica waiting on a cluster of one node.
        assert list(pod["affinity"]["podAntiAffinity"]) == ["preferredDuringSchedulingIgnoredDuringExecution"]


def test_the_api_service_is_registered_as_agreed():
    """Never without looking at its certificate: by cert-manager's authority, or by one that is given."""
    of_own = ["apiserver.tls.certManagerIssuer=", "apiserver.tls.existingSecret=s", "apiserver.tls.caBundle=Y2E="]
    given = chart.template(chart.CHART / "ci" / "rbac-api.yaml", extra=[argument for value in of_own for argument in ("--set", value)])
    for documents, authority, injected in (
        (chart.documents("rbac-api"), {}, {"cert-manager.io/inject-ca-from": "monitoring/tailwater-apiserver"}),
        (chart.load_all(given.stdout), {"caBundle": "Y2E="}, {}),
    ):
        (service,) = [one for one in documents if one["kind"] == "APIService"]
        leads_to = {"name": "tailwater-apiserver", "namespace": "monitoring", "port": 443}
        assert service["spec"] == {"group": "logs.tailwater.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15, "service": leads_to, **authority}
        assert service["metadata"].get("annotations", {}) == injected


def test_lokis_name_for_https_is_the_gateways_certificate():
    """`gateway.nginxConfig.ssl` beside the Secret changes nothing; without it, it is refused (test_render.py)."""
    rendered = [chart.template(chart.CHART / "ci" / "mtls.yaml", extra=["--set", f"gateway.nginxConfig.ssl={value}"]).stdout for value in ("true", "false")]
    assert rendered[0] == rendered[1] and "listen 8080 ssl;" in rendered[0] and "ssl_protocols TLSv1.2 TLSv1.3;" in rendered[0]


def found(tree, key):
    for part in key.split("."):
        tree = tree[part]
    return tree


@pytest.mark.parametrize("key", AGREED)
def test_a_value_is_there_with_its_default_and_a_schema(key):
    value = found(VALUES, key)
    assert AGREED[key] is ANY or value == AGREED[key] and type(value) is type(AGREED[key])
    part = SCHEMA
    for name in key.split("."):
        part = part["properties"][name] if name in part.get("properties", {}) else part.get("additionalProperties", {})
        if "$ref" in part:
            part = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
    assert part, f"the schema takes anything as {key}"


def test_the_schema_refuses_unknown_keys_at_every_level():
    """But in maps whose keys are a person's own."""
    free = {"aggregator.overrides", "monitoring.labels", "agent.promtailConfig"}

    def open_maps(part, path=""):
        if "$ref" in part:
            part = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
        if part.get("type") == "object" and part.get("properties") and part.get("additionalProperties") is not False:
            yield path
        for name, below in part.get("properties", {}).items():
            yield from open_maps(below, f"{path}.{name}".lstrip("."))

    assert set(open_maps(SCHEMA)) - free == set()


def test_values_that_do_not_explain_themselves_are_described():
    described = {key for key, _, words in values_table.rows() if words}
    silent = [key for key, _, words in values_table.rows() if not words and key.split(".")[-1] not in WITHOUT_WORDS]
    agreed = [key for key in silent if key in AGREED]
    assert len(described) > 80 and agreed == [], agreed


def test_the_defaults_run_on_a_small_node():
    """One node with 1 GiB free: what all pods ask for together, the development MinIO included."""
    units = {"Mi": 1, "Gi": 1024}
    memory = lambda text: int(text[:-2]) * units[text[-2:]]
    asked = 0
    for document in chart.documents("default"):
        for _, pod in chart.pod_specs(document):
            if document["kind"] in ("Deployment", "DaemonSet", "StatefulSet"):
                asked += document["spec"].get("replicas", 1) * sum(memory(container["resources"]["requests"]["memory"]) for container in pod["containers"])
    assert 0 < asked <= 1024, f"{asked} MiB"
