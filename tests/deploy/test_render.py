"""The chart lints and renders: every values file, three Kubernetes versions, two Helms, always the same text."""

import difflib
import functools
import os
import re
import shutil

import pytest

import chart


HELMS = ["helm", "helm3"]


@functools.cache
def lints():
    lint = lambda name, helm_name: chart.AHEAD.submit(chart.helm, ["lint", "--strict", chart.CHART, "--values", chart.CHART / "ci" / f"{name}.yaml"], helm_name)
    return {(name, helm_name): lint(name, helm_name) for name in chart.CI_FILES for helm_name in HELMS}


@pytest.mark.parametrize("helm_name", HELMS)
@pytest.mark.parametrize("name", chart.CI_FILES)
def test_lints(name, helm_name):
    outcome = lints()[name, helm_name].result()
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "[WARNING]" not in outcome.stdout


def test_lints_with_its_defaults_alone():
    outcome = chart.helm(["lint", "--strict", chart.CHART])
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@functools.cache
def second_renders():
    def render(name, kube_version):
        return chart.AHEAD.submit(chart.template, chart.CHART / "ci" / f"{name}.yaml", kube_version=kube_version, operator=name not in chart.WITHOUT_OPERATOR)

    return {(name, kube_version): render(name, kube_version) for name in chart.CI_FILES for kube_version in chart.KUBERNETES_VERSIONS}


@pytest.mark.parametrize("kube_version", chart.KUBERNETES_VERSIONS)
@pytest.mark.parametrize("name", chart.CI_FILES)
def test_renders_the_same_twice(name, kube_version):
    second = second_renders()[name, kube_version]
    assert chart.rendered(name, kube_version) == second.result().stdout
    chart.documents(name, kube_version)


@pytest.mark.parametrize("name", chart.CI_FILES)
def test_helm_3_and_4_render_the_same_objects(name):
    key = lambda document: (document["kind"], document["metadata"]["name"])
    assert sorted(chart.load_all(chart.rendered(name, helm_name="helm3")), key=key) == sorted(chart.documents(name), key=key)


def test_there_are_enough_values_files():
    assert len(chart.CI_FILES) >= 12


def test_kubernetes_too_old_is_refused():
    outcome = chart.template(chart.CHART / "ci" / "default.yaml", kube_version="1.24.0")
    assert outcome.returncode != 0 and "1.24" in outcome.stderr


def test_everything_off_leaves_nothing():
    assert chart.documents("everything-off") == []


def test_objects_of_the_operator_need_the_operator():
    kinds = lambda name: {one["apiVersion"] for one in chart.documents(name)}
    assert chart.OPERATOR_API not in kinds("no-operator")
    assert chart.OPERATOR_API in kinds("default")


def test_packages():
    """What is published holds the files that are links here."""
    target = os.environ.get("TMPDIR", "/tmp")
    outcome = chart.helm(["package", chart.CHART, "--destination", target])
    assert outcome.returncode == 0, outcome.stderr
    archive = outcome.stdout.strip().rsplit(" ", 1)[-1]
    try:
        listed = chart.run(["tar", "tzvf", archive]).stdout
        for file in ["files/nginx.conf.template", "files/rules.yaml", "files/dashboards/"]:
            lines = [line for line in listed.splitlines() if f"tailwater/{file}" in line]
            assert lines and all(line.startswith("-") for line in lines), f"{file}: {lines}"
        repacked = chart.template(chart.CHART / "ci" / "ha.yaml", chart=archive)
        assert repacked.stdout == chart.rendered("ha")
    finally:
        os.unlink(archive)


# What the schema refuses: (value, words of the message).
REFUSED = [
    ("agnet.enabled=true", "agnet"),
    ("agent.enabeld=true", "enabeld"),
    ("agent.config.data_dri=/x", "data_dri"),
    ("agent.config.clients[0].ttl=1s", "ttl"),
    ("agent.config.clients[0].basic_auth.password=x", "basic_auth"),
    ("agent.push.tls.secret=x", "secret"),
    ("aggregator.tls.certificate=x", "certificate"),
    ("aggregator.config.listen=0.0.0.0:1", "listen"),
    ("aggregator.config.storage.type=s3", "storage"),
    ("aggregator.limits.retention_perod=1h", "retention_perod"),
    ("aggregator.limits.retention_period=soon", "retention_period"),
    ("aggregator.overrides.shop.max_lines=3", "max_lines"),
    ("aggregator.replicas=0", "replicas"),
    ("aggregator.replicas=two", "replicas"),
    ("aggregator.image.tag=latest", "tag"),
    ("aggregator.ruler.enabled=true", "ruler"),
    ("aggregator.cache.diskBytes=5GB", "diskBytes"),
    ("apiserver.tls.secret=x", "secret"),
    ("canary.url=gateway", "url"),
    ("ui.enabled=true", "ui"),
    ("auth.mode=ldap", "mode"),
    ("storage.type=gcs", "type"),
    ("storage.s3.sse=md5", "sse"),
    ("gateway.nginxConfig.clientMaxBodySize=lots", "clientMaxBodySize"),
    ("gateway.tls.mtls=all", "mtls"),
    ("networkPolicy.egressS3Cidrs[0]=everywhere", "egressS3Cidrs"),
    ("monitoring.serviceMonitors.enabled=true", "serviceMonitors"),
    ("config.prometheusUrl=http://x", "config"),
]


@pytest.mark.parametrize("helm_name", ["helm", "helm3"])
@pytest.mark.parametrize("value, words", REFUSED, ids=[value for value, _ in REFUSED])
def test_unknown_and_mistyped_values_are_refused(value, words, helm_name):
    outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=["--set", value], helm_name=helm_name)
    assert outcome.returncode != 0, f"{value} was taken"
    assert "specifications of the schema" in outcome.stderr and words in outcome.stderr, outcome.stderr


# What the schema cannot see, refused in one sentence: (values, words).
SENTENCES = [
    ([], "tailwater needs a bucket"),
    (["minio.enabled=true"], "the password that everyone knows"),
    (["minio.enabled=true", "minio.iKnowThisIsDev=true", "storage.type=filesystem"], "exclude each other"),
    (["storage.type=filesystem"], "storage.filesystem.hostPath"),
    (["storage.type=filesystem", "storage.filesystem.hostPath=/x", "aggregator.replicas=2"], "one replica"),
    (["storage.type=filesystem", "storage.filesystem.hostPath=/x", "aggregator.autoscaling.enabled=true"], "one replica"),
    (["storage.s3.bucket=b", "gateway.nginxConfig.ssl=true"], "gateway.tls.existingSecret"),
    (["storage.s3.bucket=b", "storage.s3.kmsKeyId=k"], "set storage.s3.sse"),
    (["storage.s3.bucket=b", "auth.mode=basic"], "existingSecret"),
    (["storage.s3.bucket=b", "auth.mode=basic", "gateway.basicAuth.existingSecret=u"], "agent.push.basicAuth.existingSecret"),
    (["storage.s3.bucket=b", "agent.push.basicAuth.existingSecret=s"], "agent.push.basicAuth.username"),
    (["storage.s3.bucket=b", "auth.mode=basic", "gateway.enabled=false"], "gateway.enabled"),
    (["storage.s3.bucket=b", "tenancy.enabled=true"], "agent.push.tenantID"),
    (["storage.s3.bucket=b", "gateway.tls.existingSecret=t"], "agent.push.tls.existingSecret"),
    (["storage.s3.bucket=b", "gateway.tls.existingSecret=t", "gateway.tls.clientCaSecret=c", "gateway.tls.mtls=push", "agent.push.tls.existingSecret=a"], "agent.push.tls.clientCertificate"),
    (["storage.s3.bucket=b", "agent.push.tls.clientCertificate=true"], "agent.push.tls.existingSecret"),
    (["storage.s3.bucket=b", "gateway.enabled=false", "aggregator.tls.existingSecret=t"], "agent.push.tls.existingSecret"),
    (["storage.s3.bucket=b", "aggregator.tls.clientSecret=t"], "aggregator.tls.existingSecret"),
    (["storage.s3.bucket=b", "apiserver.enabled=true", "aggregator.tls.existingSecret=t"], "plain HTTP"),
    (["storage.s3.bucket=b", "gateway.tls.mtls=push", "agent.enabled=false"], "clientCaSecret"),
    (["storage.s3.bucket=b", "compat.lokiServices=true", "gateway.enabled=false"], "lead to the gateway"),
    (["storage.s3.bucket=b", "apiserver.enabled=true"], "apiserver.tls.certManagerIssuer"),
    (["storage.type=filesystem", "storage.filesystem.hostPath=/x", "apiserver.enabled=true"], "key from the bucket"),
    (["aggregator.enabled=false"], "nothing to pass requests on to"),
    (["aggregator.enabled=false", "gateway.enabled=false"], "no receiver"),
]


@pytest.mark.parametrize("values, words", SENTENCES, ids=[" ".join(values) or "defaults" for values, _ in SENTENCES])
def test_what_cannot_work_is_refused_in_a_sentence(values, words):
    outcome = chart.template(extra=[argument for value in values for argument in ("--set", value)])
    assert outcome.returncode != 0 and words in outcome.stderr, outcome.stderr


GOLDENS = {"default": "dev", "ha": "high availability", "compat": "swap", "minimal": "minimal", "basic-auth": "who may read", "tenants": "tenants", "rbac-api": "rights by Kubernetes", "tls-inside": "certificates on every way"}


@pytest.mark.parametrize("name", GOLDENS)
def test_renders_what_was_reviewed(name):
    """`TAILWATER_BLESS=1` writes the files anew; the difference is then read by whoever commits it."""
    path = chart.REPOSITORY / "tests/deploy/golden" / f"{name}.yaml"
    # Dashboards and rules have tests of their own and would bury the rest.
    text = "---\n".join(part for part in chart.rendered(name).split("---\n") if "/monitoring/grafana.yaml" not in part and "kind: PrometheusRule" not in part)
    if os.environ.get("TAILWATER_BLESS"):
        path.write_text(text)
    told = difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), "reviewed", "rendered", lineterm="", n=1)
    assert text == path.read_text(), "\n".join(list(told)[:60])


def test_notes_say_what_to_do_next():
    # Helm shows notes at an install alone; a dry run of one needs no cluster.
    outcome = chart.helm(["install", "tailwater", chart.CHART, "--dry-run=client", "--namespace", "monitoring", "--values", chart.CHART / "ci" / "default.yaml"])
    assert outcome.returncode == 0, outcome.stderr
    text = outcome.stdout.split("NOTES:")[1]
    assert "http://tailwater-gateway.monitoring.svc.cluster.local/loki/api/v1/" in text
    assert "helm test tailwater --namespace monitoring" in text and "doctor --config=/etc/tailwater/agent.yaml" in text
    assert "operator was not found" in text


def planted_chart(folder, name, text):
    """A copy of the chart with one more template."""
    copy = folder / "tailwater"
    shutil.copytree(chart.CHART, copy)
    (copy / "templates" / name).write_text(text)
    return copy


RANDOM = "apiVersion: v1\nkind: Secret\nmetadata: {name: random}\nstringData: {password: {{ randAlphaNum 20 }}}\n"


def test_a_planted_random_password_is_noticed(tmp_path):
    copy = planted_chart(tmp_path, "random.yaml", RANDOM)
    first, second = (chart.template(chart.CHART / "ci" / "default.yaml", chart=copy).stdout for _ in range(2))
    assert first != second
    assert random_words(copy) and not random_words(chart.CHART)


def random_words(folder):
    """Functions whose outcome differs from render to render: Flux would see drift for ever."""
    words = re.compile(r"\b(rand\w*|uuidv4|now|genPrivateKey|gen(CA|SelfSignedCert|SignedCert)\w*|htpasswd|bcrypt|lookup)\b")
    texts = (path.read_text() for path in (folder / "templates").rglob("*") if path.is_file())
    actions = (action for text in texts for action in re.findall(r"\{\{-?(.*?)-?\}\}", text, re.DOTALL) if not action.strip().startswith("/*"))
    return [action for action in actions if words.search(re.sub(r'"[^"]*"|\.[\w.]+', "", action))]


@pytest.mark.parametrize("text", ["kind: ConfigMap\nmetadata: {name: {{ .Values.nowhere.deep }}}\n", "{{- if }}\n", "apiVersion: v1\nkind: ConfigMap\n metadata: x\n"])
def test_a_planted_broken_template_is_noticed(text, tmp_path):
    copy = planted_chart(tmp_path, "broken.yaml", text)
    assert chart.helm(["lint", "--strict", copy, "--values", chart.CHART / "ci" / "default.yaml"]).returncode != 0
