"""What the chart renders, run: programs, gateway, Prometheus and Alertmanager on loopback."""

import base64
import http.server
import json
import os
import re
import socket
import ssl
import threading
import time

import pytest
import yaml

import chart
import live
import metric_names
import metrics_table
import programs
from test_monitoring import ALERTS, DASHBOARDS, GROUPS, generator

SPEED = {"scrape_interval": "1s", "evaluation_interval": "1s"}


def test_lines_of_pods_travel_through_agent_gateway_and_aggregator(stack):
    status, answer = live.query(stack.gateway_url, '{namespace="default", pod="shop-0", container="shop"} |= "till"', path="query_range", since="1h")
    assert status == 200
    (found,) = answer["data"]["result"]
    assert [line for _, line in found["values"]] == ["level=error the till is stuck"]
    assert found["stream"]["node_name"] == "node-a"


def test_the_helm_test_finds_its_own_line(stack):
    """The hook's command, as it is rendered."""
    container = chart.find("default", "Pod", "tailwater-test")["spec"]["containers"][0]
    environment = programs.clean_environment(GATEWAY=stack.gateway_url, TENANT="fake")
    outcome = chart.run(container["command"], env=environment)
    assert outcome.returncode == 0 and "stored and found" in outcome.stdout, outcome.stdout + outcome.stderr
    environment["GATEWAY"] = "http://127.0.0.1:1"
    assert chart.run(container["command"], env=environment).returncode != 0


ROUTES = [
    ("/", 200), ("/ready", 200), ("/services", 200), ("/loki/api/v1/labels", 200), ("/loki/api/v1/status/buildinfo", 200), ("/api/prom/label", 200),
    ("/metrics", 404), ("/config", 404), ("/log_level", 404), ("/flush", 404), ("/ingester/shutdown", 404), ("/internal/authz", 404), ("/anything", 404),
]


@pytest.mark.parametrize("path, status", ROUTES)
def test_routes_of_the_gateway(stack, path, status):
    assert live.ask(f"{stack.gateway_url}{path}")[0] == status


def test_a_body_over_the_limit_is_refused_in_lokis_words(stack):
    status, text = live.ask(f"{stack.gateway_url}/loki/api/v1/push", data=b"x" * (16 * 1024 * 1024 + 1), headers={"Content-Type": "application/x-protobuf"})
    assert status == 413 and "request body too large" in text


def test_lines_are_followed_through_the_gateway(stack):
    """A WebSocket: the upgrade, then a line that is pushed while it is open, and still open after seconds without one."""
    host, port = stack.gateway_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        path = "/loki/api/v1/tail?" + live.urllib.parse.urlencode({"query": '{job="followed"}'})
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n".encode())
        received = connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 101"), received
        for line in (b"the first line", b"the second line"):
            time.sleep(2 if line == b"the second line" else 0)
            assert live.push(stack.gateway_url, [line.decode()], {"job": "followed"})[0] == 204
            deadline = time.monotonic() + live.PATIENCE
            while line not in received:
                assert time.monotonic() < deadline, received
                received += connection.recv(65536)


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_basic_authentication_makes_the_user_the_tenant(tmp_path):
    with live.Stack(tmp_path) as stack:
        flags = [f"--storage-filesystem-path={tmp_path / 'store'}", "--storage-type=filesystem"]
        aggregator = stack.aggregator(values="basic-auth", flags=flags)
        gateway = stack.gateway([aggregator], values="basic-auth")
        shop = basic("shop", "secret")
        assert live.push(gateway, ["a"])[0] == 401
        assert live.push(gateway, ["a"], headers=basic("shop", "wrong"))[0] == 401
        assert live.push(gateway, ["a"], headers={"X-Scope-OrgID": "shop"})[0] == 401
        # The client's own word for its tenant ends at the gateway.
        assert live.push(gateway, ["a line"], headers={**shop, "X-Scope-OrgID": "other"})[0] == 204
        assert live.count(aggregator, '{job="test"}', {"X-Scope-OrgID": "shop"}) == 1
        assert live.count(aggregator, '{job="test"}', {"X-Scope-OrgID": "other"}) == 0
        assert live.count(gateway, '{job="test"}', shop) == 1
        assert live.ask(f"{gateway}/")[0] == 200
        assert live.ask(f"{gateway}/loki/api/v1/labels")[0] == 401


def spoken(url, version):
    """Whether a version of TLS is spoken there; our own side would speak any."""
    host = url.partition("://")[2]
    return chart.run(["openssl", "s_client", "-connect", host, version, "-cipher", "ALL:@SECLEVEL=0"], input="").returncode == 0


def test_a_push_needs_the_certificate_of_a_client(tmp_path):
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with live.Stack(tmp_path) as stack:
        flags = [f"--storage-filesystem-path={tmp_path / 'store'}", "--storage-type=filesystem"]
        aggregator = stack.aggregator(values="mtls", flags=flags)
        gateway = stack.gateway([aggregator], values="mtls", scheme="https", context=trusting)
        assert live.ask(gateway.replace("https", "http"))[0] == 400, "nothing is answered in the clear"
        assert spoken(gateway, "-tls1_2") and spoken(gateway, "-tls1_3") and not spoken(gateway, "-tls1_1")
        status, text = live.push(gateway, ["a"], context=trusting)
        assert status == 403 and "certificate" in text
        assert live.query(gateway, "vector(1)", context=trusting)[0] == 200
        known = ssl.create_default_context()
        known.check_hostname, known.verify_mode = False, ssl.CERT_NONE
        certificates = tmp_path / "gateway/certificates"
        known.load_cert_chain(certificates / "tls-tls.crt", certificates / "tls-tls.key")
        assert live.push(gateway, ["a"], context=known)[0] == 204
        foreign = tmp_path / "foreign"
        made = chart.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=other", "-keyout", f"{foreign}.key", "-out", f"{foreign}.crt"])
        assert made.returncode == 0
        wrong = ssl.create_default_context()
        wrong.check_hostname, wrong.verify_mode = False, ssl.CERT_NONE
        wrong.load_cert_chain(f"{foreign}.crt", f"{foreign}.key")
        assert live.push(gateway, ["a"], context=wrong)[0] in (400, 403)
        assert live.count(aggregator, '{job="test"}') == 1


class Authority:
    """Signs certificates, by openssl."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.made("req", "-x509", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
        self.text = (folder / f"{name}.crt").read_text()

    def issue(self, subject, names, days=1):
        """(certificate, key), both as PEM. One of 0 days is over as soon as it is made."""
        key, request, signed, extensions = (self.folder / f"{self.name}-{subject}.{suffix}" for suffix in ("key", "csr", "crt", "txt"))
        self.made("req", *NEW_KEY, "-subj", f"/CN={subject}", "-keyout", key, "-out", request)
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        self.made("x509", "-req", "-in", request, "-CA", self.folder / f"{self.name}.crt", "-CAkey", self.folder / f"{self.name}.key", "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", signed)
        return signed.read_text(), key.read_text()

    @staticmethod
    def made(*arguments):
        outcome = chart.run(["openssl", *arguments])
        assert outcome.returncode == 0, outcome.stderr


NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
# What the certificate of the aggregators has to name, and this machine.
AGGREGATOR_NAMES = ["DNS:tailwater-aggregator.monitoring.svc", "IP:127.0.0.1"]


def written(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def serial_of(url):
    """The number of the certificate that is shown."""
    host, port = url.partition("://")[2].split(":")
    return chart.run(["openssl", "x509", "-noout", "-serial"], input=ssl.get_server_certificate((host, int(port)))).stdout


def test_every_way_has_certificates_on_both_ends(tmp_path):
    """The gateway knows the aggregator by the authority and shows its own certificate; without either nothing is passed on. What is renewed needs no restart."""
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    certificate, key = ours.issue("aggregator", AGGREGATOR_NAMES)
    secret = written(tmp_path / "aggregator-tls", tls_crt=certificate, tls_key=key, ca_crt=ours.text)
    trusting = ssl.create_default_context(cafile=tmp_path / "ours.crt")
    certificate, key = ours.issue("client", ["DNS:client"])
    trusting.load_cert_chain(tmp_path / "ours-client.crt", tmp_path / "ours-client.key")
    shown = dict(zip(("aggregator-client-tls.crt", "aggregator-client-tls.key"), ours.issue("gateway", ["DNS:gateway"])))
    served = dict(zip(("tls-tls.crt", "tls-tls.key"), ours.issue("front", ["IP:127.0.0.1"])))
    with live.Stack(tmp_path) as stack:
        flags = [f"--storage-filesystem-path={tmp_path / 'store'}", "--storage-type=filesystem"]
        aggregator = stack.aggregator(values="tls-inside", flags=flags, replaced=[("/etc/tailwater-tls", str(secret))], scheme="https", context=trusting)
        common = {**served, "client-ca-ca.crt": ours.text, "aggregator-ca.crt": ours.text, **shown}
        gateways = {
            name: stack.gateway([aggregator], values="tls-inside", name=name, scheme="https", certificates={**common, **other}, context=trusting)
            for name, other in {
                "gateway": {},
                "misled": {"aggregator-ca.crt": others.text},
                "unknown": dict(zip(shown, others.issue("gateway", ["DNS:gateway"]))),
            }.items()
        }
        gateway = gateways["gateway"]
        assert live.push(gateway, ["a line"], context=trusting)[0] == 204
        status, answer = live.query(gateway, 'sum(count_over_time({job="test"}[1h]))', context=trusting)
        assert status == 200 and answer["data"]["result"][0]["value"][1] == "1"
        assert live.push(gateways["misled"], ["a line"], context=trusting)[0] == 502, "another authority's aggregator"
        assert live.push(gateways["unknown"], ["a line"], context=trusting)[0] in (400, 502), "a gateway of another authority"
        bare = ssl.create_default_context(cafile=tmp_path / "ours.crt")
        assert live.ask(f"{aggregator}/ready", context=bare)[0] == 200 and live.ask(f"{aggregator}/metrics", context=bare)[0] == 200
        assert live.query(aggregator, "vector(1)", context=bare)[0] == 403 and live.push(aggregator, ["x"], context=bare)[0] == 403
        before = serial_of(gateway), serial_of(aggregator)
        pusher = live.Pusher(gateway, {"job": "rotated"}, trusting)
        pusher.start()
        live.eventually("pushes are stored by the first certificates", lambda: len(pusher.answers) > 5)
        certificate, key = ours.issue("front", ["IP:127.0.0.1"])
        written(tmp_path / "gateway/certificates", **{"tls-tls_crt": certificate, "tls-tls_key": key})
        certificate, key = ours.issue("aggregator", AGGREGATOR_NAMES)
        written(secret, tls_crt=certificate, tls_key=key)
        after = serial_of(gateway), serial_of(aggregator)
        assert before[0] != after[0] and before[1] != after[1], (before, after)
        # A handshake that begins between a new certificate and its key fails, and is tried again by senders; not one that begins later.
        pushed = len(pusher.answers) + 1
        live.eventually("pushes go on", lambda: len(pusher.answers) > pushed + 5)
        assert pusher.end() <= {204, 0, 502} and set(pusher.answers[pushed:]) == {204}, pusher.answers


def test_admin_routes_are_open_only_when_asked_for(tmp_path):
    with live.Stack(tmp_path) as stack:
        flags = [f"--storage-filesystem-path={tmp_path / 'store'}", "--storage-type=filesystem"]
        gateway = stack.gateway([stack.aggregator(values="gateway-all", flags=flags)], values="gateway-all")
        assert live.ask(f"{gateway}/metrics")[0] == 401
        assert live.ask(f"{gateway}/metrics", headers=basic("shop", "secret"))[0] == 200
        assert live.ask(f"{gateway}/loki/api/v1/push", data=b"x" * (4 * 1024 * 1024 + 1), headers=basic("shop", "secret"))[0] == 413


def test_one_of_two_aggregators_is_killed_and_no_push_is_lost_or_doubled(tmp_path, s3):
    """Two replicas on one bucket behind the gateway; one is killed while batches are pushed. Every acknowledged line is there once."""
    with live.Stack(tmp_path) as stack:
        replicas = [stack.aggregator(name, values="minio", flags=s3.flags, environment=programs.clean_environment(**s3.credentials)) for name in ("a", "b")]
        gateway = stack.gateway(replicas)
        acknowledged, failed = [], 0
        for number in range(60):
            if number == 20:
                stack.stop("a", kill=True)
            batch = [f"line {number}-{part}" for part in range(5)]
            status, _ = live.push(gateway, batch)
            if status == 204:
                acknowledged += batch
            else:
                failed += 1
        assert failed == 0, f"{failed} pushes failed though one replica lived; gateway: {stack.log('gateway')[-1000:]}"
        found = live.eventually("all lines are there", lambda: complete(replicas[1], acknowledged), 30)
        assert sorted(found) == sorted(acknowledged)


def test_replicas_find_each_other_as_rendered(tmp_path, s3):
    """The name of the rendered headless Service stands for the other replica; one that is killed is no replica any more."""
    service = chart.find("ha", "Service", "tailwater-aggregator-headless")
    named = yaml.safe_load(chart.find("ha", "ConfigMap", "tailwater-aggregator")["data"]["aggregator.yaml"])["peers"]["service"]
    assert named == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local" and service["spec"]["clusterIP"] == "None"
    with live.Stack(tmp_path) as stack:
        environment = programs.clean_environment(**s3.credentials)
        common = [*s3.flags, "--storage-prefix=peers"]
        first = stack.aggregator("a", values="minio", flags=common, environment=environment)
        # What the name leads to in a cluster.
        local = [(named, "localhost:" + first.rpartition(":")[2])]
        second = stack.aggregator("b", values="ha", flags=[*common, "--storage-s3-insecure=true", "--storage-s3-force-path-style=true"], environment=environment, replaced=local)

        def peers():
            (line,) = [line for line in live.ask(f"{second}/metrics")[1].splitlines() if line.startswith("tailwater_peers ")]
            return int(float(line.split()[1]))

        live.eventually("the other is seen", lambda: peers() == 2)
        stack.stop("a", kill=True)
        live.eventually("the other is gone", lambda: peers() == 1)


def complete(url, lines):
    status, answer = live.query(url, '{job="test"}', path="query_range", since="1h", limit=5000)
    if status != 200:
        return None
    found = [line for stream in answer["data"]["result"] for _, line in stream["values"]]
    return found if len(found) >= len(lines) else None


# Series that exist only once something has happened that these tests do not make happen.
RARELY = ("tailwater_replaced_bytes_total",)
# Of programs that are not in this stack, and that other tests look at (test_canary.py, test_apiserver.py).
ELSEWHERE = re.compile("tailwater_canary_.*|tailwater_tls_certificate_not_after_seconds")


def scraped(url):
    """Names of the metrics of a program."""
    return {line.split("{")[0].split(" ")[0] for line in live.ask(f"{url}/metrics")[1].splitlines() if line and not line.startswith("#")}


def test_every_metric_that_is_scraped_is_in_the_list_of_the_sources(stack):
    """So the list that alerts and dashboards are held against is not made up."""
    known = metric_names.of_programs()
    names = scraped(stack.aggregator_url) | scraped(stack.agent_url)
    unknown = {name for name in names if name.startswith("tailwater_") and metric_names.base(name) not in known}
    assert len(names) > 40 and not unknown


def test_every_metric_that_is_scraped_is_documented(stack):
    for program, url in (("Aggregator", stack.aggregator_url), ("Agent", stack.agent_url)):
        assert metrics_table.problems(program, live.ask(f"{url}/metrics")[1]) == []
    planted = "# HELP tailwater_planted Planted.\n# TYPE tailwater_planted counter\ntailwater_planted_total 1\n"
    if "TAILWATER_BLESS" not in os.environ:
        assert metrics_table.problems("Agent", planted)


def test_every_metric_that_is_used_is_scraped(stack):
    """But for those that exist only once something has happened."""
    live.push(stack.gateway_url, ["x" * 300_000])
    names = scraped(stack.aggregator_url) | scraped(stack.agent_url)
    expressions = [rule["expr"] for rule in ALERTS.values()] + [one for board in DASHBOARDS.values() for one in generator().expressions(board, "prometheus")]
    used = {name for expression in expressions for name in metric_names.used(expression)} - metric_names.OF_OTHERS
    missing = {name for name in used - names if not ELSEWHERE.fullmatch(name)}
    assert missing <= set(RARELY), sorted(missing)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_logql_of_dashboards(stack, name):
    """Each expression is parsed and answered; those without a search for what is not there find something."""
    for expression in generator().expressions(DASHBOARDS[name], "loki"):
        status, answer = live.query(stack.gateway_url, expression, path="format_query")
        assert status == 200 and answer["status"] == "success", f"{expression}: {answer}"
        status, answer = live.query(stack.gateway_url, expression, path="query_range", since="1h", step="60")
        assert status == 200, f"{expression}: {answer}"
        assert answer["data"]["result"], f"{expression} finds nothing"


def test_planted_logql_is_refused(stack):
    assert live.query(stack.gateway_url, 'sum by (app) (count_over_time({app="x"} [5m])', path="format_query")[0] == 400


class Webhook(http.server.BaseHTTPRequestHandler):
    alerts = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Webhook.alerts += body["alerts"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def observed(stack):
    """Prometheus that scrapes the stack as the rendered monitors say, with the rendered rules, and an Alertmanager behind it. Rules wait for nothing."""
    folder = stack.folder
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    routing = yaml.safe_load((chart.DEPLOY / "prometheus/alertmanager-example.yaml").read_text())
    for receiver in routing["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{hook.server_port}/"}]
    routing["route"].update(group_wait="0s", group_interval="1s")
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(routing))
    alertmanager = live.free_port()
    stack.start("alertmanager", [chart.tool("prometheus-alertmanager"), f"--config.file={folder / 'alertmanager.yaml'}", f"--storage.path={folder / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="])
    groups = json.loads(json.dumps(GROUPS))
    for group in groups:
        for rule in group["rules"]:
            rule["for"] = "0s"
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    config = {"global": SPEED, "rule_files": ["rules.yaml"], "scrape_configs": scrape_configs(stack), "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]}}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    checked = chart.run([chart.tool("promtool"), "check", "config", folder / "prometheus.yaml"])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    prometheus = live.free_port()
    stack.start("prometheus", [chart.tool("prometheus"), f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address=127.0.0.1:{prometheus}"])
    stack.wait_for("prometheus", f"http://127.0.0.1:{prometheus}/-/ready")
    yield f"http://127.0.0.1:{prometheus}"
    hook.shutdown()


def scrape_configs(stack):
    """The rendered monitors as scrape configurations of a Prometheus without the operator."""
    made = []
    for kind, name, endpoints, url in (("ServiceMonitor", "tailwater-aggregator", "endpoints", stack.aggregator_url), ("PodMonitor", "tailwater-agent", "podMetricsEndpoints", stack.agent_url)):
        (endpoint,) = chart.find("default", kind, name)["spec"][endpoints]
        labels = {"__meta_kubernetes_pod_node_name": "node-a", "pod": f"{name}-0", "namespace": "monitoring"}
        relabelings = [{"source_labels": one["sourceLabels"], "target_label": one["targetLabel"]} for one in endpoint["relabelings"]]
        job = name if kind == "ServiceMonitor" else f"monitoring/{name}"
        made.append({"job_name": job, "metrics_path": endpoint["path"], "honor_labels": endpoint["honorLabels"], "static_configs": [{"targets": [url.removeprefix("http://")], "labels": labels}], "relabel_configs": relabelings})
    return made


def instant(prometheus, expression):
    status, text = live.ask(f"{prometheus}/api/v1/query?{live.urllib.parse.urlencode({'query': expression})}")
    assert status == 200, f"{expression}: {text}"
    return json.loads(text)["data"]["result"]


def test_prometheus_scrapes_both_programs(stack, observed):
    up = lambda: {one["metric"]["job"]: (one["value"][1], one["metric"].get("node")) for one in instant(observed, "up")}
    expected = {"tailwater-aggregator": ("1", "node-a"), "monitoring/tailwater-agent": ("1", "node-a")}
    live.eventually("both are up", lambda: up() == expected)
    series = {one["metric"]["job"]: int(one["value"][1]) for one in instant(observed, "sum by (job) (scrape_samples_scraped)")}
    assert 0 < series["monitoring/tailwater-agent"] <= 600 and 0 < series["tailwater-aggregator"] <= 3000


def test_panels_of_dashboards_have_data(stack, observed):
    """All that do not need kube-state-metrics, the kubelet, or something to go wrong."""
    live.push(stack.gateway_url, ["x" * 300_000])
    wanted = []
    for name, board in DASHBOARDS.items():
        for expression in generator().expressions(board, "prometheus"):
            needs_others = metric_names.used(expression) & (metric_names.OF_OTHERS - {"up"})
            is_elsewhere = any(ELSEWHERE.fullmatch(name) for name in metric_names.used(expression))
            if not needs_others and not is_elsewhere and not any(word in expression for word in ('status_code=~"5.."', *RARELY)):
                wanted.append(expression)
    assert len(wanted) > 40
    empty = lambda: [expression for expression in wanted if not instant(observed, expression)]
    try:
        live.eventually("every panel has data", lambda: not empty(), 20)
    except AssertionError:
        assert empty() == []


def test_a_stopped_aggregator_reaches_the_webhook(stack, observed):
    live.eventually("the aggregator is up", lambda: instant(observed, 'up{job="tailwater-aggregator"} == 1'))
    assert not instant(observed, 'ALERTS{alertname="TailwaterAggregatorDown"}')
    Webhook.alerts.clear()
    stack.stop("aggregator", kill=True)
    try:
        seen = lambda: [alert for alert in Webhook.alerts if alert["labels"]["alertname"] == "TailwaterAggregatorDown" and alert["status"] == "firing"]
        (alert, *_) = live.eventually("the alert arrives", seen)
        assert alert["labels"]["severity"] == "critical"
        assert alert["annotations"]["runbook"].endswith("#tailwateraggregatordown")
    finally:
        restart(stack)


def restart(stack):
    """The stack's aggregator again, at the same address and with what it had stored."""
    port = stack.aggregator_url.rsplit(":", 1)[1]
    stack.start("aggregator", [programs.program("tailwater-aggregator"), "serve", "--config", stack.folder / "aggregator.yaml", f"--listen=127.0.0.1:{port}", f"--storage-filesystem-path={stack.folder / 'store'}"])
    stack.wait_for("aggregator", f"{stack.aggregator_url}/ready")
    assert live.count(stack.gateway_url, '{namespace="default"}') >= 51


def test_the_example_routing_is_right():
    outcome = chart.run([chart.tool("amtool"), "check-config", chart.DEPLOY / "prometheus/alertmanager-example.yaml"])
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    for alert, rule in ALERTS.items():
        routed = chart.run([chart.tool("amtool"), "config", "routes", "test", f"--config.file={chart.DEPLOY / 'prometheus/alertmanager-example.yaml'}", f"alertname={alert}", f"severity={rule['labels']['severity']}"])
        assert routed.stdout.strip() == {"critical": "wake-someone", "warning": "tell-the-team"}[rule["labels"]["severity"]]


def test_a_planted_mistake_of_the_routing_is_refused(tmp_path):
    text = (chart.DEPLOY / "prometheus/alertmanager-example.yaml").read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("receiver: wake-someone", "receiver: nobody"))
    assert chart.run([chart.tool("amtool"), "check-config", tmp_path / "wrong.yaml"]).returncode != 0
