"""kustomize, Flux, the tunnel, certificates, secrets, images: each file is built, validated, and fits the chart."""

import json
import os
import pathlib
import re
import shutil

import pytest
import yaml

import chart
import policy
import refs
import schemas

OVERLAYS = sorted(path.name for path in (chart.DEPLOY / "kustomize/overlays").iterdir() if path.is_dir())


def kustomize(folder):
    outcome = chart.run([chart.tool("kubectl"), "kustomize", folder])
    assert outcome.returncode == 0, outcome.stderr
    return chart.load_all(outcome.stdout)


def built(name, tmp_path):
    """An overlay, in a copy, with the example in the place of the file of secrets that a person adds."""
    for part in ("kustomize", "minio"):
        shutil.copytree(chart.DEPLOY / part, tmp_path / part)
    overlay = tmp_path / "kustomize/overlays" / name
    for example in overlay.glob("*.example"):
        example.rename(overlay / example.stem)
    return kustomize(overlay)


def test_base_and_minio_are_what_the_chart_renders():
    for name, path in (("base", "kustomize/base/tailwater.yaml"), ("minio-only", "minio/minio.yaml")):
        outcome = chart.template(chart.CHART / "ci" / f"{name}.yaml", extra=["--skip-tests"], operator=False)
        text = (chart.DEPLOY / path).read_text()
        assert chart.load_all(text) == chart.load_all(outcome.stdout), f"{path} differs: run deploy/kustomize/render"
        assert text == outcome.stdout


def test_parts_are_what_the_chart_renders(tmp_path):
    copy = tmp_path / "deploy"
    shutil.copytree(chart.DEPLOY, copy)
    outcome = chart.run(["bash", copy / "kustomize/render"], env={**os.environ, "HELM": chart.tool("helm")})
    assert outcome.returncode == 0, outcome.stderr
    for path in ("kustomize/overlays/rbac-api/rights.yaml", "kustomize/overlays/rbac-api/changes.yaml", "grafana/datasource.yaml"):
        assert (copy / path).read_text() == (chart.DEPLOY / path).read_text(), f"{path} differs: run deploy/kustomize/render"


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_valid_and_within_the_policy(name, tmp_path):
    documents = built(name, tmp_path)
    found = [problem for one in documents for problem in schemas.problems(one, "1.30") + schemas.problems(one, "1.37")]
    ours = [one for one in documents if one["kind"] != "Secret"]
    found += [problem for one in ours for problem in policy.problems(one)]
    found += policy.together(documents)
    brought = refs.BROUGHT if name in ("no-prometheus-operator", "rbac-api") else set()
    found += refs.problems(documents, brought)
    assert not found, "\n".join(found)


def test_overlays_name_a_bucket(tmp_path):
    for name in ("s3", "dev-minio"):
        (deployment,) = [one for one in built(name, tmp_path / name) if chart.identity(one) == "Deployment/tailwater-aggregator"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        names = [variable["name"] for variable in container["env"]]
        assert "TAILWATER_STORAGE_S3_BUCKET" in names and len(set(names)) == len(names)


def test_without_the_operator_its_objects_are_gone(tmp_path):
    assert not [one for one in built("no-prometheus-operator", tmp_path) if one["apiVersion"] == chart.OPERATOR_API]


def loose_files():
    for folder in ("flux", "external-secrets", "cert-manager"):
        for path in sorted((chart.DEPLOY / folder).rglob("*.yaml")):
            if path.name not in ("kustomization.yaml", "values.yaml", ".sops.yaml"):
                yield path


@pytest.mark.parametrize("path", loose_files(), ids=lambda path: str(path.relative_to(chart.DEPLOY)))
def test_objects_of_examples_are_valid(path):
    for document in chart.load_all(path.read_text()):
        assert schemas.problems(document) == []


PLANTED = [
    ("flux/base/monitoring/tailwater/tailwater.yaml", lambda one: one["spec"]["chartRef"].update(kind="HelmRepository"), "HelmRepository"),
    ("flux/base/monitoring/tailwater/tailwater.yaml", lambda one: one["spec"].update(chartReference={}), "chartReference"),
    ("flux/base/monitoring/tailwater/ocirepository.yaml", lambda one: one["spec"].update(url="https://x"), "does not match"),
    ("flux/dev/monitoring/tailwater/ks.yaml", lambda one: one["spec"].pop("prune"), "prune"),
    ("external-secrets/tailwater-s3.yaml", lambda one: one["spec"].update(provider={"volt": {}}), "volt"),
    ("cert-manager/certificates.yaml", lambda one: one["spec"].update(selfSined={}), "selfSined"),
]


@pytest.mark.parametrize("path, plant, says", PLANTED, ids=[f"{path}: {says}" for path, _, says in PLANTED])
def test_planted_faults_of_examples_are_noticed(path, plant, says):
    document = chart.load_all((chart.DEPLOY / path).read_text())[0]
    plant(document)
    assert any(says in problem for problem in schemas.problems(document))


def flux(path):
    return chart.load_all((chart.DEPLOY / "flux" / path).read_text())[0]


def substituted(text, variables):
    """As Flux does after a build: ${name} and ${name:=default}."""

    def value(match):
        name, _, default = match[1].partition(":=")
        found = variables.get(name, default)
        assert found, f"nobody sets ${{{name}}}"
        return found

    return re.sub(r"\$\{([^}]+)\}", value, text)


def merged(left, right):
    for name, value in right.items():
        left[name] = merged(left.get(name) or {}, value) if isinstance(value, dict) else value
    return left


def test_the_helm_release_renders(tmp_path):
    """Its values, those of its ConfigMap after substitution, and what the Kustomization checks for health."""
    release, kustomization = flux("base/monitoring/tailwater/tailwater.yaml"), flux("dev/monitoring/tailwater/ks.yaml")
    built = kustomize(chart.DEPLOY / "flux/base/monitoring/tailwater")
    (config,) = [one for one in built if one["kind"] == "ConfigMap"]
    assert config["metadata"]["name"] == release["spec"]["valuesFrom"][0]["name"]
    variables = {**kustomization["spec"]["postBuild"]["substitute"], "cluster_name": "dev"}
    values = merged(yaml.safe_load(substituted(config["data"]["values.yaml"], variables)), release["spec"]["values"])
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    outcome = chart.template(tmp_path / "values.yaml")
    assert outcome.returncode == 0, outcome.stderr
    documents = chart.load_all(outcome.stdout)
    found = {chart.identity(one) for one in documents}
    for check in kustomization["spec"]["healthChecks"]:
        assert f"{check['kind']}/{check['name']}" in found
    (config,) = [one for one in documents if chart.identity(one) == "ConfigMap/tailwater-aggregator"]
    assert yaml.safe_load(config["data"]["aggregator.yaml"])["storage"]["s3"]["bucket"] == "dev-logs"
    assert list(refs.problems(documents)) == []
    assert release["spec"]["driftDetection"]["mode"] == "enabled" and release["spec"]["upgrade"]["remediation"]["strategy"] == "rollback"


def test_flux_finds_the_path_that_it_is_given():
    path = flux("dev/monitoring/tailwater/ks.yaml")["spec"]["path"]
    assert (chart.DEPLOY / "flux" / path / "kustomization.yaml").exists()


SECRETS = "flux/dev/monitoring/tailwater-secrets"


def test_flux_decrypts_the_secrets_that_the_release_reads(tmp_path):
    """SOPS: everything secret of the file is encrypted and nothing else, Flux decrypts what it applies, and the chart mounts the keys that are in it."""
    secrets = {one["metadata"]["name"]: one for one in chart.load_all((chart.DEPLOY / SECRETS / "secrets.yaml").read_text())}
    (rule,) = yaml.safe_load((chart.DEPLOY / SECRETS / ".sops.yaml").read_text())["creation_rules"]
    assert re.search(rule["path_regex"], "secrets.yaml") and rule["age"].startswith("age1")
    for one in secrets.values():
        hidden = {key for key in one if re.search(rule["encrypted_regex"], key)}
        assert hidden == set(one) - {"apiVersion", "kind", "metadata"}
    (kustomization,) = chart.load_all((chart.DEPLOY / SECRETS / "ks.yaml").read_text())
    assert kustomization["spec"]["decryption"]["provider"] == "sops" and kustomization["spec"]["path"] == f"./{SECRETS.removeprefix('flux/')}"
    assert kustomization["metadata"]["name"] in [one["name"] for one in flux("dev/monitoring/tailwater/ks.yaml")["spec"]["dependsOn"]]
    release = flux("base/monitoring/tailwater/tailwater.yaml")
    (named,) = [one["name"] for one in release["spec"]["valuesFrom"] if one["kind"] == "Secret"]
    values = tmp_path / "values.yaml"
    values.write_text(secrets[named]["stringData"]["values.yaml"])
    outcome = chart.template(values, extra=["--set", "storage.s3.bucket=b", "--show-only", "templates/aggregator/deployment.yaml"])
    (deployment,) = chart.load_all(outcome.stdout)
    (volume,) = [one for one in deployment["spec"]["template"]["spec"]["volumes"] if one["name"] == "s3-keys"]
    required = volume["projected"]["sources"][0]["secret"]
    assert {item["key"] for item in required["items"]} == set(secrets[required["name"]]["stringData"])


def test_the_namespace_lets_the_agent_in_and_stays():
    namespace = flux("base/monitoring/namespace.yaml")["metadata"]
    assert namespace["labels"] == {"istio-injection": "disabled", "pod-security.kubernetes.io/enforce": "privileged"}
    assert namespace["annotations"] == {"kustomize.toolkit.fluxcd.io/prune": "disabled"}


def test_flux_installs_upgrades_and_waits_as_agreed():
    source, release = (flux(f"base/monitoring/tailwater/{name}.yaml")["spec"] for name in ("ocirepository", "tailwater"))
    assert source["ref"].keys() == {"semver"} and source["verify"]["provider"] == "cosign"
    assert source["layerSelector"]["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    assert release["interval"] == "1h" and release["chartRef"] == {"kind": "OCIRepository", "name": "tailwater"}
    assert [release[part]["remediation"]["retries"] for part in ("install", "upgrade")] == [3, 3]
    assert {one["kind"] for one in release["valuesFrom"]} == {"ConfigMap", "Secret"}
    kustomization = flux("dev/monitoring/tailwater/ks.yaml")["spec"]
    assert kustomization["prune"] and kustomization["wait"] and kustomization["postBuild"]["substituteFrom"]
    assert "kube-prometheus-stack" in [one["name"] for one in kustomization["dependsOn"]]
    assert {one["kind"] for one in kustomization["healthChecks"]} == {"DaemonSet", "Deployment"}
    (monitor,) = [one for one in chart.load_all((chart.DEPLOY / "flux/base/monitoring/flux-alerts/alert.yaml").read_text()) if one["kind"] == "PodMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack" and monitor["metadata"]["namespace"] == "flux-system"


# Those that need no file of a person's own; overlays have tests of their own.
KUSTOMIZATIONS = sorted(path.parent for path in chart.DEPLOY.rglob("kustomization.yaml") if "overlays" not in path.parts)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: str(folder.relative_to(chart.DEPLOY)))
def test_every_kustomization_builds_what_is_valid(folder):
    documents = kustomize(folder)
    assert documents and [problem for one in documents for problem in schemas.problems(one)] == []


def tunnel_answer(config, host, path):
    """The service of the first rule that fits, as cloudflared decides."""
    for rule in config["ingress"]:
        if rule.get("hostname") in (None, host) and re.search(rule.get("path", ""), path):
            return rule["service"]
    return None


def tunnel_problems(config):
    rules = config["ingress"]
    if rules[-1] != {"service": "http_status:404"}:
        yield "the last rule does not answer all else with 404"
    if any("hostname" not in rule for rule in rules[:-1]):
        yield "a rule before the last takes every host"
    if "noTLSVerify" in json.dumps(config):
        yield "noTLSVerify"
    unknown = set(config) - {"metrics", "no-autoupdate", "originRequest", "ingress", "tunnel"}
    unknown |= {key for rule in rules for key in rule} - {"hostname", "path", "service", "originRequest"}
    if unknown:
        yield f"unknown keys {unknown}"
    for path in ("/loki/api/v1/push", "/api/prom/push", "/otlp/v1/logs", "/loki/api/v1/delete", "/flush", "/config", "/metrics", "/", "/x/loki/api/v1/query", "/loki/api/v1/query/push"):
        if tunnel_answer(config, "logs.example.com", path) != "http_status:404":
            yield f"{path} is published"
    for path in ("/loki/api/v1/query_range", "/loki/api/v1/tail", "/loki/api/v1/label/app/values", "/loki/api/v1/index/volume", "/ui/"):
        if tunnel_answer(config, "logs.example.com", path) == "http_status:404":
            yield f"{path} is not published"


def test_the_tunnel_publishes_reading_only():
    config = yaml.safe_load((chart.DEPLOY / "cloudflared/config.yaml").read_text())
    assert list(tunnel_problems(config)) == []
    assert tunnel_answer(config, "grafana.example.com", "/d/x") == "http://kube-prometheus-stack-grafana.monitoring:80"
    assert tunnel_answer(config, "other.example.com", "/") == "http_status:404"
    for plant, says in (
        (lambda one: one["ingress"].pop(), "404"),
        (lambda one: one["ingress"][2].pop("path"), "push is published"),
        (lambda one: one["ingress"][0].pop("hostname"), "every host"),
        (lambda one: one["originRequest"].update(noTLSVerify=True), "noTLSVerify"),
        (lambda one: one["ingress"][0].update(servce="x"), "unknown keys"),
    ):
        planted = json.loads(json.dumps(config))
        plant(planted)
        assert any(says in problem for problem in tunnel_problems(planted)), says


def test_the_tunnel_is_sound():
    documents = kustomize(chart.DEPLOY / "cloudflared")
    found = [problem for one in documents for problem in schemas.problems(one)]
    found += list(refs.problems(documents))
    for one in documents:
        for metadata, spec in chart.pod_specs(one):
            found += list(policy.pod(one, metadata, spec))
            for container in spec["containers"]:
                found += list(policy.of_container(one, spec, container))
    assert not found, "\n".join(found)


def test_external_secrets_give_what_the_chart_reads():
    (secret,) = [one for one in chart.load_all((chart.DEPLOY / "external-secrets/tailwater-s3.yaml").read_text()) if one["kind"] == "ExternalSecret"]
    made = {("Secret", secret["spec"]["target"]["name"])}
    deployment = chart.find("ha", "Deployment", "tailwater-aggregator")
    (volume,) = [one for one in deployment["spec"]["template"]["spec"]["volumes"] if one["name"] == "s3-keys"]
    for source in volume["projected"]["sources"]:
        assert ("Secret", source["secret"]["name"]) in made
        for item in source["secret"]["items"]:
            assert source["secret"].get("optional") or item["key"] in secret["spec"]["target"]["template"]["data"]
    placeholders = set(re.findall(r"\.(\w+)", " ".join(secret["spec"]["target"]["template"]["data"].values())))
    assert placeholders == {one["secretKey"] for one in secret["spec"]["data"]}


def test_certificates_are_those_that_the_gateway_mounts():
    documents = chart.load_all((chart.DEPLOY / "cert-manager/certificates.yaml").read_text())
    secrets = {one["spec"]["secretName"] for one in documents if one["kind"] == "Certificate"}
    head = (chart.DEPLOY / "cert-manager/certificates.yaml").read_text().split("apiVersion")[0]
    named = re.findall(r"gateway\.tls\.\w+Secret: ([\w-]+\w)", head)
    assert len(named) == 2 and set(named) <= secrets
    values = [argument for pair in re.findall(r"(gateway\.tls\.\w+): ([\w-]+\w)", head) for argument in ("--set", "=".join(pair))]
    outcome = chart.template(chart.CHART / "ci" / "mtls.yaml", extra=values)
    assert outcome.returncode == 0, outcome.stderr
    issuers = {one["metadata"]["name"] for one in documents if one["kind"] == "Issuer"}
    assert {one["spec"]["issuerRef"]["name"] for one in documents if one["kind"] == "Certificate"} <= issuers


def test_the_bucket_policies_agree():
    """What the guide gives and what the development MinIO gets: the same actions, no wildcard."""
    shipped = json.loads((chart.DEPLOY / "docs/s3-policy.json").read_text())
    minio = json.loads(chart.find("default", "ConfigMap", "tailwater-minio-setup")["data"]["policy.json"])
    actions = lambda one: {action for statement in one["Statement"] for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])}
    assert actions(minio) - actions(shipped) == {"s3:GetBucketLocation"}
    assert actions(shipped) == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListBucket"}
    assert not [action for action in actions(shipped) | actions(minio) if "*" in action]


def dockerfile_problems(text):
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.MULTILINE)
    names = {name for _, name in stages if name}
    for image, _ in stages:
        if image not in names and image != "scratch" and (":" not in image or image.endswith(":latest")):
            yield f"image {image} says nothing about its version"
    if {"agent", "aggregator"} - names:
        yield "a target is missing"
    for target in ("agent", "aggregator"):
        stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", text, re.MULTILINE | re.DOTALL)
        if stage is None:
            continue
        user = re.search(r"^USER (\d+):(\d+)$", stage[1], re.MULTILINE)
        kind, owner = {"agent": ("DaemonSet", 0), "aggregator": ("Deployment", 65532)}[target]
        pod = chart.find("default", kind, f"tailwater-{target}")["spec"]["template"]["spec"]["securityContext"]
        if not user or int(user[1]) != owner or pod["runAsUser"] != owner:
            yield f"{target}: the image's user and the chart's differ"
        if f'ENTRYPOINT ["/tailwater-{target}"]' not in stage[1]:
            yield f"{target}: the chart gives arguments to /tailwater-{target}"
        if re.search(r"^(RUN|ADD) ", stage[1], re.MULTILINE):
            yield f"{target}: the image is not empty but for the program"


def test_the_container_file():
    text = (chart.DEPLOY / "Dockerfile").read_text()
    assert list(dockerfile_problems(text)) == []
    sources = {path for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for path in source.split()}
    assert {path for path in sources if not (chart.REPOSITORY / path).exists()} == set()
    let_in = (chart.DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in let_in and {line.removeprefix("!") for line in let_in if line.startswith("!")} == sources
    members = re.search(r"members = \[(.*?)\]", (chart.REPOSITORY / "Cargo.toml").read_text(), re.DOTALL)[1]
    assert {member.split("/")[0] for member in re.findall(r'"([^"]+)"', members)} <= sources, "a crate of the workspace is not copied"
    toolchain = re.search(r'channel = "([\d.]+)"', (chart.REPOSITORY / "rust-toolchain.toml").read_text())[1]
    assert f"FROM rust:{toolchain}-alpine AS build" in text, "the image is not built with the repository's toolchain"
    for planted, says in (
        (text.replace(f"rust:{toolchain}-alpine", "rust:latest"), "says nothing about its version"),
        (text.replace("USER 65532:65532", "USER 0:0"), "differ"),
        (text.replace("USER 0:0", "RUN id\nUSER 0:0"), "not empty"),
        (text.replace(" AS agent", " AS agnet"), "a target is missing"),
    ):
        assert any(says in problem for problem in dockerfile_problems(planted)), says


def test_the_build_has_all_that_cargo_asks_for(tmp_path):
    """The workspace as it is in the image being built: what is let in and copied, and nothing else."""
    let_in = [line.removeprefix("!") for line in (chart.DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in let_in:
        source = chart.REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)

    def programs_of(folder):
        # What other platforms need is not on this machine.
        outcome = chart.run(["cargo", "metadata", "--locked", "--offline", "--format-version=1", f"--filter-platform={host}"], cwd=folder)
        assert outcome.returncode == 0, outcome.stderr
        members = json.loads(outcome.stdout)
        targets = [target for package in members["packages"] if package["id"] in members["workspace_members"] for target in package["targets"]]
        assert not [target for target in targets if not pathlib.Path(target["src_path"]).exists()]
        return {target["name"] for target in targets if "bin" in target["kind"]}

    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    host = re.search(r"^host: (\S+)$", chart.run(["rustc", "-vV"]).stdout, re.MULTILINE)[1]
    built = set(re.findall(r"--bin (\S+)", (chart.DEPLOY / "Dockerfile").read_text()))
    assert built == {"tailwater-agent", "tailwater-aggregator"} and built <= programs_of(tmp_path)
    shutil.rmtree(tmp_path / "proto")
    with pytest.raises(AssertionError, match="proto"):
        programs_of(tmp_path)


def test_a_job_is_never_changed_but_made_anew():
    """Kubernetes refuses to change a Job's pods, so whatever changes them must change the name; and nobody waits for it before it may run."""

    def job(*values):
        outcome = chart.template(chart.CHART / "ci" / "default.yaml", extra=[argument for value in values for argument in ("--set", value)])
        (found,) = [one for one in chart.load_all(outcome.stdout) if one["kind"] == "Job"]
        assert "helm.sh/hook" not in found["metadata"].get("annotations", {})
        return found["metadata"]["name"], found["spec"]["template"]

    name, pods = job()
    assert job("aggregator.replicas=2") == (name, pods)
    for change in ("minio.bucket=other", "minio.clientImage.tag=x", "global.image.registry=r", "minio.existingSecret=s"):
        other_name, other_pods = job(change)
        assert other_pods != pods and other_name != name, change


RELEASED = chart.REPOSITORY / "tests/deploy/released.json"
IMMUTABLE = {
    "Deployment": ["spec.selector"],
    "DaemonSet": ["spec.selector"],
    "StatefulSet": ["spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"],
    "ClusterRoleBinding": ["roleRef"],
    "RoleBinding": ["roleRef"],
    "Service": ["spec.clusterIP"],
    "PriorityClass": ["value"],
}


def immutable_fields():
    found = {}
    for name in chart.CI_FILES:
        for document in chart.documents(name):
            for path in IMMUTABLE.get(document["kind"], []):
                value = document
                for part in path.split("."):
                    value = value.get(part) if isinstance(value, dict) else None
                found[f"{chart.identity(document)} {path}"] = value
    return json.loads(json.dumps(found))


def upgrade_problems(released, now):
    """An upgrade from the release cannot change these; what is new, or gone, it can."""
    return [f"{key}: {released[key]} became {now[key]}" for key in released.keys() & now.keys() if released[key] != now[key]]


def test_an_upgrade_changes_no_immutable_field():
    """`TAILWATER_BLESS=1` adds what is new; what was released stays as it was."""
    now = immutable_fields()
    released = json.loads(RELEASED.read_text()) if RELEASED.exists() else {}
    if os.environ.get("TAILWATER_BLESS"):
        RELEASED.write_text(json.dumps({**now, **released}, indent=1, sort_keys=True) + "\n")
        released = json.loads(RELEASED.read_text())
    assert upgrade_problems(released, now) == []
    assert now.keys() <= released.keys(), f"not recorded yet: {now.keys() - released.keys()}"
    planted = json.loads(json.dumps(now))
    planted["DaemonSet/tailwater-agent spec.selector"]["matchLabels"]["app.kubernetes.io/version"] = "0.2.0"
    assert len(upgrade_problems(released, planted)) == 1
