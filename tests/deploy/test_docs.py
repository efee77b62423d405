"""The guides: every command marked `test` is run, the others name only what is there; links lead somewhere; tables are what they are made from."""

import json
import os
import pathlib
import re
import shlex
import shutil
import sys

import pytest
import yaml

import chart
import programs
import sizing
import values_table

GUIDES = sorted([*(chart.DEPLOY / "docs").glob("*.md"), *(chart.DEPLOY / "migrate").glob("*.md"), chart.CHART / "README.md"])
BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """(language, mark, body) of fenced blocks."""
    return [match.groups() for match in BLOCK.finditer(text)]


def commands(text):
    """Lines of shell blocks, continued ones joined."""
    for language, _, body in blocks(text):
        if language == "sh":
            yield from (line for line in body.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#"))


def run_guide(text, folder, stack):
    """Writes the files that the guide shows and runs the blocks marked `test`, one after the other; the first that fails is told."""
    # A copy: guides write into deploy/.
    shutil.copytree(chart.DEPLOY, folder / "deploy", symlinks=True)
    tools = folder / "tools"
    tools.mkdir()
    for name in ("helm", "kubectl"):
        (tools / name).symlink_to(chart.tool(name))
    for name in ("tailwater-agent", "tailwater-aggregator"):
        (tools / name).symlink_to(programs.program(name))
    (tools / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python3").chmod(0o755)
    environment = programs.clean_environment(PATH=f"{tools}:{os.environ['PATH']}", GATEWAY=stack.gateway_url, AGENT=stack.agent_url, AGGREGATOR=stack.aggregator_url)
    ran = 0
    for language, mark, body in blocks(text):
        if mark and mark.startswith("file="):
            (folder / mark.removeprefix("file=")).write_text(body)
        elif (language, mark) == ("sh", "test"):
            outcome = chart.run(["bash", "-euo", "pipefail", "-c", body], cwd=folder, env=environment)
            assert outcome.returncode == 0, f"this block fails:\n{body}\n{outcome.stdout[-1000:]}{outcome.stderr[-1000:]}"
            ran += 1
    return ran


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_commands_marked_test_work(guide, tmp_path, stack):
    ran = run_guide(guide.read_text(), tmp_path, stack)
    assert ran > 0 or guide.name == "README.md"


@pytest.mark.parametrize("planted", ["```sh test\ncurl -fsS \"$GATEWAY/nowhere\"\n```", "```sh test\nhelm template tailwater deploy/helm/tailwater --set storage.s3.bukcet=b | grep bukcet\n```"])
def test_a_planted_command_that_fails_is_noticed(planted, tmp_path, stack):
    with pytest.raises(AssertionError, match="this block fails"):
        run_guide(f"# Guide\n\n{planted}\n", tmp_path, stack)


KINDS = {"ds": "DaemonSet", "deploy": "Deployment", "svc": "Service", "service": "Service"}
OBJECTS = {chart.identity(one) for name in chart.CI_FILES for one in chart.documents(name)}
# Objects of other people that guides speak of.
OTHERS = {"kube-prometheus-stack-grafana"}


def kubectl_problems(text):
    """Names of objects, ports and containers' programs in `kubectl` commands that nothing makes."""
    for line in commands(text):
        if not line.startswith("kubectl") or "kustomize" in line:
            continue
        for kind, name in re.findall(r"\b(ds|deploy|svc|service)/([\w-]+)", line):
            if f"{KINDS[kind]}/{name}" not in OBJECTS:
                yield f"{line}: there is no {KINDS[kind]}/{name}"
        for selector in re.findall(r"-l (\S+)", line):
            wanted = dict(pair.split("=") for pair in selector.split(","))
            if not any(wanted.items() <= one["metadata"].get("labels", {}).items() for one in chart.documents("default")):
                yield f"{line}: nothing has the labels {wanted}"
        for account in re.findall(r"serviceaccount:monitoring:([\w-]+)", line):
            if f"ServiceAccount/{account}" not in OBJECTS:
                yield f"{line}: there is no ServiceAccount {account}"


PROGRAMS = set(re.findall(r'^ENTRYPOINT \["(\S+)"\]$', (chart.DEPLOY / "Dockerfile").read_text(), re.MULTILINE))


def program_problems(text):
    """Programs that are run in containers of ours by another name than the image has: there is no shell in it that would look for them."""
    for line in commands(text):
        for program in re.findall(r" -- (\S*tailwater-a\w+) ", line):
            if program not in PROGRAMS:
                yield f"{line}: the image has {sorted(PROGRAMS)}"


def helm_problems(text):
    """`--set` of our chart's values in commands that are not run, and values in backticks."""
    known = {key for key, _, _ in values_table.rows()}
    free = ("agent.config.", "aggregator.config.", "aggregator.limits.", "aggregator.overrides.", "monitoring.labels.", "aggregator.serviceAccount.annotations")
    groups = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    tops = {key.split(".")[0] for key in known}
    for line in commands(text):
        if line.startswith("helm") and "deploy/helm/tailwater" in line:
            for value in re.findall(r"--set ([\w.]+)=", line):
                if value not in known and not value.startswith(free):
                    yield f"{line}: there is no value {value}"
    outside = BLOCK.sub("", text)
    for value in re.findall(r"`((?:\w+\.)+\w+)(?:: [^`]*|=[^`]*)?`", outside):
        if value.split(".")[0] in tops and value not in known | groups and not value.startswith(free) and not value.endswith((".yaml", ".md", ".sh", ".log")):
            yield f"there is no value `{value}`"


def link_problems(text, folder):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not (folder / target).exists():
            yield f"the link to {target} leads nowhere"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_guides_name_only_what_is_there(guide):
    text = guide.read_text()
    assert [*kubectl_problems(text), *program_problems(text), *helm_problems(text), *link_problems(text, guide.parent)] == []


def test_planted_names_are_noticed():
    assert list(kubectl_problems("```sh\nkubectl -n monitoring logs ds/tailwater-agnet\n```\n"))
    assert list(kubectl_problems("```sh\nkubectl get pods -l app.kubernetes.io/component=agregator\n```\n"))
    assert list(program_problems("```sh\nkubectl exec ds/tailwater-agent -- tailwater-agent doctor\n```\n"))
    assert list(helm_problems("```sh\nhelm install tailwater deploy/helm/tailwater --set minio.enable=true\n```\n"))
    assert list(helm_problems("Set `agent.pushUrl` to it."))
    assert list(link_problems("[x](nowhere.md)", chart.DEPLOY))


def test_secrets_of_the_guides_have_the_keys_that_are_mounted(tmp_path):
    """`kubectl create secret` as it stands there, but for the cluster."""
    (tmp_path / ".htpasswd").write_text("shop:x\n")
    made = {}
    for guide in GUIDES:
        for line in commands(guide.read_text()):
            if "create secret" in line:
                outcome = chart.run([chart.tool("kubectl"), *shlex.split(line)[1:], "--dry-run=client", "-o", "json"], cwd=tmp_path)
                assert outcome.returncode == 0, f"{line}: {outcome.stderr}"
                secret = json.loads(outcome.stdout)
                made[secret["metadata"]["name"]] = set(secret["data"])
    assert made == {"tailwater-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, "logs-users": {".htpasswd"}}


def test_values_of_the_flux_example_and_of_helm_commands_render():
    """Commands that install are rendered with the same flags."""
    seen = 0
    for guide in GUIDES:
        for line in commands(guide.read_text()):
            words = shlex.split(line.split("|")[0].split(">")[0]) if line.startswith("helm") else []
            if "deploy/helm/tailwater" not in words or words[1] not in ("install", "upgrade") or "--values" in words or "--reuse-values" in words:
                continue
            flags = [word for pair in zip(words, words[1:]) if pair[0] == "--set" for word in pair]
            outcome = chart.template(extra=flags)
            assert outcome.returncode == 0, f"{line}: {outcome.stderr}"
            seen += 1
    assert seen >= 2


def test_the_table_of_values_is_made_from_the_values():
    text = values_table.README.read_text()
    assert values_table.with_table(text) == text, "run tests/deploy/values_table.py"
    planted = text.replace("`true`", "`false`", 1)
    assert values_table.with_table(planted) != planted


def test_values_and_schema_name_the_same_keys():
    """A value without a schema, or the other way round, is a value that nobody reads."""
    schema = yaml.safe_load((chart.CHART / "values.schema.json").read_text())
    in_schema = {key for key in schema_keys(schema)}
    in_values = {key for key, _, _ in values_table.rows()}
    for key in in_values:
        assert any(key == one or key.startswith(one + ".") or one.startswith(key + ".") for one in in_schema), f"{key} is not in the schema"
    for key in in_schema:
        assert any(key == one or key.startswith(one + ".") or one.startswith(key + ".") for one in in_values), f"{key} is not in values.yaml"


def schema_keys(tree, prefix=""):
    for name, part in tree.get("properties", {}).items():
        if part.get("properties"):
            yield from schema_keys(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_value_is_read_by_a_template():
    """A key that no template reads is deployed and trusted for nothing."""
    templates = "\n".join(path.read_text() for path in (chart.CHART / "templates").rglob("*") if path.is_file())
    unread = [key for key, _, _ in values_table.rows() if not re.search(rf"\.{re.escape(key.split('.')[-1])}\b", templates)]
    assert unread == []


def test_the_sizing_table_follows_from_its_first_columns():
    text = sizing.GUIDE.read_text()
    assert sizing.with_table(text) == text, "run tests/deploy/sizing.py"
    # Recomputed here once by hand: 5,000 lines/s × 200 B × 86,400 s.
    assert sizing.shown_bytes(5_000 * 200 * 86_400) == "86 GB" and "| 5,000 | 86 GB |" in text
    planted = text.replace("| 5,000 | 86 GB |", "| 5,000 | 68 GB |")
    assert sizing.with_table(planted) != planted


def test_loki_values_are_converted(tmp_path):
    """A corpus of made-up values files of Loki's chart: converted, taken by the schema, rendered; what is left over is named with advice."""
    corpus = sorted((pathlib.Path(__file__).parent / "loki-values").glob("*.yaml"))
    assert len(corpus) >= 5
    for path in corpus:
        outcome = chart.run([sys.executable, chart.DEPLOY / "migrate/values-from-loki.py", path])
        assert outcome.returncode == 0, outcome.stderr
        values = tmp_path / path.name
        values.write_text(outcome.stdout)
        rendered = chart.template(values, extra=["--set", "storage.s3.bucket=b", "--set", "agent.push.tenantID=t"] + (["--set", "agent.enabled=false"] if "basicAuth" in outcome.stdout else []) + (["--set", "storage.filesystem.hostPath=/x"] if "filesystem" in outcome.stdout else []))
        assert rendered.returncode == 0, f"{path.name}: {rendered.stderr}"
        expected = [line.removeprefix("# left: ") for line in path.read_text().splitlines() if line.startswith("# left: ")]
        left = [line.split(":")[0] for line in outcome.stderr.splitlines()]
        assert sorted(left) == sorted(expected), f"{path.name}: {left}"
        for line in path.read_text().splitlines():
            if line.startswith("# ours: "):
                key, value = line.removeprefix("# ours: ").split(" = ")
                found = yaml.safe_load(outcome.stdout)
                for part in key.split("."):
                    found = found[part]
                assert str(found) == value, f"{path.name}: {key} is {found}"


def recorded_promtail():
    """A promtail.yaml with a job for each recorded configuration of the agent's own tests that is YAML by itself."""
    jobs, seen = [], set()
    for path in sorted((chart.REPOSITORY / "agent/tests/promtail/cases").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            text = json.loads(line).get("config")
            try:
                config = yaml.safe_load(text) if isinstance(text, str) else None
            except yaml.YAMLError:
                continue
            if isinstance(config, dict) and "pipeline_stages" in config and text not in seen:
                seen.add(text)
                jobs.append({"job_name": f"job-{len(jobs)}", **config})
    assert len(jobs) > 100
    return {"clients": [{"url": "http://loki/loki/api/v1/push", "batchsize": 1048576}], "positions": {"filename": "/run/promtail/positions.yaml"}, "scrape_configs": jobs}


def test_promtail_configurations_travel_unchanged(tmp_path):
    """Through the converter, Helm's values and the template: numbers, regular expressions and templates of stages stay what they were."""
    promtail = recorded_promtail()
    (tmp_path / "promtail.yaml").write_text(yaml.safe_dump(promtail))
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump({
        "tolerations": [{"operator": "Exists"}], "serviceAccount": {"create": True, "annotations": {"a": "b"}}, "imagePullSecrets": [{"name": "pull"}],
        "serviceMonitor": {"enabled": True, "labels": {"release": "kps"}}, "config": {"logLevel": "info"}, "sidecar": {"configReloader": {"enabled": True}}, "hostNetwork": True,
    }))
    outcome = chart.run([sys.executable, chart.DEPLOY / "migrate/values-from-promtail.py", "--push-url", "http://tailwater-gateway/loki/api/v1/push", tmp_path / "promtail.yaml", tmp_path / "chart.yaml"])
    assert outcome.returncode == 0, outcome.stderr
    assert sorted(outcome.stderr.splitlines()) == ["hostNetwork: has no counterpart", "sidecar: has no counterpart"]
    (tmp_path / "values.yaml").write_text(outcome.stdout)
    promtail["clients"][0]["url"] = "http://tailwater-gateway/loki/api/v1/push"
    for helm_name in ("helm", "helm3"):
        rendered = chart.template(tmp_path / "values.yaml", extra=["--set", "storage.s3.bucket=b"], helm_name=helm_name)
        assert rendered.returncode == 0, rendered.stderr
        objects = {chart.identity(one): one for one in chart.load_all(rendered.stdout)}
        assert yaml.safe_load(objects["ConfigMap/tailwater-agent"]["data"]["promtail.yaml"]) == promtail
        pod = objects["DaemonSet/tailwater-agent"]["spec"]["template"]["spec"]
        assert pod["tolerations"] == [{"operator": "Exists"}] and pod["imagePullSecrets"] == [{"name": "pull"}]
        assert {"name": "promtail-positions", "mountPath": "/run/promtail", "readOnly": True} in pod["containers"][0]["volumeMounts"]
        assert objects["PodMonitor/tailwater-agent"]["metadata"]["labels"]["release"] == "kps"


@pytest.mark.parametrize("helm_name", ["helm", "helm3"])
def test_large_numbers_stay_numbers(helm_name, tmp_path):
    """Helm holds numbers as floats; written with an exponent no program would take them."""
    values = {"storage": {"s3": {"bucket": "b"}}, "aggregator": {"limits": {"retention_bytes": 10_000_000_000_000, "max_line_size": 262144}, "config": {"segment_bytes": 8388608}}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    rendered = chart.template(tmp_path / "values.yaml", helm_name=helm_name)
    (config,) = [one for one in chart.load_all(rendered.stdout) if chart.identity(one) == "ConfigMap/tailwater-aggregator"]
    text = config["data"]["aggregator.yaml"]
    for line in ("retention_bytes: 10000000000000", "max_line_size: 262144", "segment_bytes: 8388608"):
        assert line in text, text
