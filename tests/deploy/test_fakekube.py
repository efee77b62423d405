"""The API server of the tests, judged by the real kubectl."""

import base64
import contextlib
import http.server
import json
import os
import subprocess
import threading

import pytest

import chart
import cluster
import live

USERS = [
    {"token": "ann-token", "user": "ann", "groups": ["shop-team"], "uid": "ann-uid", "extra": {"scopes": ["read"]}},
    {"token": "bob-token", "user": "bob"},
    {"token": "bot-token", "user": "system:serviceaccount:shop:bot"},
]
OBJECTS = """
{apiVersion: v1, kind: Node, metadata: {name: node-a}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, uid: uid-web-1, labels: {app: web}}
spec: {nodeName: node-a, containers: [{name: web, image: i}, {name: side, image: i}]}
status: {phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: bank, uid: uid-db-0, labels: {app: db}}
spec: {nodeName: node-b, containers: [{name: db, image: i}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: team, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: shop-team}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: one-log, namespace: shop}
rules: [{apiGroups: [""], resources: [pods/log], resourceNames: [web-1], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bot, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: one-log}
subjects: [{kind: ServiceAccount, name: bot}]
"""


@pytest.fixture(scope="module")
def kube(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("kube")) as stack:
        stack.write_lines([f"line {number}" for number in range(5)], pod="shop_web-1_uid-web-1", container="web")
        yield cluster.Cluster(stack, USERS, OBJECTS)


def ok(outcome):
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


@contextlib.contextmanager
def started(command, kube):
    """A process that ends with the block."""
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=kube.environment) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(outcome):
    assert outcome.returncode != 0, outcome.stdout
    return outcome.stderr + outcome.stdout


def test_kubectl_finds_its_way_and_its_objects(kube):
    assert "pods" in ok(kube.kubectl("api-resources")) and "v1.35" in ok(kube.kubectl("version"))
    names = lambda *arguments, **options: ok(kube.kubectl("get", *arguments, "-o", "name", **options)).split()
    assert names("pods", "-A") == ["pod/db-0", "pod/web-1"]
    assert names("po", "-A", "--field-selector", "spec.nodeName=node-a") == ["pod/web-1"]
    assert names("pods", "-A", "-l", "app in (db,x)") == ["pod/db-0"]
    assert names("pods", "-A", "--chunk-size", "1") == ["pod/db-0", "pod/web-1"]
    assert names("pods", "-n", "shop", user="ann") == ["pod/web-1"]
    assert "namespace/shop" in names("ns")
    assert "NAME" in ok(kube.kubectl("get", "nodes"))
    assert "field label not supported" in refused(kube.kubectl("get", "pods", "--field-selector", "spec.image=x"))
    data = json.loads(ok(kube.kubectl("get", "cm", "-n", "kube-system", "extension-apiserver-authentication", "-o", "json")))["data"]
    assert json.loads(data["requestheader-allowed-names"]) == ["front-proxy-client"]


def test_who_may_what_is_what_the_bindings_say(kube):
    can = lambda user, *what: kube.kubectl("auth", "can-i", *what, user=user).stdout.strip()
    for user, what, answer in [
        ("ann", ["get", "pods", "--subresource=log", "-n", "shop"], "yes"),
        ("ann", ["get", "pods", "--subresource=log", "-n", "bank"], "no"),
        ("ann", ["get", "pods", "--subresource=log", "-A"], "no"),
        ("bob", ["get", "pods", "--subresource=log", "-n", "shop"], "no"),
        ("system:serviceaccount:shop:bot", ["get", "pods/web-1", "--subresource=log", "-n", "shop"], "yes"),
        ("system:serviceaccount:shop:bot", ["get", "pods/web-2", "--subresource=log", "-n", "shop"], "no"),
        ("admin", ["delete", "nodes"], "yes"),
    ]:
        assert can(user, *what) == answer, (user, what)
    told = refused(kube.kubectl("get", "pods", "-n", "bank", user="ann"))
    assert 'User "ann" cannot list resource "pods" in API group "" in the namespace "bank"' in told
    assert kube.ask("/api/v1/pods")[0] == 403 and kube.ask("/api/v1/pods", headers={"Authorization": "Bearer x"})[0] == 401
    assert kube.ask("/readyz")[0] == 200


def test_reviews_answer_for_others_to_those_who_may_ask(kube):
    def review(kind, group, spec, user):
        status, text = kube.ask(f"/apis/{group}/v1/{kind}", user, data=json.dumps({"spec": spec}).encode(), headers={"Content-Type": "application/json"})
        return status, json.loads(text).get("status")

    access = {"user": "ann", "groups": ["shop-team"], "resourceAttributes": {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "shop"}}
    status, told = review("subjectaccessreviews", "authorization.k8s.io", access, "admin")
    assert status == 201 and told["allowed"] and "team" in told["reason"]
    access["resourceAttributes"]["namespace"] = "bank"
    assert review("subjectaccessreviews", "authorization.k8s.io", access, "admin")[1] == {"allowed": False}
    assert review("subjectaccessreviews", "authorization.k8s.io", access, "ann")[0] == 403
    token = review("tokenreviews", "authentication.k8s.io", {"token": "ann-token"}, "admin")[1]
    assert token["user"] == {"username": "ann", "uid": "ann-uid", "groups": ["shop-team", "system:authenticated"], "extra": {"scopes": ["read"]}}
    assert not review("tokenreviews", "authentication.k8s.io", {"token": "?"}, "admin")[1].get("authenticated")


def test_kubectl_reads_and_follows_logs(kube):
    logs = lambda *arguments, **options: kube.kubectl("logs", "-n", "shop", "web-1", *arguments, **options)
    assert ok(logs("-c", "web", user="ann")).splitlines() == [f"line {number}" for number in range(5)]
    assert ok(logs("-c", "web", "--tail", "2")).splitlines() == ["line 3", "line 4"]
    assert ok(logs("-c", "web", "--limit-bytes", "8")) == "line 0\nl"
    assert ok(logs("-c", "web", "--timestamps", "--tail", "1")).endswith("Z line 4")
    assert "previous terminated container" in refused(logs("-c", "web", "-p"))
    assert "cannot get resource \"pods/log\"" in refused(kube.kubectl("get", "--raw", "/api/v1/namespaces/shop/pods/web-1/log?container=web", user="bob"))
    command = kube.command("logs", "-n", "shop", "web-1", "-c", "web", "-f", "--tail", "1")
    with started(command, kube) as following:
        assert following.stdout.readline() == "line 4\n"
        kube.stack.write_lines(["line 5"], pod="shop_web-1_uid-web-1", container="web")
        assert following.stdout.readline() == "line 5\n"


def test_kubectl_watches_changes_and_takes_up_what_was_cut(kube):
    columns = "custom-columns=:.type,:.object.metadata.name,:.object.metadata.labels.step"
    command = kube.command("get", "pods", "-n", "shop", "-l", "app=cart", "-w", "--output-watch-events", "-o", columns)
    pod = lambda label, step: json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart", "namespace": "shop", "labels": {"app": label, "step": step}}})
    with started(command, kube) as watching:
        live.eventually("the watch begins", lambda: any(one["verb"] == "watch" for one in kube.requests("admin")))
        for label, step in [("cart", "one"), ("cart", "two"), ("other", "three")]:
            kube.apply(pod(label, step))
        told = []
        while len(told) < 3:
            told += [line.split() for line in [watching.stdout.readline()] if line.strip()]
        assert told == [["ADDED", "cart", "one"], ["MODIFIED", "cart", "two"], ["DELETED", "cart", "two"]]
        kube.order("watches/cut")
        assert watching.wait(timeout=30) is not None, "kubectl ends with its watch"


def watch(kube, query, lines):
    """The first events of a watch."""
    path = f"/api/v1/namespaces?watch=1&{query}"
    request = live.urllib.request.Request(kube.url + path, headers={"Authorization": "Bearer admin-token", "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"})
    with live.urllib.request.urlopen(request, timeout=30, context=kube.context) as answer:
        return [json.loads(answer.readline()) for _ in range(lines)]


def test_watches_bring_bookmarks_first_lists_and_410(kube):
    begun = watch(kube, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dshop", 3)
    assert [one["type"] for one in begun] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    assert begun[0]["object"]["kind"] == "PartialObjectMetadata" and "spec" not in begun[0]["object"]
    assert begun[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    version = begun[2]["object"]["metadata"]["resourceVersion"]
    kube.order("history/forget")
    (gone,) = watch(kube, f"resourceVersion={version}", 1)
    assert gone["type"] == "ERROR" and (gone["object"]["code"], gone["object"]["reason"]) == (410, "Expired")


def test_a_list_that_is_under_way_ends_with_410_once_history_is_forgotten(kube):
    _, text = kube.ask("/api/v1/namespaces?limit=1", "admin")
    token = json.loads(text)["metadata"]["continue"]
    assert kube.ask(f"/api/v1/namespaces?limit=1&continue={token}", "admin")[0] == 200
    kube.order("history/forget")
    assert kube.ask(f"/api/v1/namespaces?limit=1&continue={token}", "admin")[0] == 410


def test_leases_are_taken_by_one(kube, tmp_path):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader", "namespace": "shop"}, "spec": {"holderIdentity": "a"}}
    path = tmp_path / "lease.json"
    path.write_text(json.dumps(lease))
    ok(kube.kubectl("create", "--validate=false", "-f", path))
    assert "already exists" in refused(kube.kubectl("create", "--validate=false", "-f", path))
    held = json.loads(ok(kube.kubectl("get", "lease", "-n", "shop", "leader", "-o", "json")))
    held["spec"]["holderIdentity"] = "b"
    put = lambda: kube.ask("/apis/coordination.k8s.io/v1/namespaces/shop/leases/leader", "admin", method="PUT", data=json.dumps(held).encode(), headers={"Content-Type": "application/json"})
    assert put()[0] == 200
    status, text = put()
    assert status == 409 and json.loads(text)["reason"] == "Conflict"
    ok(kube.kubectl("delete", "lease", "-n", "shop", "leader", "--wait=false"))
    assert kube.ask("/apis/coordination.k8s.io/v1/namespaces/shop/leases/leader", "admin")[0] == 404


def test_faults_are_there_until_they_are_cleared(kube):
    kube.fault(resource="pods", verb="list", status=429, retry_after=1, times=1)
    assert "pod/web-1" in ok(kube.kubectl("get", "pods", "-n", "shop", "-o", "name")), "kubectl waits and asks again"
    kube.fault(resource="selfsubjectaccessreviews", status=500)
    assert "fakekube was told to answer 500" in refused(kube.kubectl("auth", "can-i", "get", "pods"))
    kube.order("faults", method="DELETE")
    assert ok(kube.kubectl("auth", "can-i", "get", "pods")) == "yes"
    kube.fault(path="/version", delay_milliseconds=1500)
    before = live.time.monotonic()
    assert kube.ask("/version", "ann")[0] == 200 and live.time.monotonic() - before >= 1.5
    kube.order("faults", method="DELETE")


class Backend(http.server.BaseHTTPRequestHandler):
    """Tells what it was asked, and echoes a line after an upgrade."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if "Upgrade" in self.headers:
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.wfile.write(b"echo " + self.rfile.readline())
            self.close_connection = True
            return
        certificate = self.connection.getpeercert() if hasattr(self.connection, "getpeercert") else None
        names = dict(pair for part in certificate["subject"] for pair in part) if certificate else {}
        told = {"path": self.path, "headers": sorted([name.lower(), value] for name, value in self.headers.items()), "certificate": names.get("commonName")}
        if self.path.startswith("/apis/logs.tailwater.io/v1") and self.path.count("/") == 3:
            told = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "logs.tailwater.io/v1", "resources": [{"name": "pods", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]}]}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def service(name, port):
    return f"""
{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: monitoring}}, spec: {{ports: [{{name: main, port: 443}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: monitoring, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: main, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""


def backend(stack, kube, tls):
    """A server behind a Service; with TLS it insists on the front proxy's certificate. Its Service, as YAML."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    if tls:
        issued = kube.order("certificates", data=json.dumps({"signer": "cluster", "common_name": "backend", "names": ["backend.monitoring.svc"]}))
        (kube.state / "backend.pem").write_text(issued["certificate"] + issued["key"])
        trusted = json.loads(ok(kube.kubectl("get", "cm", "-n", "kube-system", "extension-apiserver-authentication", "-o", "json")))["data"]
        context = live.urllib.request.ssl.create_default_context(live.urllib.request.ssl.Purpose.CLIENT_AUTH, cadata=trusted["requestheader-client-ca-file"])
        context.load_cert_chain(kube.state / "backend.pem")
        context.verify_mode = live.urllib.request.ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return service("backend" if tls else "plain", server.server_port)


@pytest.fixture(scope="module")
def aggregated(kube):
    kube.apply(backend(kube.stack, kube, tls=True))
    bundle = base64.b64encode((kube.state / "ca.crt").read_bytes()).decode()
    spec = f"{{group: logs.tailwater.io, version: v1, groupPriorityMinimum: 1000, versionPriority: 15, caBundle: {bundle}, service: {{name: backend, namespace: monitoring}}}}"
    kube.apply(f"{{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {{name: v1.logs.tailwater.io}}, spec: {spec}}}")
    kube.apply("""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: api-access}
rules: [{apiGroups: [logs.tailwater.io], resources: [pods, pods/log, loki/v1], verbs: [get, list, watch, create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: api-access, namespace: shop}
roleRef: {kind: ClusterRole, name: api-access}
subjects: [{kind: User, name: ann}]
""")
    return kube


def test_the_aggregation_layer_names_the_user_and_nothing_that_the_client_says_of_itself(aggregated):
    assert "pods.logs.tailwater.io" in ok(aggregated.kubectl("api-resources", "--api-group", "logs.tailwater.io", "-o", "name"))
    path = "/apis/logs.tailwater.io/v1/namespaces/shop/loki/api/v1/query_range"
    status, text = aggregated.ask(f"{path}?query=%7Bapp%3D%22a%20b%22%7D&limit=5", "ann", headers={"X-Remote-User": "admin", "X-Remote-Group": "system:masters", "X-Remote-Extra-Scopes": "all"})
    told = json.loads(text)
    assert status == 200 and told["certificate"] == "front-proxy-client"
    assert told["path"] == f"{path}?limit=5&query=%7Bapp%3D%22a+b%22%7D"
    remote = [tuple(pair) for pair in told["headers"] if pair[0].startswith("x-remote")]
    assert remote == [("x-remote-extra-scopes", "read"), ("x-remote-group", "shop-team"), ("x-remote-group", "system:authenticated"), ("x-remote-uid", "ann-uid"), ("x-remote-user", "ann")]
    assert "authorization" not in dict(told["headers"]) and dict(told["headers"])["x-forwarded-uri"] == path
    refusal = 'User "ann" cannot get resource "loki/v1" in API group "logs.tailwater.io" in the namespace "bank"'
    assert refusal in refused(aggregated.kubectl("get", "--raw", path.replace("/shop/", "/bank/"), user="ann"))
    # An encoded slash is one, for who asks and for who is asked.
    status, text = aggregated.ask(path.replace("/shop/", "/shop%2f"), "ann")
    assert status == 200 and json.loads(text)["path"] == path


def test_the_aggregation_layer_hands_websockets_on(aggregated):
    host, port = aggregated.url.removeprefix("https://").split(":")
    with live.socket.create_connection((host, int(port)), timeout=30) as plain, aggregated.context.wrap_socket(plain, server_hostname=host) as connection:
        head = ["GET /apis/logs.tailwater.io/v1/namespaces/shop/loki/api/v1/tail?query=x HTTP/1.1", f"Host: {host}", "Authorization: Bearer ann-token", "Connection: Upgrade", "Upgrade: websocket", "", ""]
        connection.sendall("\r\n".join(head).encode())
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        connection.sendall(b"hello\n")
        while b"echo hello" not in answer:
            part = connection.recv(4096)
            assert part, answer
            answer += part


def test_a_rotated_front_proxy_is_refused_by_who_has_not_seen_it_and_told_to_who_looks(aggregated):
    path = "/apis/logs.tailwater.io/v1/namespaces/shop/loki/api/v1/labels"
    assert aggregated.ask(path, "ann")[0] == 200
    aggregated.order("front-proxy/rotate")
    status, text = aggregated.ask(path, "ann")
    assert status == 503, text
    aggregated.apply(backend(aggregated.stack, aggregated, tls=True))
    assert aggregated.ask(path, "ann")[0] == 200


def test_the_service_proxy_hands_on_no_identity(kube):
    kube.apply(backend(kube.stack, kube, tls=False))
    path = "/api/v1/namespaces/monitoring/services/plain:main/proxy/loki/api/v1/labels?a=b%20c"
    assert json.loads(ok(kube.kubectl("get", "--raw", path)))["path"] == "/loki/api/v1/labels?a=b+c", "kubectl writes the query itself"
    told = json.loads(kube.ask(path, "admin")[1])
    assert told["path"] == "/loki/api/v1/labels?a=b%20c" and "authorization" not in dict(told["headers"])
    assert kube.ask(path, "ann")[0] == 403
    assert kube.ask(path.replace("plain", "gone"), "admin")[0] == 404


def test_a_namespace_takes_its_objects_along(kube):
    kube.apply("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: brief}}")
    uid = ok(kube.kubectl("get", "ns", "brief", "-o", "jsonpath={.metadata.uid}"))
    ok(kube.kubectl("delete", "ns", "brief", "--wait=false"))
    assert kube.ask("/api/v1/namespaces/brief/pods/p", "admin")[0] == 404
    kube.apply("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: brief}}")
    assert ok(kube.kubectl("get", "ns", "brief", "-o", "jsonpath={.metadata.uid}")) != uid


def test_requests_are_remembered_with_what_they_asked(kube):
    kube.order("requests", method="DELETE")
    ok(kube.kubectl("get", "pods", "-n", "shop", user="ann"))
    told = {(one["verb"], one["resource"], one["namespace"], one["status"]) for one in kube.requests("ann") if one["resource"]}
    assert told == {("list", "pods", "shop", 200)}
    assert os.path.exists(kube.kubeconfig("ann"))
