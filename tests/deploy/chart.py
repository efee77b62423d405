"""Renders the chart with the real Helm, and keeps what was rendered for the tests of one run."""

import concurrent.futures
import fcntl
import functools
import os
import pathlib
import shutil
import subprocess

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
CHART = DEPLOY / "helm" / "tailwater"
CI_FILES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
# The oldest that the chart is made for, the oldest and the newest that are supported.
KUBERNETES_VERSIONS = ["1.25.0", "1.30.0", "1.37.0"]
NAMESPACE = "monitoring"
OPERATOR_API = "monitoring.coreos.com/v1"
# The files that stand for clusters without the Prometheus operator.
WITHOUT_OPERATOR = {"no-operator"}

# Names the folder of what the processes of a run share.
SHARED = "TAILWATER_TESTS_SHARED"

# Runs of tools that wait for nothing, begun before they are asked about; those that nobody asks about are given up at the end.
AHEAD = concurrent.futures.ThreadPoolExecutor(2)

TOOLS = pathlib.Path(os.environ.get("TAILWATER_TOOLS_DIR") or pathlib.Path.home() / ".cache/tailwater/tools")


def tool(name):
    """Path of a tool: installed by `tests/run --install`, or of the machine."""
    own = TOOLS / "deploy" / "bin" / name
    found = str(own) if own.exists() else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert found, f"{name} is missing: run `bash tests/run --install`"
    return found


def run(arguments, **options):
    return subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, timeout=120, **options)


def helm(arguments, helm_name="helm", stdin=None):
    return run([tool(helm_name), *arguments], input=stdin)


def template(values_file=None, *, kube_version="1.37.0", helm_name="helm", extra=(), operator=True, namespace=NAMESPACE, chart=CHART, stdin=None):
    """The outcome of `helm template`."""
    arguments = ["template", "tailwater", chart, "--namespace", namespace, "--kube-version", kube_version]
    if values_file:
        arguments += ["--values", values_file]
    if operator:
        arguments += ["--api-versions", OPERATOR_API]
    return helm([*arguments, *extra], helm_name, stdin)


def once(key, make):
    """The text that `make` gives, from whichever process of the run was asked first (`conftest.py` gives them a folder)."""
    if SHARED not in os.environ:
        return make()
    path = pathlib.Path(os.environ[SHARED]) / key
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_text(make())
        return path.read_text()


@functools.cache
def rendered(name, kube_version="1.37.0", helm_name="helm"):
    """Text of the chart with `ci/NAME.yaml`."""

    def render():
        outcome = template(CHART / "ci" / f"{name}.yaml", kube_version=kube_version, helm_name=helm_name, operator=name not in WITHOUT_OPERATOR)
        assert outcome.returncode == 0, f"{name}: {outcome.stderr}"
        return outcome.stdout

    return once(f"{name}-{kube_version}-{helm_name}.yaml", render)


def load_all(text):
    return [document for document in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if document]


@functools.cache
def documents(name, kube_version="1.37.0"):
    """Objects of the chart with `ci/NAME.yaml`. Not to be changed."""
    return load_all(rendered(name, kube_version))


def identity(document):
    return f"{document['kind']}/{document['metadata']['name']}"


def find(name, kind, object_name):
    found = [one for one in documents(name) if one["kind"] == kind and one["metadata"]["name"] == object_name]
    assert len(found) == 1, f"{name}: {len(found)} × {kind}/{object_name}"
    return found[0]


def pod_specs(document):
    """(pod metadata, pod spec) of what makes pods."""
    if document["kind"] == "Pod":
        return [(document["metadata"], document["spec"])]
    if document["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "Job"):
        template = document["spec"]["template"]
        return [(template["metadata"], template["spec"])]
    return []
