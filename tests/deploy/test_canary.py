"""The rendered canary: what it writes goes through agent, gateway and aggregator, and what becomes of it is in its metrics."""

import subprocess
import threading

import pytest

import chart
import live
import metric_names
import metrics_table
import programs
from test_monitoring import DASHBOARDS, generator

POD = "monitoring_tailwater-canary-abcde_22222222-2222-3333-4444-555555555555"


class Canary:
    """Runs as the DaemonSet says; its output becomes a pod's log as the container runtime makes it, each line as often as `copies` says."""

    def __init__(self, stack):
        self.stack, self.copies, port = stack, 1, live.free_port()
        (container,) = chart.find("filesystem", "DaemonSet", "tailwater-canary")["spec"]["template"]["spec"]["containers"]
        names = {"$(POD_NAMESPACE)": "monitoring", "$(POD_NAME)": "tailwater-canary-abcde"}
        local = {"--listen": f"127.0.0.1:{port}", "--url": stack.gateway_url}
        arguments = [f"{name}={local[name]}" if name in local else argument for argument in container["args"] for name in [argument.split("=")[0]]]
        for name, value in names.items():
            arguments = [argument.replace(name, value) for argument in arguments]
        command = ["setpriv", "--pdeathsig", "KILL", "--", programs.program("tailwater-aggregator"), *arguments]
        self.process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=programs.clean_environment())
        self.url = f"http://127.0.0.1:{port}"
        threading.Thread(target=self.log, daemon=True).start()

    def log(self):
        for line in self.process.stdout:
            for _ in range(self.copies):
                self.stack.write_lines([line.rstrip("\n")], pod=POD, container="canary")

    def metric(self, name):
        status, text = live.ask(f"{self.url}/metrics")
        if status == 0:
            return 0
        (line,) = [line for line in text.splitlines() if line.startswith(f"tailwater_canary_{name} ")]
        return float(line.split()[1])


@pytest.fixture
def canary(stack):
    canary = Canary(stack)
    yield canary
    canary.process.kill()
    canary.process.wait()


def test_the_canary_finds_its_lines_and_notices_doubled_ones(canary):
    live.eventually("lines are found", lambda: canary.metric("read_latency_seconds_count") >= 3)
    assert live.ask(f"{canary.url}/live")[0] == 200
    assert [canary.metric(f"{what}_lines_total") for what in ("missing", "duplicate", "out_of_order")] == [0, 0, 0]
    assert canary.metric("written_lines_total") >= 3
    scraped = {line.split("{")[0].split(" ")[0] for line in live.ask(f"{canary.url}/metrics")[1].splitlines() if line and not line.startswith("#")}
    shown = {name for expression in generator().expressions(DASHBOARDS["canary"], "prometheus") for name in metric_names.used(expression)}
    assert len(shown) == 6 and shown <= scraped, shown - scraped
    assert metrics_table.problems("Canary", live.ask(f"{canary.url}/metrics")[1]) == []
    canary.copies = 2
    live.eventually("a doubled line is noticed", lambda: canary.metric("duplicate_lines_total") > 0)


def test_a_canary_that_cannot_read_says_so_and_calls_nothing_lost(stack):
    command = [programs.program("tailwater-aggregator"), "canary", "--url=http://127.0.0.1:1", '--selector={pod="x"}', "--listen=127.0.0.1:0"]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=programs.clean_environment())
    try:
        for line in process.stderr:
            if "looked for" in line:
                break
        else:
            raise AssertionError("it ended and did not say why")
    finally:
        process.kill()
        process.wait()
