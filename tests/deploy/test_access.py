"""`auth.mode: kubernetes` as rendered: nginx asks the aggregator who it is, the aggregator asks the API server what they may read."""

import json
import socket

import pytest
import yaml

import chart
import cluster
import live
import programs
from test_cluster import role_problems

AGGREGATOR = "system:serviceaccount:monitoring:tailwater-aggregator"
USERS = [{"token": "aggregator-token", "user": AGGREGATOR}, {"token": "ann-token", "user": "ann"}, {"token": "bob-token", "user": "bob"}]
OBJECTS = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: bank}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ann, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("access")) as stack:
        rendered = yaml.safe_dump_all(chart.documents("rbac-api"), sort_keys=False)
        stack.kube = cluster.Cluster(stack, USERS, f"{rendered}\n---{OBJECTS}")
        flags = ["--storage-type=filesystem", f"--storage-filesystem-path={stack.folder / 'store'}", f"--auth-kubeconfig={stack.kube.kubeconfig(AGGREGATOR)}"]
        stack.aggregator_url = stack.aggregator(values="rbac-api", flags=flags)
        stack.gateway_url = stack.gateway([stack.aggregator_url], values="rbac-api")
        # Agents push without a token.
        for namespace in ("shop", "bank"):
            status, text = live.push(stack.gateway_url, [f"line of {namespace}"], {"namespace": namespace, "app": f"app-of-{namespace}"})
            assert status == 204, text
        yield stack


def headers(user, **others):
    tokens = {"admin": "admin-token", **{one["user"]: one["token"] for one in USERS}}
    return {**({"Authorization": f"Bearer {tokens.get(user, user)}"} if user else {}), **others}


def read(stack, user, **others):
    """(status, lines) of everything that the user is shown."""
    status, answer = live.query(stack.gateway_url, '{app=~".+"}', headers(user, **others), path="query_range", since="1h")
    return status, sorted(line for stream in answer["data"]["result"] for _, line in stream["values"]) if status == 200 else answer


def test_each_reads_the_namespaces_whose_pod_logs_they_may_get(scene):
    assert read(scene, "admin") == (200, ["line of bank", "line of shop"])
    assert read(scene, "ann") == (200, ["line of shop"])
    status, text = live.ask(f"{scene.gateway_url}/loki/api/v1/label/app/values", headers=headers("ann"))
    assert status == 200 and json.loads(text)["data"] == ["app-of-shop"]
    assert read(scene, "bob")[0] == 403


def test_who_is_nobody_reads_nothing(scene):
    for user, others in [(None, {}), ("made-up", {}), (None, {"X-Tailwater-Access": "v1.anything"}), (None, {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"})]:
        assert read(scene, user, **others)[0] == 401, (user, others)
    assert live.ask(f"{scene.gateway_url}/internal/authz", headers=headers("admin"))[0] == 404
    assert live.ask(f"{scene.gateway_url}/ready")[0] == 200


def test_a_clients_own_word_for_what_it_may_read_is_dropped(scene):
    """A header that the aggregator signed for one is worth nothing when another sends it through the gateway."""
    request = live.urllib.request.Request(f"{scene.aggregator_url}/internal/authz", headers=headers("admin"))
    with live.urllib.request.urlopen(request, timeout=30, context=None) as answer:
        signed = answer.headers["X-Tailwater-Access"]
    assert signed and live.query(scene.aggregator_url, '{app=~".+"}', {"X-Tailwater-Access": signed}, path="query_range", since="1h")[0] == 200
    assert read(scene, None, **{"X-Tailwater-Access": signed})[0] == 401
    assert read(scene, "ann", **{"X-Tailwater-Access": signed}) == (200, ["line of shop"])


def upgraded(stack, user):
    """The first line of the answer to a WebSocket upgrade of /tail."""
    host, port = stack.gateway_url.removeprefix("http://").split(":")
    told = "".join(f"{name}: {value}\r\n" for name, value in headers(user).items())
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"GET /loki/api/v1/tail?query=%7Bapp%3D~%22.%2B%22%7D HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{told}\r\n".encode()
        )
        return connection.recv(64).split(b"\r\n")[0]


def test_following_needs_the_same_rights(scene):
    assert b" 101 " in upgraded(scene, "ann")
    assert b" 401 " in upgraded(scene, None)


def test_an_api_server_that_fails_opens_nothing(scene):
    scene.kube.order("users", "PUT", json.dumps([*USERS, {"token": "admin-token", "user": "admin", "groups": ["system:masters"]}, {"token": "new-token", "user": "new", "groups": ["system:masters"]}]))
    scene.kube.fault(resource="tokenreviews", status=500)
    assert read(scene, "new-token")[0] >= 400
    told = chart.run([programs.program("tailwater-aggregator"), "doctor", f"--url={scene.aggregator_url}"], env=programs.clean_environment()).stdout
    assert "warning  access reviews " in told and "tailwater:aggregator-reviews" in told, told
    scene.kube.order("faults", "DELETE")
    assert read(scene, "new-token") == (200, ["line of bank", "line of shop"])


def test_the_aggregators_rights_are_what_it_asks_for_neither_more_nor_less(scene):
    read(scene, "ann")
    delegator = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}, {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}
    role = {"rules": [*delegator, *chart.find("rbac-api", "ClusterRole", "tailwater:namespaces")["rules"]]}
    requests = scene.kube.requests(AGGREGATOR)
    assert list(role_problems(role, requests)) == []
    assert not [one for one in requests if one["status"] == 403]
