"""What the rendered gateway does with requests: a recording server stands behind it, so that what arrives there can be looked at."""

import contextlib
import gzip
import json
import re
import socket
import threading
import time

import pytest

import chart
import front
import live


class Recorder(front.Canned):
    """Answers what it is told to; `statuses` are taken one after the other, the last one again and again."""

    def __init__(self, *statuses):
        self.statuses, self.connections, self.lock = list(statuses or (200,)), set(), threading.Lock()
        super().__init__(self.answer)

    def answer(self, method, path, headers):
        with self.lock:
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return status, {"Content-Type": "text/plain"}, "" if status == 204 else f"{status} of {path}"

    def paths(self):
        return [path for _, path, _, _ in self.seen]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The gateway of the default values before a recorder."""
    with live.Stack(tmp_path_factory.mktemp("gateway")) as stack, Recorder() as behind:
        stack.behind, stack.url = behind, stack.gateway([behind.url])
        yield stack


# Every path that Loki's clients know, and those of our own.
PASSED = """
/loki/api/v1/push /api/prom/push /otlp/v1/logs
/loki/api/v1/query /loki/api/v1/query_range /loki/api/v1/labels /loki/api/v1/label /loki/api/v1/label/app/values /loki/api/v1/series /loki/api/v1/tail
/loki/api/v1/index/stats /loki/api/v1/index/volume /loki/api/v1/index/volume_range /loki/api/v1/index/shards /loki/api/v1/patterns /loki/api/v1/format_query
/loki/api/v1/detected_labels /loki/api/v1/detected_fields /loki/api/v1/detected_field/level/values /loki/api/v1/drilldown-limits /loki/api/v1/status/buildinfo
/api/prom/query /api/prom/label /api/prom/label/app/values /api/prom/series /api/prom/tail
/loki/api/v1/rules /loki/api/v1/rules/shop/group /api/prom/rules /api/prom/rules/shop /prometheus/api/v1/rules /prometheus/api/v1/alerts
/loki/api/v1/delete /loki/api/v1/cache/generation_numbers /compactor/ring /ring /memberlist /ready /services
/ui/ /ui/assets/index.js /tailwater/v1/status /tailwater/v1/sql
""".split()
# What only operators may reach, inside the cluster.
ADMIN = ["/flush", "/config", "/metrics", "/log_level", "/ingester/flush_shutdown", "/ingester/shutdown", "/ingester/prepare_shutdown"]
CLOSED = ["/internal/authz", "/live", "/loki", "/loki/api/v2/query", "/loki/api/v1push", "/api/v1/query", "/prometheus/api/v1/query", "/ringx", "/debug/pprof", "/x/%2e%2e/config", "/loki/api/v1/../../../config"]


@pytest.mark.parametrize("path", PASSED)
def test_paths_that_clients_know_are_passed_on_unchanged(scene, path):
    asked = f"{path}?query=%7Bapp%3D%22a%2Fb%22%7D&start=1"
    assert live.ask(f"{scene.url}{asked}") == (200, f"200 of {asked}")


@pytest.mark.parametrize("path", ADMIN + CLOSED)
def test_all_else_is_not_found(scene, path):
    before = len(scene.behind.seen)
    host, port = scene.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        # Written by hand: clients tidy paths up.
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 404") and received.endswith(b"404 page not found\n"), received
    assert len(scene.behind.seen) == before


def test_health_is_the_gateways_own(scene):
    before = len(scene.behind.seen)
    assert live.ask(f"{scene.url}/") == (200, "OK\n") and len(scene.behind.seen) == before


def test_operators_paths_are_opened_by_a_value(tmp_path):
    with live.Stack(tmp_path) as stack, Recorder() as behind:
        gateway = stack.gateway([behind.url], values="admin")
        for path in ADMIN:
            assert live.ask(f"{gateway}{path}")[0] == 200, path
        assert sorted(behind.paths()) == sorted(ADMIN)


def push(url, body=b"a batch", headers=None):
    return live.ask(f"{url}/loki/api/v1/push", data=body, headers={"Content-Type": "application/x-protobuf", **(headers or {})})


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A gateway before two replicas, whose answers tests choose."""
    with live.Stack(tmp_path_factory.mktemp("pair")) as stack, Recorder() as first, Recorder() as second:
        stack.replicas, stack.url = (first, second), stack.gateway([first.url, second.url])
        yield stack


def tried(pair, first, second, ask):
    """What a client is answered, and the requests that reached each replica."""
    for replica, statuses in zip(pair.replicas, (first, second)):
        replica.seen.clear()
        replica.statuses = list(statuses)
    answer = ask()
    return answer[0], [request for replica in pair.replicas for request in replica.seen]


@pytest.mark.parametrize("refused, arrivals", [(502, 2), (503, 2), (429, 1), (500, 1), (400, 1), (504, 1)])
def test_a_push_goes_out_once_more_where_that_may_help(pair, refused, arrivals):
    """Both replicas refuse: so often it was tried, each time with the same bytes; what the last one says is the answer."""
    body = bytes(range(256)) * 4096
    status, requests = tried(pair, [refused], [refused], lambda: push(pair.url, body))
    assert status == refused and len(requests) == arrivals and {body for *_, body in requests} == {body}


def test_a_push_that_one_replica_refuses_is_stored_by_the_other(pair):
    for first, second in (([503], [204]), ([204], [503])):
        statuses = [tried(pair, first, second, lambda: push(pair.url))[0] for _ in range(4)]
        assert statuses == [204] * 4


def test_a_question_is_asked_once_more_too(pair):
    ask = lambda: live.ask(f"{pair.url}/loki/api/v1/query_range", data=b"query=%7B%7D", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert tried(pair, [503], [200], ask)[0] == tried(pair, [200], [503], ask)[0] == 200
    status, requests = tried(pair, [500], [500], ask)
    assert status == 500 and len(requests) == 1


def test_a_batch_stays_in_memory(scene):
    body = b"x" * (15 * 1024 * 1024)
    assert push(scene.url, body)[0] == 200 and scene.behind.seen[-1][3] == body
    assert "temporary file" not in scene.log("gateway")
    # nginx writes no more than what it was told: the limit is the buffer.
    text = (scene.folder / "gateway/nginx.conf").read_text()
    assert re.findall(r"client_(?:max_body|body_buffer)_size (\w+);", text) == ["16m", "16m"]


@pytest.mark.parametrize("path", ["/loki/api/v1/push", "/api/prom/push", "/otlp/v1/logs", "/loki/api/v1/query"])
def test_a_body_over_the_limit_is_refused_in_lokis_words(scene, path):
    before = len(scene.behind.seen)
    status, text = live.ask(f"{scene.url}{path}", data=b"x" * (16 * 1024 * 1024 + 1), headers={"Content-Type": "application/x-protobuf"})
    assert status == 413 and text.startswith("request body too large") and len(scene.behind.seen) == before


def test_connections_are_used_again(tmp_path):
    opened = []

    class Counting(Recorder):
        def answer(self, method, path, headers):
            opened.append(threading.get_ident())
            return super().answer(method, path, headers)

    with live.Stack(tmp_path) as stack, Counting(204) as behind:
        gateway = stack.gateway([behind.url])
        for _ in range(60):
            assert push(gateway)[0] == 204
        # A thread is a connection here. Two workers, two names of the Service.
        assert len(opened) >= 60 and len(set(opened)) <= 4, len(set(opened))
        assert behind.seen[-1][2].get("Connection") is None


def test_what_a_client_says_of_itself_ends_here(scene):
    push(scene.url, headers={"X-Tailwater-Access": "v1.made-up", "X-Scope-OrgID": "shop", "X-Forwarded-For": "10.0.0.1"})
    headers = {name.lower(): value for name, value in scene.behind.seen[-1][2].items()}
    assert "x-tailwater-access" not in headers
    # Without authentication a tenant is taken at their word, as by Loki's gateway.
    assert headers["x-scope-orgid"] == "shop" and headers["x-forwarded-for"].startswith("10.0.0.1, ") and headers["host"] == scene.url.removeprefix("http://")


# Ways to bring a header past what clears it, and a request past what looks at its path.
SMUGGLED = [
    "X-Tailwater-Access: v1.a\r\nX-Tailwater-Access: v1.b\r\n\r\n",
    "X_Tailwater_Access: v1.a\r\n\r\n",
    "X-Tailwater-Access : v1.a\r\n\r\n",
    "X-Other: a\r\n X-Tailwater-Access: v1.a\r\n\r\n",
    "X-Other: a\nX-Tailwater-Access: v1.a\r\n\r\n",
    "Connection: X-Tailwater-Access\r\nX-Tailwater-Access: v1.a\r\n\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /config HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /config HTTP/1.1\r\nHost: gateway\r\n\r\n",
]


@pytest.mark.parametrize("rest", SMUGGLED, ids=lambda rest: rest.split("\r\n\r\n")[0])
def test_nothing_is_smuggled_past_the_gateway(scene, rest):
    before = len(scene.behind.seen)
    host, port = scene.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"POST /loki/api/v1/query HTTP/1.1\r\nHost: gateway\r\n{rest}".encode())
        received = connection.recv(65536)
        # A second answer, to a request that should be none, would come at once.
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            received += connection.recv(65536)
    arrived = scene.behind.seen[before:]
    assert received.startswith(b"HTTP/1.1 ") and received.count(b"HTTP/1.1 ") == 1 and len(arrived) <= 1 and "/config" not in [path for _, path, _, _ in arrived]
    assert not [name for _, _, headers, _ in arrived for name in headers if name.lower().replace("_", "-") == "x-tailwater-access"], arrived


def test_only_what_failed_is_logged(scene, tmp_path):
    marked = "/loki/api/v1/labels?logged=no"
    live.ask(f"{scene.url}{marked}")
    live.ask(f"{scene.url}/nowhere-to-be-logged")
    live.eventually("the failed one is logged", lambda: "/nowhere-to-be-logged" in scene.log("gateway"))
    assert "logged=no" not in scene.log("gateway")
    with live.Stack(tmp_path) as stack, Recorder() as behind:
        gateway = stack.gateway([behind.url], values="gateway-all")
        live.ask(f"{gateway}/")
        live.eventually("each is logged", lambda: '"GET / HTTP/1.1"' in stack.log("gateway"))


def test_times_and_folders_are_those_that_were_agreed():
    text = chart.find("default", "ConfigMap", "tailwater-gateway")["data"]["nginx.conf"]
    locations = dict(re.findall(r"location ([^{]+?) \{(.*?)\n        \}", text, re.DOTALL))
    (write,) = [body for name, body in locations.items() if "otlp" in name]
    (follow,) = [body for name, body in locations.items() if "tail$" in name]
    # Above `ack_timeout`, not above what agents wait.
    assert "proxy_read_timeout 30s;" in write and "proxy_next_upstream_timeout 5s;" in write and "proxy_read_timeout 1h;" in follow
    assert "keepalive 64;" in text and "keepalive_time 60s;" in text and "proxy_next_upstream_tries 2;" in text
    assert {path.split("/")[1] for path in re.findall(r"_temp_path (\S+);", text)} == {"tmp"} and "pid /tmp/" in text
    for value, is_there in (("true", True), ("false", False)):
        outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=["--set", f"gateway.nginxConfig.enableIPv6={value}", "--show-only", "templates/gateway/configmap.yaml"])
        assert ("listen [::]:8080" in outcome.stdout) is is_there


def test_a_tail_outlives_proxies_that_cut_idle_connections(stack, tmp_path):
    """A tunnel cuts what is silent for 100 s; scaled down to 3 s, before a stage that buffers. The server pings each second, so nothing is ever silent."""
    with live.Stack(tmp_path) as outer:
        upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;"
        buffering = front.Proxy(outer, "buffering", stack.gateway_url, inside=f"{upgrade} proxy_buffering on; proxy_buffers 16 64k; proxy_read_timeout 3s;")
        cutting = front.Proxy(outer, "cutting", buffering.url, inside=f"{upgrade} proxy_read_timeout 3s; proxy_send_timeout 3s;")
        with socket.create_connection(("127.0.0.1", cutting.port), timeout=30) as connection:
            path = "/loki/api/v1/tail?" + live.urllib.parse.urlencode({"query": '{job="tunnel"}'})
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: logs.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n".encode())
            received = connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 101"), received
            until = time.monotonic() + 5
            while time.monotonic() < until:
                part = connection.recv(65536)
                assert part, "the connection was cut"
                received += part
            assert live.push(stack.gateway_url, ["behind the tunnel"], {"job": "tunnel"})[0] == 204
            deadline = time.monotonic() + live.PATIENCE
            while b"behind the tunnel" not in received:
                assert time.monotonic() < deadline, received
                part = connection.recv(65536)
                assert part, "the connection was cut"
                received += part


def test_answers_are_compressed_through_proxies(stack, tmp_path):
    with live.Stack(tmp_path) as outer:
        proxy = front.Proxy(outer, "tunnel", stack.gateway_url)
        request = live.urllib.request.Request(f"{proxy.url}/loki/api/v1/query_range?query=%7Bnamespace%3D%22default%22%7D&since=1h", headers={"Accept-Encoding": "gzip"})
        with live.urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert json.loads(gzip.decompress(answer.read()))["status"] == "success"


def stores_what_one_refuses(stack, url, replicas):
    for replica, status in zip(replicas, (503, 204)):
        replica.statuses = [status]
    return [push(url)[0] for _ in range(4)] == [204] * 4


def keeps_batches_in_memory(stack, url, replicas):
    push(url, b"x" * (8 * 1024 * 1024))
    return "temporary file" not in stack.log("gateway")


def uses_connections_again(stack, url, replicas):
    push(url)
    return not any(headers.get("Connection") for replica in replicas for _, _, headers, _ in replica.seen)


def drops_what_clients_say(stack, url, replicas):
    push(url, headers={"X-Tailwater-Access": "v1.made-up"})
    return not any("X-Tailwater-Access" in headers for replica in replicas for _, _, headers, _ in replica.seen)


PLANTED = [
    (stores_what_one_refuses, "proxy_next_upstream error timeout http_502 http_503 non_idempotent;", "proxy_next_upstream off;"),
    (keeps_batches_in_memory, "client_body_buffer_size 16m;", "client_body_buffer_size 1m;"),
    (uses_connections_again, 'proxy_set_header Connection "";', "proxy_set_header Connection close;"),
    (drops_what_clients_say, 'proxy_set_header X-Tailwater-Access "";', ""),
]


@pytest.mark.parametrize("check, text, fault", PLANTED, ids=[check.__name__ for check, _, _ in PLANTED])
def test_planted_faults_are_noticed(check, text, fault, tmp_path):
    """The same question to the gateway as it is and to one with a fault."""
    for number, (planted, expected) in enumerate(((None, True), ((text, fault), False))):
        with live.Stack(tmp_path / str(number)) as stack, Recorder(204) as first, Recorder(204) as second:
            stack.folder.mkdir()
            url = stack.gateway([first.url, second.url], planted=planted)
            assert check(stack, url, (first, second)) is expected
