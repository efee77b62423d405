"""Every rendered object: valid, within the policy, and naming only what is there. And each check notices a planted fault."""

import functools
import pathlib

import pytest

import chart
import policy
import refs
import schemas

PLANTED = pathlib.Path(__file__).parent / "planted"


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_every_object_is_valid(version):
    seen, found, objects = set(), [], 0
    for name in chart.CI_FILES:
        for document in chart.documents(name):
            text = repr(document)
            if text in seen:
                continue
            seen.add(text)
            objects += 1
            found += [f"{name}: {chart.identity(document)}: {problem}" for problem in schemas.problems(document, version)]
    assert not found, "\n".join(found)
    assert objects > 80


@pytest.mark.parametrize("name", chart.CI_FILES)
def test_policy(name):
    found = [problem for document in chart.documents(name) if document["metadata"]["name"] != "extra" for problem in policy.problems(document)]
    found += policy.together(chart.documents(name))
    assert not found, "\n".join(found)


# What more the agent may do, and instead of what, for a source that is switched on: the other sources give it nothing.
LIST_AND_WATCH = {"list", "watch"}
RIGHTS_BY_SOURCE = {
    "pods alone": ([], policy.OF_AGENT),
    "the kubelet": (["agent.config.metadata_source=kubelet"], {("", "nodes/pods"): {"get"}, ("", "namespaces"): LIST_AND_WATCH}),
    "events": (["agent.config.events.enabled=true"], {**policy.OF_AGENT, ("events.k8s.io", "events"): LIST_AND_WATCH}),
    "the node": (
        ["agent.config.scrape_configs[0].job_name=n", "agent.config.scrape_configs[0].kubernetes_sd_configs[0].role=node"],
        {**policy.OF_AGENT, ("", "nodes"): LIST_AND_WATCH},
    ),
}


@pytest.mark.parametrize("source", RIGHTS_BY_SOURCE)
def test_the_agent_may_do_what_its_sources_need_and_nothing_else(source):
    settings, expected = RIGHTS_BY_SOURCE[source]
    outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=[argument for setting in settings for argument in ("--set", setting)])
    assert outcome.returncode == 0, outcome.stderr
    roles = {chart.identity(one): policy.given(one) for one in chart.load_all(outcome.stdout) if one["kind"] in ("Role", "ClusterRole")}
    assert roles["ClusterRole/tailwater:agent"] == expected
    assert ("Role/tailwater-agent-events" in roles) == (source == "events")


@pytest.mark.parametrize("name", chart.CI_FILES)
def test_references_resolve(name):
    found = list(refs.problems(chart.documents(name)))
    assert not found, "\n".join(found)


@functools.cache
def planted():
    """Faults: file, the check that must notice it, the words it must say."""
    faults = []
    for path in sorted(PLANTED.glob("*.yaml")):
        head = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
        told = dict(line.split(": ", 1) for line in head if ": " in line)
        faults.append((path.name, told["check"], told["says"]))
    return faults


CHECKS = {
    "schema": lambda documents: [problem for one in documents for problem in schemas.problems(one)],
    "policy": lambda documents: [*(problem for one in documents for problem in policy.problems(one)), *policy.together(documents)],
    "refs": lambda documents: list(refs.problems(documents)),
}


@pytest.mark.parametrize("name, check, says", planted(), ids=[name for name, _, _ in planted()])
def test_planted_faults_are_noticed(name, check, says):
    """The file is a patch: objects of the default render, changed as it says."""
    fault = chart.load_all((PLANTED / name).read_text())[0]
    documents = apply(chart.load_all(chart.rendered(fault.get("values", "default"))), fault)
    found = CHECKS[check](documents)
    assert any(says in problem for problem in found), f"{name} was not noticed; found: {found}"


def test_every_check_has_planted_faults():
    assert {check for _, check, _ in planted()} == set(CHECKS)
    assert len(planted()) >= 30


def apply(documents, fault):
    kind, name = fault["object"].split("/")
    if "add" in fault:
        return [*documents, fault["add"]]
    target = next(one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))
    if fault.get("remove"):
        return [one for one in documents if one is not target]
    for path, value in fault["set"].items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("|")]
        node = target
        for part in parents:
            node = node[part]
        if value == "<gone>":
            del node[last]
        else:
            node[last] = value
    return documents


def test_only_an_agent_with_such_sources_mounts_more_of_the_node():
    mounts = lambda name: {volume["hostPath"]["path"] for volume in chart.find(name, "DaemonSet", "tailwater-agent")["spec"]["template"]["spec"]["volumes"] if "hostPath" in volume}
    usual = {"/var/log/pods", "/var/lib/tailwater-agent"}
    assert mounts("default") == mounts("ha") == usual
    assert mounts("node-sources") == usual | {"/var/lib/docker/containers", "/var/log/containers", "/run/log/journal", "/var/log/journal", "/etc/machine-id"}
