"""What ConfigMaps hold is taken by the programs that read it."""

import json
import re

import pytest
import yaml

import chart
import programs
import schema_keys

GATEWAYS = [name for name in chart.CI_FILES if any(chart.identity(one) == "ConfigMap/tailwater-gateway" for one in chart.documents(name))]
AGENTS = [name for name in chart.CI_FILES if any(chart.identity(one) == "ConfigMap/tailwater-agent" for one in chart.documents(name))]
AGGREGATORS = [name for name in chart.CI_FILES if any(chart.identity(one) == "ConfigMap/tailwater-aggregator" for one in chart.documents(name))]


def nginx_config(name, folder):
    """The rendered nginx.conf, with this machine's folders in place of the container's."""
    text = chart.find(name, "ConfigMap", "tailwater-gateway")["data"]["nginx.conf"]
    return localised(text, folder)


def localised(text, folder, aggregator="127.0.0.1:3100"):
    text = text.replace("/tmp/", f"{folder}/")
    text = text.replace("tailwater-aggregator.monitoring.svc.cluster.local:3100", aggregator)
    (folder / "certificates").mkdir(exist_ok=True)
    for path in re.findall(r"/etc/nginx/[^\s;$]+", text):
        local = folder / "certificates" / path.removeprefix("/etc/nginx/").replace("/", "-")
        if not local.exists():
            write_credentials(local)
        text = text.replace(path, str(local))
    return text


def write_credentials(path):
    if path.name.endswith("htpasswd"):
        # user `shop`, password `secret`
        path.write_text("shop:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        return
    key, certificate = path.parent / "tls-tls.key", path.parent / "tls-tls.crt"
    if not key.exists():
        made = chart.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=test", "-keyout", key, "-out", certificate])
        assert made.returncode == 0, made.stderr
        # Workers read it too, who are another user when the master is root.
        key.chmod(0o644)
    if not path.exists():
        path.write_bytes((key if path.suffix == ".key" else certificate).read_bytes())


def nginx_says(text, folder):
    path = folder / "nginx.conf"
    path.write_text(text)
    return chart.run([chart.tool("nginx"), "-t", "-e", "stderr", "-c", path])


@pytest.mark.parametrize("name", GATEWAYS)
def test_nginx_takes_the_rendered_configuration(name, tmp_path):
    text = nginx_config(name, tmp_path)
    assert "${" not in text, "a variable of the template was not filled in"
    outcome = nginx_says(text, tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "[warn]" not in outcome.stderr, outcome.stderr


@pytest.mark.parametrize("planted", ["proxy_pas http://aggregator;", "listen eighty;", "location ~ ^/(ready { return 200; }"])
def test_nginx_refuses_planted_mistakes(planted, tmp_path):
    outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=["--set-string", f"gateway.nginxConfig.serverSnippet={planted}"])
    (config,) = [one for one in chart.load_all(outcome.stdout) if chart.identity(one) == "ConfigMap/tailwater-gateway"]
    assert nginx_says(localised(config["data"]["nginx.conf"], tmp_path), tmp_path).returncode != 0


def test_a_resolver_makes_names_resolve_again():
    """Needs an nginx that this machine may not have, so only the text is looked at."""
    outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=["--set", "gateway.nginxConfig.resolver=10.96.0.10"])
    assert "resolver 10.96.0.10 valid=10s;" in outcome.stdout
    assert outcome.stdout.count("max_fails=0 resolve;") == 2


def test_the_template_has_no_variable_that_the_chart_does_not_fill():
    template = (chart.DEPLOY / "gateway/nginx.conf.template").read_text()
    helper = (chart.CHART / "templates/gateway/_config.tpl").read_text()
    assert set(re.findall(r"\$\{\w+\}", template)) == set(re.findall(r"\$\{\w+\}", helper))


def agent_check(data, folder):
    [(file, text)] = data.items()
    (folder / file).write_text(text)
    flag = {"agent.yaml": "--config", "promtail.yaml": "--promtail-config"}[file]
    return chart.run([programs.program("tailwater-agent"), flag, folder / file, "--check-config"], env=programs.clean_environment(NODE_NAME="n", KUBERNETES_SERVICE_HOST="10.0.0.1"))


@pytest.mark.parametrize("name", AGENTS)
def test_the_agent_takes_its_configuration(name, tmp_path):
    outcome = agent_check(chart.find(name, "ConfigMap", "tailwater-agent")["data"], tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_aggregator_takes_its_configuration(name, tmp_path):
    outcome = aggregator_check(chart.find(name, "ConfigMap", "tailwater-aggregator")["data"]["aggregator.yaml"], tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def aggregator_check(text, folder):
    path = folder / "aggregator.yaml"
    path.write_text(text)
    return chart.run([programs.program("tailwater-aggregator"), "serve", "--config", path, "--check-config"], env=programs.clean_environment())


def test_the_programs_refuse_planted_mistakes(tmp_path):
    good = chart.find("default", "ConfigMap", "tailwater-aggregator")["data"]["aggregator.yaml"]
    assert aggregator_check(good.replace("bucket", "buket"), tmp_path).returncode != 0
    good = chart.find("default", "ConfigMap", "tailwater-agent")["data"]["agent.yaml"]
    assert agent_check({"agent.yaml": good.replace("data_dir", "data_dri")}, tmp_path).returncode != 0


SCHEMA = json.loads(schema_keys.SCHEMA.read_text())


def test_the_schema_knows_every_key_of_the_programs():
    missing = {part: keys for part, keys in schema_keys.missing(SCHEMA).items() if keys}
    assert not missing, f"values.schema.json lacks {missing}: run tests/deploy/schema_keys.py"


def test_a_key_that_the_schema_lost_is_noticed_and_added():
    planted = json.loads(json.dumps(SCHEMA))
    del planted["properties"]["aggregator"]["properties"]["config"]["properties"]["compaction"]
    del planted["properties"]["agent"]["properties"]["config"]["properties"]["limits"]["properties"]["long_line"]
    del planted["definitions"]["limits"]["properties"]["retention_bytes"]
    missing = schema_keys.missing(planted)
    assert "compaction.settle" in missing["aggregator"] and missing["agent"] == {"limits.long_line"} and missing["limits"] == {"retention_bytes"}
    assert not any(schema_keys.missing(schema_keys.completed(planted)).values())


def test_limits_are_those_of_the_program_and_of_loki():
    """Those that the program has, and Loki's others, which it accepts with a warning; and no more."""
    of_program = {key.split(".")[1] for key in programs.keys_of("tailwater-aggregator") if key.startswith("limits.")}
    source = (chart.REPOSITORY / "aggregator/src/limits.rs").read_text()
    accepted = set(re.findall(r'"(\w+)"', re.search(r"WITHOUT_EFFECT: &\[&str\] = &\[(.*?)\];", source, re.DOTALL)[1]))
    in_schema = set(SCHEMA["definitions"]["limits"]["properties"])
    assert of_program | accepted == in_schema, f"values.schema.json differs in limits: {sorted((of_program | accepted) ^ in_schema)}"


def sample(schema):
    if "anyOf" in schema:
        return sample(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if schema.get("format") == "date-time":
        return "2026-01-20T10:00:00Z"
    if kind == "string":
        return "5m" if "ns|us" in schema.get("pattern", "") else "64MiB"
    return {"integer": 3, "number": 3, "boolean": True, "object": {}, "array": []}[kind]


def nested(key, value):
    name, _, rest = key.partition(".")
    inner = nested(rest, value) if rest else value
    return {name.removesuffix("[0]"): [inner]} if name.endswith("[0]") else {name: inner}


def merged(left, right):
    for name, value in right.items():
        if isinstance(value, dict) and isinstance(left.get(name), dict):
            merged(left[name], value)
        elif isinstance(value, list) and value and isinstance(value[0], dict) and name in left:
            merged(left[name][0], value[0])
        else:
            left[name] = value
    return left


# A client has one of them.
@pytest.mark.parametrize("without", ["basic_auth", "bearer_token"])
def test_the_agent_knows_every_key_of_the_schema(tmp_path, without):
    config = {}
    for key, schema in schema_keys.schema_keys(schema_keys.parts(SCHEMA)["agent"][1]):
        # A key of any scalar is known by its name; what it takes, the program says.
        if schema != schema_keys.SCALAR and f".{without}" not in key:
            merged(config, nested(key, "http://x/" if key.endswith(".url") else sample(schema)))
    outcome = agent_check({"agent.yaml": yaml.safe_dump(config)}, tmp_path)
    assert outcome.returncode == 0, outcome.stderr


def test_the_aggregator_knows_every_key_and_limit_of_the_schema(tmp_path):
    config = {}
    for key, schema in schema_keys.schema_keys(schema_keys.parts(SCHEMA)["aggregator"][1]):
        if schema != schema_keys.SCALAR:
            merged(config, nested(key, sample(schema)))
    # Loki's own, of which the schema knows the name only, are left out.
    config["limits"] = {name: sample(schema) for name, schema in SCHEMA["definitions"]["limits"]["properties"].items() if schema}
    config["limits"]["retention_period"] = "744h"
    config["compaction"]["retire_after"] = "10m"
    outcome = aggregator_check(yaml.safe_dump(config), tmp_path)
    assert outcome.returncode == 0, outcome.stderr


def test_rendered_json_is_json():
    for name in chart.CI_FILES:
        for document in chart.documents(name):
            if document["kind"] == "ConfigMap":
                for file, text in document.get("data", {}).items():
                    if file.endswith(".json"):
                        json.loads(text)
