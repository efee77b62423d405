"""The reachability matrix of the rendered NetworkPolicies."""

import pytest

import chart
from reach import Peer, reaches


def ours(component):
    return Peer((("app.kubernetes.io/name", "tailwater"), ("app.kubernetes.io/instance", "tailwater"), ("app.kubernetes.io/component", component)), "monitoring")


def other(name, namespace):
    return Peer((("app.kubernetes.io/name", name),), namespace)


AGENT, CANARY, GATEWAY, AGGREGATOR, APISERVER, MINIO, SETUP, TEST = map(ours, ("agent", "canary", "gateway", "aggregator", "apiserver", "minio", "minio-setup", "test"))
PROMETHEUS, GRAFANA, HEADLAMP, PROMTAIL = other("prometheus", "monitoring"), other("grafana", "monitoring"), other("headlamp", "headlamp"), other("promtail", "logging")
TUNNEL, STRANGER, DNS = other("cloudflared", "monitoring"), other("shop", "default"), other("kube-dns", "kube-system")
STRANGER_HERE = other("shop", "monitoring")
API_SERVER, INTERNET, METADATA = Peer(address="10.0.0.1"), Peer(address="203.0.113.9"), Peer(address="169.254.169.254")
CLUSTER_MINIO = other("minio", "minio")

# (values file, source, target, port, reached?)
TABLE = [
    ("default", AGENT, GATEWAY, 8080, True),
    ("default", AGENT, AGGREGATOR, 3100, False),
    ("default", CANARY, GATEWAY, 8080, True),
    ("default", CANARY, AGGREGATOR, 3100, False),
    ("default", CANARY, INTERNET, 443, False),
    ("default", PROMETHEUS, CANARY, 3500, True),
    ("default", STRANGER, CANARY, 3500, False),
    ("default", AGENT, API_SERVER, 443, True),
    ("default", AGENT, API_SERVER, 6443, True),
    ("default", AGENT, INTERNET, 80, False),
    ("default", AGENT, MINIO, 9000, False),
    ("default", GRAFANA, GATEWAY, 8080, True),
    ("default", HEADLAMP, GATEWAY, 8080, True),
    ("default", PROMTAIL, GATEWAY, 8080, True),
    ("default", TUNNEL, GATEWAY, 8080, True),
    ("default", TEST, GATEWAY, 8080, True),
    ("default", STRANGER, GATEWAY, 8080, False),
    ("default", STRANGER_HERE, GATEWAY, 8080, False),
    ("default", INTERNET, GATEWAY, 8080, False),
    ("default", GATEWAY, AGGREGATOR, 3100, True),
    ("default", GATEWAY, INTERNET, 443, False),
    ("default", GATEWAY, MINIO, 9000, False),
    ("default", GRAFANA, AGGREGATOR, 3100, False),
    ("default", STRANGER, AGGREGATOR, 3100, False),
    ("default", PROMETHEUS, AGGREGATOR, 3100, True),
    ("default", PROMETHEUS, AGENT, 3101, True),
    ("default", PROMETHEUS, GATEWAY, 8080, False),
    ("default", STRANGER, AGENT, 3101, False),
    ("default", AGGREGATOR, MINIO, 9000, True),
    ("default", AGGREGATOR, INTERNET, 443, False),
    ("default", AGGREGATOR, API_SERVER, 6443, False),
    ("default", SETUP, MINIO, 9000, True),
    ("default", STRANGER, MINIO, 9000, False),
    ("default", MINIO, INTERNET, 443, False),
    ("s3-irsa", AGGREGATOR, INTERNET, 443, True),
    ("s3-irsa", AGGREGATOR, INTERNET, 80, False),
    ("s3-irsa", AGGREGATOR, METADATA, 80, True),
    ("ha", AGGREGATOR, METADATA, 80, False),
    ("ha", AGGREGATOR, INTERNET, 443, True),
    ("ha", PROMETHEUS, GATEWAY, 9113, True),
    ("ha", other("prometheus", "elsewhere"), AGGREGATOR, 3100, False),
    ("minio", AGGREGATOR, CLUSTER_MINIO, 9000, True),
    ("minio", AGGREGATOR, CLUSTER_MINIO, 443, False),
    ("agent-only", AGENT, INTERNET, 8443, True),
    ("agent-only", AGENT, INTERNET, 22, False),
    ("gateway-all", Peer(address="10.1.2.3"), GATEWAY, 8080, True),
    ("gateway-all", INTERNET, GATEWAY, 8080, False),
    ("tenants", AGGREGATOR, AGGREGATOR, 3100, True),
    ("default", AGGREGATOR, AGGREGATOR, 3100, False),
    ("ha", AGGREGATOR, AGGREGATOR, 3100, True),
    ("autoscaling", AGGREGATOR, AGGREGATOR, 3100, True),
    ("ha", AGGREGATOR, AGENT, 3101, False),
    ("filesystem", AGGREGATOR, INTERNET, 443, False),
    ("minimal", STRANGER, AGGREGATOR, 3100, True),
    ("rbac-api", AGGREGATOR, API_SERVER, 443, True),
    ("rbac-api", AGGREGATOR, INTERNET, 6443, False),
    ("default", API_SERVER, AGGREGATOR, 3100, False),
    ("rbac-api", GATEWAY, API_SERVER, 443, False),
    ("rbac-api", API_SERVER, APISERVER, 8443, True),
    ("rbac-api", INTERNET, APISERVER, 8443, False),
    ("rbac-api", STRANGER, APISERVER, 8443, False),
    ("rbac-api", PROMETHEUS, APISERVER, 8443, True),
    ("rbac-api", GATEWAY, APISERVER, 8443, False),
    ("rbac-api", APISERVER, AGGREGATOR, 3100, True),
    ("rbac-api", APISERVER, API_SERVER, 6443, True),
    ("rbac-api", APISERVER, Peer(address="203.0.113.9"), 443, True),
    ("rbac-api", APISERVER, GATEWAY, 8080, False),
]


def policies(name):
    return [one for one in chart.documents(name) if one["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}: {dict(row[1].labels).get('app.kubernetes.io/component') or row[1].label_map.get('app.kubernetes.io/name') or row[1].address} to {row[2].address or list(row[2].label_map.values())[-1]}:{row[3]}")
def test_reachability(row):
    name, source, target, port, expected = row
    assert reaches(policies(name), source, target, port) is expected


@pytest.mark.parametrize("source", [AGENT, GATEWAY, AGGREGATOR])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_everybody_asks_dns(source, protocol):
    assert reaches(policies("default"), source, DNS, 53, protocol)


def test_an_opened_policy_is_noticed():
    planted = chart.load_all(chart.rendered("default"))
    planted = [one for one in planted if one["kind"] == "NetworkPolicy"]
    for one in planted:
        if one["metadata"]["name"] == "tailwater-aggregator":
            one["spec"]["ingress"].append({"ports": [{"port": 3100}]})
    assert reaches(planted, STRANGER, AGGREGATOR, 3100)
    assert any(reaches(planted, source, target, port) is not expected for name, source, target, port, expected in TABLE if name == "default")
