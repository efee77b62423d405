"""The rendered apiserver behind the API server: kubectl reads logs under each person's own rights."""

import base64
import json
import shlex
import ssl
import subprocess
import urllib.parse

import pytest
import yaml

import chart
import cluster
import live
import metrics_table
import programs
from test_access import OBJECTS
from test_cluster import role_problems
from test_docs import commands

APISERVER = "system:serviceaccount:monitoring:tailwater-apiserver"
USERS = [{"token": "apiserver-token", "user": APISERVER}, {"token": "ann-token", "user": "ann"}, {"token": "bob-token", "user": "bob"}]
API = "/apis/logs.tailwater.io/v1"
REPLICAS = ("apiserver-a", "apiserver-b")
# Probes of the kubelet look at no certificate either.
UNVERIFIED = ssl._create_unverified_context()


def started(stack):
    """Two replicas, registered as the rendered APIService says."""
    ports = [replica(stack, name) for name in REPLICAS]
    registered = json.loads(json.dumps(chart.find("rbac-api", "APIService", "v1.logs.tailwater.io")))
    # As cert-manager would.
    registered["spec"]["caBundle"] = base64.b64encode((stack.kube.state / "ca.crt").read_bytes()).decode()
    stack.kube.apply(yaml.safe_dump_all([*map(slice_of, ports), registered]))
    stack.apiservers = [f"https://127.0.0.1:{port}" for port in ports]
    for name, port in zip(REPLICAS, ports):
        stack.wait_for(name, f"https://127.0.0.1:{port}/readyz", context=UNVERIFIED)


def slice_of(port, is_ready=True):
    """The EndpointSlice of one replica."""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"tailwater-apiserver-{port}", "namespace": "monitoring", "labels": {"kubernetes.io/service-name": "tailwater-apiserver"}},
        "ports": [{"name": "https", "port": int(port)}], "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": is_ready}}],
    }


def replica(stack, name):
    """The rendered command with this machine's ports and folders; its port."""
    kube, port = stack.kube, live.free_port()
    issued = kube.order("certificates", data=json.dumps({"signer": "cluster", "common_name": "apiserver", "names": ["tailwater-apiserver.monitoring.svc"]}))
    for part in ("certificate", "key"):
        (stack.folder / f"apiserver.{part}").write_text(issued[part])
    (container,) = chart.find("rbac-api", "Deployment", "tailwater-apiserver")["spec"]["template"]["spec"]["containers"]
    local = {
        "--config": stack.folder / "aggregator.yaml", "--address": f"127.0.0.1:{port}", "--aggregator": stack.aggregator_url,
        "--tls-certificate": stack.folder / "apiserver.certificate", "--tls-key": stack.folder / "apiserver.key",
    }
    arguments = [f"{name}={local[name]}" if name in local else argument for argument in container["args"] for name in [argument.split("=")[0]]]
    flags = ["--storage-type=filesystem", f"--storage-filesystem-path={stack.folder / 'store'}", f"--auth-kubeconfig={kube.kubeconfig(APISERVER)}"]
    stack.start(name, [programs.program("tailwater-aggregator"), *arguments, *flags])
    return port


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("apiserver")) as stack:
        rendered = yaml.safe_dump_all(chart.documents("rbac-api"), sort_keys=False)
        stack.kube = cluster.Cluster(stack, USERS, f"{rendered}\n---{OBJECTS}")
        stack.aggregator_url = stack.aggregator(values="rbac-api", flags=["--storage-type=filesystem", f"--storage-filesystem-path={stack.folder / 'store'}", "--auth-mode=none"])
        for namespace in ("shop", "bank"):
            assert live.push(stack.aggregator_url, [f"line of {namespace}"], {"namespace": namespace, "app": "till", "pod": "till-0", "container": "till"})[0] == 204
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


def test_kubectl_lists_pods_that_have_logs(scene):
    outcome = scene.kube.kubectl("get", "pods.logs.tailwater.io", "-n", "shop", user="ann")
    assert outcome.returncode == 0, outcome.stderr
    head, row = [line.split() for line in outcome.stdout.splitlines()]
    assert head == ["NAME", "CONTAINERS", "FIRST", "LAST", "LINES", "BYTES"] and (row[0], row[1], row[4], row[5]) == ("till-0", "till", "1", "12")
    wide = scene.kube.kubectl("get", "pods.logs.tailwater.io", "till-0", "-n", "shop", "-o", "wide", user="ann")
    assert wide.returncode == 0 and "UID" in wide.stdout, wide.stderr
    named = scene.kube.kubectl("get", "pods.logs.tailwater.io", "-n", "shop", "-o", "name", user="ann")
    assert named.stdout == "pod.logs.tailwater.io/till-0\n", named.stderr
    lines = scene.kube.kubectl("get", "pods.logs.tailwater.io", "till-0", "-n", "shop", "-o", "jsonpath={.status.lines}", user="ann")
    assert lines.stdout == "1", lines.stderr
    refused = scene.kube.kubectl("get", "pods.logs.tailwater.io", "-n", "bank", user="ann")
    assert refused.returncode != 0 and "orbidden" in refused.stderr, refused.stderr


def listed(scene, user, *arguments):
    """`namespace/name` of the pods that kubectl lists."""
    path = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}"
    outcome = scene.kube.kubectl("get", "pods.logs.tailwater.io", "-o", path, *arguments, user=user)
    return outcome.stdout.split() if outcome.returncode == 0 else outcome.stderr


def test_kubectl_lists_pods_of_all_namespaces_by_selectors(scene):
    assert listed(scene, "admin", "-A") == ["bank/till-0", "shop/till-0"] and listed(scene, "ann", "-A") == ["shop/till-0"]
    assert "orbidden" in listed(scene, "bob", "-A")
    assert listed(scene, "admin", "-A", "-l", "app in (till, other)") == ["bank/till-0", "shop/till-0"] and listed(scene, "admin", "-A", "-l", "app!=till") == []
    assert listed(scene, "admin", "-A", "--field-selector=metadata.namespace=bank") == ["bank/till-0"]
    assert "status.phase" in listed(scene, "admin", "-A", "--field-selector=status.phase=Running"), "what is not known is refused"
    table = scene.kube.kubectl("get", "pods.logs.tailwater.io", "-A", "--show-labels", user="admin")
    assert table.stdout.split()[:2] == ["NAMESPACE", "NAME"] and "app=till" in table.stdout, table.stdout + table.stderr


def test_kubectl_watches_pods(scene):
    labels = {"namespace": "shop", "app": "watched", "container": "till"}
    assert live.push(scene.aggregator_url, ["there before"], {**labels, "pod": "watched-0"})[0] == 204
    command = scene.kube.command("get", "pods.logs.tailwater.io", "-n", "shop", "-l", "app=watched", "--watch", "--output-watch-events", "--request-timeout=60s", user="ann")
    with subprocess.Popen(command, env=scene.kube.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watching:
        try:
            assert watching.stdout.readline().split()[:2] == ["EVENT", "NAME"]
            seen = [watching.stdout.readline().split()[:2]]
            assert seen == [["ADDED", "watched-0"]], seen
            assert live.push(scene.aggregator_url, ["came later"], {**labels, "pod": "watched-1"})[0] == 204
            # What was active when it was listed may be told again.
            while seen[-1][-1] != "watched-1":
                seen.append(watching.stdout.readline().split()[:2] or ["the watch ended"])
                assert seen[-1][0] in ("ADDED", "MODIFIED"), seen
            assert seen[-1][0] == "ADDED", seen
        finally:
            watching.kill()
    outcome = scene.kube.kubectl("get", "--raw", f"{API}/namespaces/shop/pods?watch=true&resourceVersion=1", user="ann")
    assert outcome.returncode != 0 and "too old resource version" in outcome.stderr, outcome.stderr


def test_kubectl_lists_events_that_are_stored(scene):
    line = 'kind=Pod name=till-0 reason=BackOff type=Warning count=3 event=till-0.1 component=kubelet msg="Back-off restarting"'
    for namespace in ("shop", "bank"):
        assert live.push(scene.aggregator_url, [line], {"namespace": namespace, "job": "loki.source.kubernetes_events"})[0] == 204
    outcome = scene.kube.kubectl("get", "events.logs.tailwater.io", "-A", user="ann")
    head, row = outcome.stdout.splitlines()
    assert head.split() == ["NAMESPACE", "LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], outcome.stdout + outcome.stderr
    assert row.split()[0] == "shop" and row.split()[2:] == ["Warning", "BackOff", "pod/till-0", "Back-off", "restarting"], row
    of_pod = scene.kube.kubectl("get", "events.logs.tailwater.io", "-n", "bank", "--field-selector=involvedObject.name=till-0", "-o", "jsonpath={.items[*].count}", user="admin")
    assert of_pod.stdout == "3", of_pod.stderr
    refused = scene.kube.kubectl("get", "events.logs.tailwater.io", "-n", "bank", user="ann")
    assert refused.returncode != 0 and "orbidden" in refused.stderr, refused.stderr


def test_kubectl_reads_the_log_of_a_pod_that_is_gone(scene):
    path = f"{API}/namespaces/shop/pods/till-0/log"
    outcome = scene.kube.kubectl("get", "--raw", path, user="ann")
    assert outcome.stdout == "line of shop\n", outcome.stderr
    with subprocess.Popen(scene.kube.command("get", "--raw", f"{path}?follow=true&tailLines=1", user="ann"), env=scene.kube.environment, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout.readline() == "line of shop\n"
            live.push(scene.aggregator_url, ["a later line"], {"namespace": "shop", "app": "other", "pod": "till-0", "container": "till"})
            assert following.stdout.readline() == "a later line\n"
        finally:
            following.kill()


def test_what_the_guide_asks_is_answered(scene):
    """Each command of security.md that reads logs, as it stands there."""
    asked = [shlex.split(line)[1:] for line in commands((chart.DEPLOY / "docs/security.md").read_text()) if "logs.tailwater.io" in line]
    assert len(asked) >= 5
    for words in asked:
        # A watch would go on.
        outcome = scene.kube.kubectl(*words, *(["--request-timeout=2s"] if "--watch" in words else []), user="admin")
        assert "--watch" in words or outcome.returncode == 0, f"{words}: {outcome.stderr}"
        assert any(text in outcome.stdout for text in ("till-0", "line of shop", "BackOff")), f"{words}: {outcome.stdout}{outcome.stderr}"


def test_kubectl_is_told_what_there_is(scene):
    outcome = scene.kube.kubectl("api-resources", "--api-group=logs.tailwater.io", "-o", "name", user="ann")
    assert outcome.returncode == 0 and outcome.stdout.split() == ["events.logs.tailwater.io", "loki.logs.tailwater.io", "pods.logs.tailwater.io"], outcome.stdout + outcome.stderr
    outcome = scene.kube.kubectl("explain", "pods.status.firstLine", "--api-version=logs.tailwater.io/v1", user="ann")
    assert outcome.returncode == 0 and "Time of its first line" in outcome.stdout, outcome.stdout + outcome.stderr
    # The core's own pods are meant where no group is named.
    core = scene.kube.kubectl("get", "pods", "-n", "shop", "-v=6", user="admin")
    assert "/api/v1/namespaces/shop/pods" in core.stderr, core.stderr


def test_what_it_does_is_in_its_metrics(scene):
    """As Prometheus asks for it: by the rendered name, under the rendered authority."""
    (endpoint,) = chart.find("rbac-api", "ServiceMonitor", "tailwater-apiserver")["spec"]["endpoints"]
    assert (endpoint["scheme"], endpoint["tlsConfig"]["serverName"]) == ("https", "tailwater-apiserver.monitoring.svc")
    text = live.ask(f"{scene.apiservers[0]}{endpoint['path']}", context=UNVERIFIED)[1]
    for name in ("tailwater_request_duration_seconds_count", "tailwater_access_reviews_total", "tailwater_tls_certificate_not_after_seconds"):
        assert f"\n{name}" in text, text
    assert metrics_table.problems("Apiserver", text) == []


def deleted(scene, namespace):
    """A new namespace is deleted; whether it is gone soon."""
    scene.kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
    outcome = scene.kube.kubectl("delete", "namespace", namespace, "--wait=true", "--timeout=10s")
    return outcome.returncode == 0


def test_a_missing_replica_or_aggregator_keeps_no_namespace(scene):
    """Last of this file: it stops what the others need. Only without any replica does a namespace stay, as Kubernetes has it."""
    assert deleted(scene, "first")
    scene.stop(REPLICAS[0], kill=True)
    assert deleted(scene, "second"), "one replica is gone"
    # As its failing probe would take it out of the Service.
    scene.kube.apply(json.dumps(slice_of(scene.apiservers[0].rpartition(":")[2], is_ready=False)))
    scene.stop("aggregator", kill=True)
    assert "does not answer" in read(scene, "ann", "/namespaces/shop"), "reading says that the aggregator is gone"
    assert deleted(scene, "third"), "the aggregator is gone"
    scene.stop(REPLICAS[1], kill=True)
    scene.kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fourth"}}))
    assert scene.kube.kubectl("delete", "namespace", "fourth", "--wait=false").returncode == 0
    left = json.loads(scene.kube.ask("/api/v1/namespaces/fourth", "admin")[1])
    assert left["status"]["phase"] == "Terminating" and "logs.tailwater.io/v1" in left["status"]["conditions"][0]["message"], left
