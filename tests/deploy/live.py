"""The programs as the chart would run them, on loopback: their rendered configuration, with ports and folders of this machine."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import chart
import programs
from test_configs import localised

# Where the chart mounts the bucket's keys.
S3_KEYS = "/etc/tailwater-s3"
# What a start may take on a busy machine.
PATIENCE = 90
# Ends at once when it is asked to, with its workers, which a killed one would leave behind.
ASKED_TO_END = {"nginx"}


def free_port():
    """A port that nobody has; none of two processes of tests is told what the other is."""
    worker, workers = (int(os.environ.get(f"PYTEST_XDIST_{name}", default).removeprefix("gw")) for name, default in (("WORKER", "gw0"), ("WORKER_COUNT", "1")))
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # The kernel gives odd ports first.
        if port // 2 % workers == worker:
            return port


def ask(url, *, data=None, headers=None, context=None, method=None):
    """(status, text); connection errors are status 0."""
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (urllib.error.URLError, OSError) as error:
        return 0, str(error)


def eventually(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {patience} s")


class Stack(contextlib.ExitStack):
    """Processes and folders of one test; all end with it."""

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.processes = {}

    def start(self, name, arguments, environment=None):
        log = open(self.folder / f"{name}.log", "wb")
        self.callback(log.close)
        # Ends with this process, however that ends.
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, arguments)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment or programs.clean_environment(), cwd=self.folder)
        self.processes[name] = process
        # What a program does at its end is looked at by tests that stop it themselves.
        self.callback(self.stop, name, pathlib.Path(arguments[0]).name not in ASKED_TO_END)
        return process

    def stop(self, name, kill=False):
        process = self.processes.pop(name, None)
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name, url, status=200, **options):
        def condition():
            assert self.processes[name].poll() is None, f"{name} ended: {self.log(name)[-2000:]}"
            return ask(url, **options)[0] == status

        eventually(f"{name} answers at {url}", condition)

    def aggregator(self, name="aggregator", values="filesystem", flags=(), environment=None, replaced=(), scheme="http", **options):
        """Runs with the rendered aggregator.yaml, with names and paths of a cluster replaced; the URL."""
        port = free_port()
        config = self.folder / f"{name}.yaml"
        text = chart.find(values, "ConfigMap", "tailwater-aggregator")["data"]["aggregator.yaml"]
        for old, new in replaced:
            assert old in text, f"{old} is not in {text}"
            text = text.replace(old, new)
        environment = environment or programs.clean_environment()
        if S3_KEYS in text:
            text = text.replace(S3_KEYS, str(self.s3_keys(name, environment)))
            environment = {key: value for key, value in environment.items() if not key.startswith("AWS_")}
        config.write_text(text)
        arguments = chart.find(values, "Deployment", "tailwater-aggregator")["spec"]["template"]["spec"]["containers"][0]["args"]
        arguments = [argument.replace("/etc/tailwater/aggregator.yaml", str(config)) for argument in arguments]
        if not flags:
            flags = [f"--storage-filesystem-path={self.folder / 'store'}", "--storage-quota-bytes=1TiB"]
        self.start(name, [programs.program("tailwater-aggregator"), *arguments, f"--listen=127.0.0.1:{port}", f"--cache-dir={self.folder / f'{name}-cache'}", *flags], environment)
        url = f"{scheme}://127.0.0.1:{port}"
        self.wait_for(name, f"{url}/ready", **options)
        return url

    def s3_keys(self, name, environment):
        """The folder where the Secret with the bucket's keys is mounted."""
        folder = self.folder / f"{name}-s3-keys"
        folder.mkdir(exist_ok=True)
        for key, value in environment.items():
            if key.startswith("AWS_"):
                (folder / key).write_text(value)
        return folder

    def gateway(self, aggregators, values="filesystem", name="gateway", scheme="http", certificates=None, planted=None, **options):
        """nginx with the rendered nginx.conf in front of one or two aggregators; the URL. `certificates`: file of /etc/nginx, with `-` for `/` → text; `planted`: a fault, (text, what is in its place)."""
        port = free_port()
        folder = self.folder / name
        folder.mkdir()
        (folder / "certificates").mkdir()
        for file, text in (certificates or {}).items():
            (folder / "certificates" / file).write_text(text)
        # Workers are another user when the master is root.
        for one in (folder, *folder.parents):
            if one.is_relative_to("/tmp") and one != pathlib.Path("/tmp"):
                one.chmod(0o755)
        text = chart.find(values, "ConfigMap", "tailwater-gateway")["data"]["nginx.conf"]
        if planted:
            assert planted[0] in text
            text = text.replace(*planted)
        hosts = [url.partition("://")[2] for url in aggregators]
        text = localised(text, folder, hosts[0])
        if len(hosts) > 1:
            # The Service's two connections, ending at one replica each.
            text = text.replace(f"server {hosts[0]} max_fails", f"server {hosts[1]} max_fails", 1)
        text = re.sub(r"listen \[::\]:8080[^;]*;", "", text)
        text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}")
        (folder / "nginx.conf").write_text(text)
        self.start(name, [chart.tool("nginx"), "-e", "stderr", "-c", folder / "nginx.conf", "-g", "daemon off;"])
        url = f"{scheme}://127.0.0.1:{port}"
        self.wait_for(name, f"{url}/", **options)
        return url

    def agent(self, push_url, values="filesystem", name="agent", flags=("--metadata-source=none",)):
        """Runs with the rendered agent.yaml on a made-up tree of pod logs; the URL."""
        port = free_port()
        config = self.folder / f"{name}.yaml"
        config.write_text(chart.find(values, "ConfigMap", "tailwater-agent")["data"]["agent.yaml"])
        own = [f"--config={config}", f"--push-url={push_url}", f"--listen=127.0.0.1:{port}", f"--pods-dir={self.pods}", f"--data-dir={self.folder / 'agent-data'}"]
        self.start(name, [programs.program("tailwater-agent"), *own, *flags], programs.clean_environment(NODE_NAME="node-a"))
        url = f"http://127.0.0.1:{port}"
        self.wait_for(name, f"{url}/ready")
        return url

    @property
    def pods(self):
        path = self.folder / "pods"
        path.mkdir(exist_ok=True)
        return path

    def write_lines(self, lines, pod="default_shop-0_11111111-2222-3333-4444-555555555555", container="shop"):
        folder = self.pods / pod / container
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "0.log", "a") as file:
            for line in lines:
                now = time.time_ns()
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
                file.write(f"{stamp}.{now % 10**9:09d}Z stdout F {line}\n")


def push(gateway, lines, labels=None, headers=None, context=None):
    now = time.time_ns()
    body = {"streams": [{"stream": labels or {"job": "test"}, "values": [[str(now + number), line] for number, line in enumerate(lines)]}]}
    return ask(f"{gateway}/loki/api/v1/push", data=json.dumps(body).encode(), headers={"Content-Type": "application/json", **(headers or {})}, context=context)


class Pusher(threading.Thread):
    """Pushes until it is told to stop; `answers` are the statuses."""

    def __init__(self, url, labels, context=None):
        super().__init__(daemon=True)
        self.url, self.labels, self.context, self.answers, self.stopping = url, labels, context, [], threading.Event()

    def run(self):
        while not self.stopping.is_set():
            self.answers.append(push(self.url, [f"line {len(self.answers)}"], self.labels, context=self.context)[0])

    def end(self):
        """All statuses that there were."""
        self.stopping.set()
        self.join()
        return set(self.answers)


def query(gateway, expression, headers=None, path="query", context=None, **parameters):
    text = urllib.parse.urlencode({"query": expression, **parameters})
    status, answer = ask(f"{gateway}/loki/api/v1/{path}?{text}", headers=headers, context=context)
    return status, json.loads(answer) if answer.startswith("{") else answer


def count(gateway, selector, headers=None):
    """Lines of the last hour."""
    status, answer = query(gateway, f"sum(count_over_time({selector}[1h]))", headers)
    assert status == 200, answer
    result = answer["data"]["result"]
    return int(result[0]["value"][1]) if result else 0
