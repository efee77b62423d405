"""Alerts and dashboards: each alert is raised and not raised by promtool, each query is taken, each metric exists."""

import importlib.util
import json
import re

import pytest
import yaml

import chart
import metric_names
import metrics_table

RULES = chart.DEPLOY / "prometheus/rules.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
TEST_FILES = {path.name: yaml.safe_load(path.read_text()) for path in sorted((chart.DEPLOY / "prometheus").glob("*_test.yaml"))}
TESTS = [(test, file["evaluation_interval"]) for file in TEST_FILES.values() for test in file["tests"]]
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((chart.DEPLOY / "grafana/dashboards").glob("*.json"))}


def generator():
    spec = importlib.util.spec_from_file_location("dashboards", chart.DEPLOY / "grafana/dashboards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promtool(arguments, **options):
    return chart.run([chart.tool("promtool"), *arguments], **options)


def test_promtool_takes_the_rendered_rules(tmp_path):
    (rendered,) = [one for one in chart.documents("default") if one["kind"] == "PrometheusRule"]
    assert rendered["spec"]["groups"] == GROUPS, "the chart changes the rules"
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rendered["spec"]))
    outcome = promtool(["check", "rules", path])
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_alerts_are_raised_and_not_raised():
    for run in [chart.AHEAD.submit(promtool, ["test", "rules", file], cwd=chart.DEPLOY / "prometheus") for file in TEST_FILES]:
        outcome = run.result()
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_test_that_raises_it_and_one_that_does_not(alert):
    raised = [bool(one.get("exp_alerts")) for test, _ in TESTS for one in test["alert_rule_test"] if one["alertname"] == alert]
    assert True in raised and False in raised


def turned_around(alert, folder):
    """What promtool says of the alert's tests when it is another one."""
    groups = json.loads(json.dumps(GROUPS))
    for group in groups:
        for rule in group["rules"]:
            if rule["alert"] == alert:
                rule["expr"] = "vector(0) > 1"
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    tests = [(test, interval) for test, interval in TESTS if test["name"].startswith(f"{alert} ")]
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": tests[0][1], "tests": [test for test, _ in tests]}
    (folder / "rules_test.yaml").write_text(yaml.safe_dump(file))
    return promtool(["test", "rules", folder / "rules_test.yaml"])


@pytest.fixture(scope="module")
def planted_changes(tmp_path_factory):
    return {alert: chart.AHEAD.submit(turned_around, alert, tmp_path_factory.mktemp("alert")) for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS)
def test_a_planted_change_of_an_alert_is_noticed(alert, planted_changes):
    """Turned around, each alert fails its tests: they look at the expression, not only at its name."""
    outcome = planted_changes[alert].result()
    assert outcome.returncode != 0 and "FAILED" in outcome.stdout + outcome.stderr, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_alerts_say_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    file, anchor = rule["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.+)$", (chart.REPOSITORY / file).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}, f"{file} has no heading for {anchor}"


def unknown_metrics(expression):
    known = metric_names.of_programs()
    return {name for name in metric_names.used(expression) if name not in metric_names.OF_OTHERS and metric_names.base(name) not in known}


@pytest.mark.parametrize("alert", ALERTS)
def test_alerts_use_only_metrics_that_exist(alert):
    assert not unknown_metrics(ALERTS[alert]["expr"])


def test_a_planted_metric_that_nobody_exports_is_noticed():
    assert unknown_metrics('sum by (pod) (rate(tailwater_segmnt_puts_total{outcome="ok"}[5m])) > 3') == {"tailwater_segmnt_puts_total"}
    assert not unknown_metrics('max(tailwater_segments_uncompacted) > on (pod) group_left () up{job="x"} offset 5m')


def test_dashboards_are_what_their_source_makes():
    for path, text in generator().files().items():
        assert path.read_text() == text, f"{path.name} differs: run `python3 deploy/grafana/dashboards.py`"
    assert set(DASHBOARDS) == set(generator().DASHBOARDS)


def dashboard_problems(boards):
    uids = [board["uid"] for board in boards.values()]
    for name, board in boards.items():
        if uids.count(board["uid"]) != 1 or not re.fullmatch(r"tailwater-[a-z]+", board["uid"]):
            yield f"{name}: uid {board['uid']}"
        ids = [panel["id"] for panel in board["panels"]]
        if len(set(ids)) != len(ids):
            yield f"{name}: panel ids {ids}"
        variables = {variable["name"] for variable in board["templating"]["list"]}
        text = json.dumps(board)
        for used in set(re.findall(r"\$\{?(\w+)", text)) - variables - {"__auto", "__rate_interval", "__range"}:
            if used != "__all":
                yield f"{name}: uses ${used}, which is no variable of it"
        for source in re.findall(r'"datasource": \{"type": "\w+", "uid": "([^"]*)"\}', text):
            if source not in ("${datasource}", "${loki}"):
                yield f"{name}: names the datasource {source}"
        taken = set()
        for panel in board["panels"]:
            if not panel["fieldConfig"]["defaults"].get("unit"):
                yield f"{name}: `{panel['title']}` has no unit"
            if not panel["targets"]:
                yield f"{name}: `{panel['title']}` asks nothing"
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            if cells & taken or place["x"] + place["w"] > 24:
                yield f"{name}: `{panel['title']}` lies over another panel"
            taken |= cells
        if len(text) > 900 * 1024:
            yield f"{name}: larger than a ConfigMap takes"


def test_dashboards_are_sound():
    assert list(dashboard_problems(DASHBOARDS)) == []


@pytest.mark.parametrize(
    "plant, says",
    [
        (lambda board: board.update(uid="tailwater-agent"), "uid"),
        (lambda board: board["panels"][1].update(id=board["panels"][0]["id"]), "panel ids"),
        (lambda board: board["panels"][0].update(datasource={"type": "prometheus", "uid": "abc"}), "names the datasource abc"),
        (lambda board: board["panels"][0]["fieldConfig"]["defaults"].pop("unit"), "has no unit"),
        (lambda board: board["panels"][0]["targets"][0].update(expr='up{node="$nod"}'), "$nod"),
        (lambda board: board["panels"][1].update(gridPos=board["panels"][0]["gridPos"]), "lies over"),
    ],
)
def test_planted_faults_of_dashboards_are_noticed(plant, says):
    boards = json.loads(json.dumps(DASHBOARDS))
    plant(boards["overview"])
    assert any(says in problem for problem in dashboard_problems(boards))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_promql_of_dashboards(name, tmp_path):
    """Each expression is made a recording rule, which promtool parses; and names only metrics that exist."""
    expressions = generator().expressions(DASHBOARDS[name], "prometheus")
    variables = [variable["query"]["query"] for variable in DASHBOARDS[name]["templating"]["list"] if variable.get("datasource", {}).get("type") == "prometheus"]
    expressions += [re.fullmatch(r"label_values\((\w+), \w+\)", query)[1] for query in variables]
    if not expressions:
        assert all(target["datasource"]["type"] == "loki" for panel in DASHBOARDS[name]["panels"] for target in panel["targets"])
        return
    outcome = check_expressions(expressions, tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert {expression: unknown_metrics(expression) for expression in expressions if unknown_metrics(expression)} == {}


def check_expressions(expressions, folder):
    rules = [{"record": f"query:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    path = folder / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    return promtool(["check", "rules", path])


def test_planted_promql_is_refused(tmp_path):
    assert check_expressions(["sum(rate(up[5m])"], tmp_path).returncode != 0


def test_the_guide_has_every_metric_and_no_other():
    """What tests scrape is compared with its rows (metrics_table.py); here also what they do not bring about."""
    ours = {metric_names.base(name) for name in metric_names.of_programs()} - {"promtail_custom_"}
    documented = {metric_names.base(name) for name in metrics_table.documented()}
    assert ours <= documented, f"docs/metrics.md lacks {ours - documented}: TAILWATER_BLESS=1 writes what a test scrapes"
    of_others = {name for name in documented - ours if not name.startswith(("loki_", "process_"))}
    assert of_others == set(), f"docs/metrics.md has {of_others}, which no program exports"


def test_configmaps_reach_grafana():
    boards = [one for one in chart.documents("default") if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert {file for one in boards for file in one["data"]} == {f"tailwater-{name}.json" for name in DASHBOARDS}
    for one in boards:
        assert one["metadata"]["namespace"] == "monitoring"
        for file, text in one["data"].items():
            assert json.loads(text) == DASHBOARDS[file.removeprefix("tailwater-").removesuffix(".json")]


def test_the_datasource():
    (source,) = [one for one in chart.documents("default") if one["metadata"]["labels"].get("grafana_datasource") == "1"]
    (loki,) = yaml.safe_load(source["data"]["tailwater.yaml"])["datasources"]
    assert loki["type"] == "loki" and loki["uid"] == "tailwater" and loki["access"] == "proxy"
    assert loki["url"] == "http://tailwater-gateway.monitoring.svc.cluster.local"
    (field,) = loki["jsonData"].pop("derivedFields")
    assert loki["jsonData"] == {"maxLines": 1000, "timeout": 60, "manageAlerts": False}
    # Grafana's own notation, of which it takes one `$` away when it reads the file.
    assert (field["name"], field["datasourceUid"], field["url"]) == ("trace_id", "tailwater", '{namespace=~".+"} |= "$${__value.raw}"')
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for line in (f"level=info trace_id={trace} msg=x", f'{{"traceID": "{trace}", "msg": "x"}}', f"TraceId:{trace}"):
        assert re.search(field["matcherRegex"], line)[1] == trace, line
    assert not re.search(field["matcherRegex"], f"span_id={trace}") and not re.search(field["matcherRegex"], "trace_id=none")
    swapped = yaml.safe_load(chart.find("compat", "ConfigMap", "tailwater-datasource")["data"]["tailwater.yaml"])
    assert swapped["datasources"][0]["uid"] == "loki"
    tenant = yaml.safe_load(chart.find("tenants", "ConfigMap", "tailwater-datasource")["data"]["tailwater.yaml"])["datasources"][0]
    assert (tenant["jsonData"]["httpHeaderName1"], tenant["secureJsonData"]["httpHeaderValue1"]) == ("X-Scope-OrgID", "platform")
    secured = yaml.safe_load(chart.find("basic-auth", "ConfigMap", "tailwater-datasource")["data"]["tailwater.yaml"])["datasources"][0]
    assert secured["basicAuth"] is True and secured["secureJsonData"] == {"basicAuthPassword": "$TAILWATER_PASSWORD"}
