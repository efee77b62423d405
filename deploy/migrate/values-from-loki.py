#!/usr/bin/env python3
"""Turns values of Loki's Helm chart into values of tailwater's.

    python3 values-from-loki.py VALUES.yaml [MORE.yaml …] > values.yaml

Later files win, as with Helm. What has no counterpart is listed on standard error, one line each, with what to do about it.
"""

import json
import pathlib
import sys

import yaml

SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "helm/tailwater/values.schema.json"

# Paths that say the same in both charts: Loki's, ours.
SAME = {
    "loki.auth_enabled": "tenancy.enabled",
    "loki.storage.s3.region": "storage.s3.region",
    "loki.storage.s3.endpoint": "storage.s3.endpoint",
    "loki.storage.s3.s3ForcePathStyle": "storage.s3.forcePathStyle",
    "loki.storage.s3.insecure": "storage.s3.insecure",
    "global.clusterDomain": "global.clusterDomain",
    "global.image.registry": "global.image.registry",
    "monitoring.serviceMonitor.enabled": "monitoring.serviceMonitor.enabled",
    "monitoring.dashboards.enabled": "monitoring.dashboards.enabled",
    "monitoring.rules.enabled": "monitoring.rules.enabled",
    "monitoring.serviceMonitor.labels": "monitoring.labels",
    "monitoring.serviceMonitor.interval": "monitoring.interval",
    "networkPolicy.enabled": "networkPolicy.enabled",
    "lokiCanary.enabled": "canary.enabled",
}
# Parts of the gateway under the same name and meaning.
GATEWAY = [
    "enabled", "replicas", "verboseLogging", "affinity", "nodeSelector", "tolerations", "podAnnotations", "podLabels", "resources",
    "service.type", "service.port", "service.annotations", "service.labels",
    "ingress.enabled", "ingress.ingressClassName", "ingress.annotations", "ingress.hosts", "ingress.tls",
    "basicAuth.enabled", "basicAuth.htpasswd", "basicAuth.existingSecret",
    "nginxConfig.serverSnippet", "nginxConfig.httpSnippet", "nginxConfig.locationSnippet", "nginxConfig.clientMaxBodySize", "nginxConfig.resolver", "nginxConfig.enableIPv6", "nginxConfig.ssl",
    "autoscaling.enabled", "autoscaling.minReplicas", "autoscaling.maxReplicas", "autoscaling.targetCPUUtilizationPercentage",
]
SAME |= {f"gateway.{path}": f"gateway.{path}" for path in GATEWAY}
# Beginnings of paths, and what to do instead.
ADVICE = {
    "loki.storage.s3.accessKeyId": "put the keys into a Secret and name it in storage.s3.existingSecret",
    "loki.storage.s3.secretAccessKey": "put the keys into a Secret and name it in storage.s3.existingSecret",
    "loki.storage.bucketNames": "tailwater needs a bucket or a prefix of its own: storage.s3.bucket, storage.s3.prefix",
    "loki.storage.type": "only s3 and filesystem are there",
    "loki.schemaConfig": "not needed: there is one format, and it carries its version",
    "loki.commonConfig": "not needed: replicas share the bucket",
    "loki.rulerConfig": "there is no ruler yet: keep Loki's, or use Grafana-managed alerts",
    "gateway.basicAuth.username": "make an htpasswd line and put it into gateway.basicAuth.existingSecret",
    "gateway.basicAuth.password": "make an htpasswd line and put it into gateway.basicAuth.existingSecret",
    "gateway.nginxConfig": "the gateway's configuration is fixed but for its snippets",
    "ingester": "one kind of process: aggregator.replicas",
    "distributor": "one kind of process: aggregator.replicas",
    "querier": "one kind of process: aggregator.replicas",
    "queryFrontend": "one kind of process: aggregator.replicas",
    "compactor": "one kind of process: aggregator.replicas",
    "write": "one kind of process: aggregator.replicas",
    "read": "one kind of process: aggregator.replicas",
    "backend": "one kind of process: aggregator.replicas",
    "singleBinary": "one kind of process: aggregator.replicas",
    "minio": "for a trial: minio.enabled of our chart, which has a bucket of its own",
    "chunksCache": "not needed: caches are in the aggregator's memory",
    "resultsCache": "not needed: caches are in the aggregator's memory",
    "lokiCanary": "ours has values of its own: canary",
    "test": "helm test pushes a line and reads it back",
}


class Values(yaml.SafeDumper):
    """Writes YAML as Helm reads it: to Helm, `y` and `n` are booleans."""

    def text(self, text):
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if text in ("y", "Y", "n", "N") else None)


Values.add_representer(str, Values.text)


def leaves(tree, prefix=""):
    for name, value in (tree or {}).items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and path not in SAME:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def put(tree, path, value):
    *parents, last = path.split(".")
    for name in parents:
        tree = tree.setdefault(name, {})
    tree[last] = value


def advice(path):
    fitting = [key for key in ADVICE if path == key or path.startswith(key + ".")]
    return ADVICE[max(fitting, key=len)] if fitting else "has no counterpart"


def is_empty(value):
    return value is None or value == "" or value == {} or value == []


def converted(loki):
    """Our values, and what is left over as (path, advice)."""
    limits = set(json.loads(SCHEMA.read_text())["definitions"]["limits"]["properties"])
    ours, left = {}, []
    for path, value in leaves(loki):
        limit = path.removeprefix("loki.limits_config.")
        if path in SAME:
            if not is_empty(value):
                put(ours, SAME[path], value)
        elif limit != path and limit.split(".")[0] in limits:
            put(ours.setdefault("aggregator", {}).setdefault("limits", {}), limit, value)
        elif path == "loki.storage.type" and value in ("s3", "filesystem"):
            put(ours, "storage.type", value)
        elif not is_empty(value):
            left.append((path, advice(path)))
    endpoint = ours.get("storage", {}).get("s3", {}).get("endpoint")
    if endpoint and "://" not in endpoint:
        scheme = "http" if ours["storage"]["s3"].get("insecure") else "https"
        ours["storage"]["s3"]["endpoint"] = f"{scheme}://{endpoint}"
    return ours, left


def merged(left, right):
    for name, value in (right or {}).items():
        left[name] = merged(left.get(name) if isinstance(left.get(name), dict) else {}, value) if isinstance(value, dict) else value
    return left


def main(paths):
    if not paths:
        sys.exit(__doc__)
    loki = {}
    for path in paths:
        merged(loki, yaml.safe_load(pathlib.Path(path).read_text()))
    ours, left = converted(loki)
    print(yaml.dump(ours, Dumper=Values, sort_keys=False), end="")
    for path, what in left:
        print(f"{path}: {what}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
