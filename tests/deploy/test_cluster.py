"""The programs against an API server: what they ask of it is what the chart allows them to ask, and its troubles lose nothing."""

import copy
import datetime
import json
import shlex
import urllib.parse

import pytest
import yaml

import chart
import cluster
import live
import metrics_table
import programs
from test_docs import commands

AGENT = "system:serviceaccount:monitoring:tailwater-agent"
LISTS_AT_MOST = 12


def pod(name, **labels):
    return json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": labels},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "i"}]},
        "status": {"containerStatuses": [{"name": "app", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "containerID": f"containerd://{name}"}]},
    })


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """An aggregator, an API server with what the chart renders, and an agent that uses it as the chart's service account."""
    with live.Stack(tmp_path_factory.mktemp("cluster")) as stack:
        rendered = yaml.safe_dump_all(chart.documents("filesystem"), sort_keys=False)
        stack.kube = cluster.Cluster(stack, [{"token": "agent-token", "user": AGENT}], rendered)
        stack.kube.apply("\n---\n".join([pod("first", app="storefront"), json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}})]))
        stack.kube.apply(pod("elsewhere", app="other").replace("node-a", "node-b"))
        stack.aggregator_url = stack.aggregator()
        stack.write_lines(["line of first"], pod="shop_first_uid-first", container="app")
        stack.agent_url = stack.agent(f"{stack.aggregator_url}/loki/api/v1/push", flags=[f"--kubeconfig={stack.kube.kubeconfig(AGENT)}", "--metadata-wait=4s"])
        yield stack


def arrives(stack, line, **labels):
    """The line is stored with these labels."""
    selector = "{" + ", ".join(f'{name}="{value}"' for name, value in {"namespace": "shop", **labels}.items()) + "}"
    live.eventually(f"{line} {selector}", lambda: live.count(stack.aggregator_url, f"{selector} |= `{line}`") == 1)


def allowed(role):
    return {(verb, group, resource) for rule in role["rules"] for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]}


def role_problems(role, requests):
    """What is asked and not allowed, and what is allowed and never asked."""
    asked = {(one["verb"], one["group"], one["resource"]) for one in requests if one["resource"]}
    yield from (f"asks and is not allowed: {what}" for what in sorted(asked - allowed(role)))
    yield from (f"is allowed and never asks: {what}" for what in sorted(allowed(role) - asked))


def test_labels_come_from_the_api_server(scene):
    arrives(scene, "line of first", app="storefront", pod="first", job="shop/storefront")
    uid = json.loads(scene.kube.ask("/api/v1/namespaces/shop", "admin")[1])["metadata"]["uid"]
    assert live.count(scene.aggregator_url, f'{{namespace="shop"}} | namespace_uid="{uid}" | pod_uid="uid-first" | container_id="containerd://first"') == 1


def test_the_agent_watches_its_node_and_of_namespaces_the_metadata_alone(scene):
    live.eventually("both watches", lambda: {one["resource"] for one in scene.kube.requests(AGENT) if one["verb"] == "watch"} == {"pods", "namespaces"})
    for one in scene.kube.requests(AGENT):
        assert one["status"] != 403, one
        if one["resource"] == "pods":
            assert urllib.parse.parse_qs(one["query"])["fieldSelector"] == ["spec.nodeName=node-a"], one
        if one["resource"] == "namespaces":
            assert "as=PartialObjectMetadata" in one["accept"], one


def test_the_agents_role_is_what_it_asks_for_neither_more_nor_less(scene):
    doctor = [programs.program("tailwater-agent"), "doctor", f"--config={scene.folder / 'agent.yaml'}", f"--kubeconfig={scene.kube.kubeconfig(AGENT)}"]
    told = chart.run(doctor, env=programs.clean_environment(NODE_NAME="node-a")).stdout
    assert "pods of node `node-a` can be listed" in told and "namespaces can be listed" in told, told
    role = chart.find("filesystem", "ClusterRole", "tailwater:agent")
    requests = scene.kube.requests(AGENT)
    assert list(role_problems(role, requests)) == []
    wider, narrower = copy.deepcopy(role), copy.deepcopy(role)
    wider["rules"][0]["resources"].append("secrets")
    assert any("('list', '', 'secrets')" in problem for problem in role_problems(wider, requests))
    narrower["rules"][0]["verbs"].remove("watch")
    assert any("asks and is not allowed: ('watch', '', 'pods')" == problem for problem in role_problems(narrower, requests))


def test_the_agent_may_do_what_the_guide_asks_about(scene):
    """`kubectl auth can-i … --as=` of troubleshooting.md, asked by the account itself: this API server lets nobody speak for others."""
    asked = [shlex.split(line)[1:] for line in commands((chart.DEPLOY / "docs/troubleshooting.md").read_text()) if " auth can-i " in line]
    assert len(asked) == 2
    for *words, account in asked:
        assert account == f"--as={AGENT}"
        assert scene.kube.kubectl(*words, user=AGENT).stdout == "yes\n", words


TROUBLES = {
    "cut": lambda kube: kube.order("watches/cut"),
    "410": lambda kube: kube.order("history/forget"),
    "429": lambda kube: (kube.fault(resource="pods", status=429, retry_after=1, times=2), kube.order("watches/cut")),
    "500": lambda kube: (kube.fault(status=500, resource="namespaces", times=1), kube.order("watches/cut")),
}


def test_watches_that_break_are_taken_up_without_storms(scene):
    kube = scene.kube
    before = lists_of(kube)
    for trouble, make in TROUBLES.items():
        granted = watches(kube)
        make(kube)
        kube.apply(pod(f"after-{trouble}", app=f"app-{trouble}"))
        # The watch may be away for some seconds; what is read before it is back has the labels of its path.
        live.eventually(f"the agent watches again after {trouble}", lambda: watches_again(kube, granted))
        scene.write_lines([f"line after {trouble}"], pod=f"shop_after-{trouble}_uid-after-{trouble}", container="app")
        arrives(scene, f"line after {trouble}", app=f"app-{trouble}")
    assert metrics_table.problems("Agent", live.ask(f"{scene.agent_url}/metrics")[1]) == []
    lists = lists_of(kube) - before
    assert 2 <= lists <= LISTS_AT_MOST, lists


def lists_of(kube):
    """How often the agent asked for everything: watches may begin with that."""
    return sum(one["verb"] == "list" or "sendInitialEvents=true" in one["query"] for one in kube.requests(AGENT))


def watches(kube):
    """How many watches of each kind were granted."""
    granted = [one["resource"] for one in kube.requests(AGENT) if one["verb"] == "watch" and one["status"] == 200]
    return {resource: granted.count(resource) for resource in ("pods", "namespaces")}


def watches_again(kube, before):
    """Whether both kinds have a watch that was granted since."""
    return all(count > before[resource] for resource, count in watches(kube).items())


def test_lines_do_not_wait_for_ever_and_later_ones_have_the_late_metadata(scene):
    where = {"pod": "shop_late_uid-late", "container": "app"}
    scene.write_lines(["early line"], **where)
    arrives(scene, "early line", app="late", pod="late")
    scene.kube.apply(pod("late", app="told-late"))

    def written():
        scene.write_lines(["another line"], **where)
        return live.count(scene.aggregator_url, '{namespace="shop", pod="late", app="told-late"}') > 0

    live.eventually("full labels", written)
    assert live.count(scene.aggregator_url, '{namespace="shop", pod="late"} |= "early line"') == 1


def test_events_are_sent_with_the_rights_that_the_chart_gives(tmp_path):
    with live.Stack(tmp_path) as stack:
        rendered = yaml.safe_dump_all(chart.documents("rbac-api"), sort_keys=False)
        event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "shop"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "shop"}, "reason": "Pulled", "note": "image pulled", "type": "Normal", "eventTime": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")}
        stack.kube = cluster.Cluster(stack, [{"token": "agent-token", "user": AGENT}], f"{rendered}\n---\n{json.dumps(event)}")
        aggregator = stack.aggregator()
        # A server that does not stream lists: whole ones are asked for.
        for resource in ("pods", "namespaces"):
            stack.kube.fault(resource=resource, verb="watch", status=422, times=1)
        stack.agent(f"{aggregator}/loki/api/v1/push", values="rbac-api", flags=[f"--kubeconfig={stack.kube.kubeconfig(AGENT)}"])
        rules = [rule for kind, name in (("ClusterRole", "tailwater:agent"), ("Role", "tailwater-agent-events")) for rule in chart.find("rbac-api", kind, name)["rules"]]
        live.eventually("everything is asked", lambda: not list(role_problems({"rules": rules}, stack.kube.requests(AGENT))))
        assert not [one for one in stack.kube.requests(AGENT) if one["status"] == 403]
        live.eventually("the event is a line", lambda: live.count(aggregator, '{namespace="shop"} |= "image pulled"') == 1)
