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
