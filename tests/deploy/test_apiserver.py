"""The rendered apiserver behind the API server: kubectl reads logs under each person's own rights."""

import base64
import json
import urllib.parse

import pytest
import yaml

import chart
import cluster
import live
import programs
from test_access import OBJECTS
from test_cluster import role_problems

APISERVER = "system:serviceaccount:monitoring:tailwater-apiserver"
USERS = [{"token": "apiserver-token", "user": APISERVER}, {"token": "ann-token", "user": "ann"}, {"token": "bob-token", "user": "bob"}]
API = "/apis/logs.tailwater.io/v1"


def started(stack):
    """The rendered command with this machine's ports and folders, registered as the rendered APIService says."""
    kube, port = stack.kube, live.free_port()
    issued = kube.order("certificates", data=json.dumps({"signer": "cluster", "common_name": "apiserver", "names": ["tailwater-apiserver.monitoring.svc"]}))
    for name in ("certificate", "key"):
        (stack.folder / f"apiserver.{name}").write_text(issued[name])
    (container,) = chart.find("rbac-api", "Deployment", "tailwater-apiserver")["spec"]["template"]["spec"]["containers"]
    local = {
        "--config": stack.folder / "aggregator.yaml", "--address": f"127.0.0.1:{port}", "--aggregator": stack.aggregator_url,
        "--tls-certificate": stack.folder / "apiserver.certificate", "--tls-key": stack.folder / "apiserver.key",
    }
    arguments = [f"{name}={local[name]}" if name in local else argument for argument in container["args"] for name in [argument.split("=")[0]]]
    flags = ["--storage-type=filesystem", f"--storage-filesystem-path={stack.folder / 'store'}", f"--auth-kubeconfig={kube.kubeconfig(APISERVER)}"]
    stack.start("apiserver", [programs.program("tailwater-aggregator"), *arguments, *flags])
    slice_of = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "tailwater-apiserver-1", "namespace": "monitoring", "labels": {"kubernetes.io/service-name": "tailwater-apiserver"}},
        "ports": [{"name": "https", "port": port}], "endpoints": [{"addresses": ["127.0.0.1"]}],
    }
    registered = json.loads(json.dumps(chart.find("rbac-api", "APIService", "v1.logs.tailwater.io")))
    # As cert-manager would.
    registered["spec"]["caBundle"] = base64.b64encode((kube.state / "ca.crt").read_bytes()).decode()
    kube.apply(yaml.safe_dump_all([slice_of, registered]))
    live.eventually("the apiserver answers", lambda: kube.ask(API, "admin")[0] == 200)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("apiserver")) as stack:
        rendered = yaml.safe_dump_all(chart.documents("rbac-api"), sort_keys=False)
        stack.kube = cluster.Cluster(stack, USERS, f"{rendered}\n---{OBJECTS}")
        stack.aggregator_url = stack.aggregator(values="rbac-api", flags=["--storage-type=filesystem", f"--storage-filesystem-path={stack.folder / 'store'}", "--auth-mode=none"])
        for namespace in ("shop", "bank"):
            assert live.push(stack.aggregator_url, [f"line of {namespace}"], {"namespace": namespace, "app": "till"})[0] == 204
        started(stack)
        yield stack


def read(stack, user, place):
    """What kubectl prints of the lines in a place: a namespace, or everywhere."""
    query = urllib.parse.urlencode({"query": '{app="till"}', "since": "1h"})
    outcome = stack.kube.kubectl("get", "--raw", f"{API}{place}/loki/api/v1/query_range?{query}", user=user)
    if outcome.returncode != 0:
        return outcome.stderr
    return sorted(line for stream in json.loads(outcome.stdout)["data"]["result"] for _, line in stream["values"])


def test_each_reads_through_kubectl_what_they_may(scene):
    assert read(scene, "ann", "/namespaces/shop") == ["line of shop"]
    assert read(scene, "ann", "") == ["line of shop"]
    assert read(scene, "admin", "") == ["line of bank", "line of shop"]
    assert "orbidden" in read(scene, "ann", "/namespaces/bank") and "orbidden" in read(scene, "bob", "/namespaces/shop")


def test_a_client_cannot_say_who_it_is(scene):
    path = f"{API}/loki/api/v1/labels"
    for headers in ({"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}, {"X-Tailwater-Access": "v1.anything"}):
        status, _ = scene.kube.ask(path, "bob", headers=headers)
        assert status == 403, headers


def test_its_rights_are_what_it_asks_for(scene):
    read(scene, "ann", "/namespaces/shop")
    asked = [one for one in scene.kube.requests(APISERVER) if one["resource"]]
    assert not [one for one in asked if one["status"] == 403], asked
    # The ConfigMap that tells whom to believe; its Role is Kubernetes' own.
    others = [one for one in asked if one["resource"] != "configmaps"]
    assert {(one["namespace"], one["name"]) for one in asked if one["resource"] == "configmaps"} == {("kube-system", "extension-apiserver-authentication")}
    reviews = [{"apiGroups": [f"{group}.k8s.io"], "resources": [resource], "verbs": ["create"]} for group, resource in [("authorization", "subjectaccessreviews")]]
    role = {"rules": [*reviews, *chart.find("rbac-api", "ClusterRole", "tailwater:namespaces")["rules"]]}
    assert list(role_problems(role, others)) == []
