"""The bucket as the chart has it reached: keys as files that are replaced, roles by a token, encryption; no secret is shown anywhere."""

import pathlib
import time
import urllib.parse

import pytest
import yaml

import chart
import front
import live
import metrics_table
import programs
from test_live import Authority

SECRET = "a-secret-that-nobody-may-see"


def mounted(folder, version, **files):
    """Replaces a mounted Secret as a kubelet does: by one rename."""
    folder.mkdir(exist_ok=True)
    data = folder / f"..{version}"
    data.mkdir()
    for name, text in files.items():
        (data / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(pathlib.Path("..data") / name)
    (folder / "..new").symlink_to(data.name)
    (folder / "..new").rename(folder / "..data")


def rendered(*values):
    outcome = chart.template(extra=["--set", "storage.s3.bucket=logs", *(argument for value in values for argument in ("--set", value))])
    assert outcome.returncode == 0, outcome.stderr
    return {chart.identity(one): one for one in chart.load_all(outcome.stdout)}


def test_keys_are_files_and_nowhere_else():
    for name in ("ha", "rbac-api", "default", "minio"):
        for document in chart.documents(name):
            for _, pod in chart.pod_specs(document):
                if document["metadata"]["name"] in ("tailwater-aggregator", "tailwater-apiserver"):
                    assert "AWS_" not in str([container.get("env") for container in pod["containers"]] + [container.get("args") for container in pod["containers"]])
                    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "s3-keys"]
                    config = yaml.safe_load(chart.find(name, "ConfigMap", "tailwater-aggregator")["data"]["aggregator.yaml"])
                    assert config["storage"]["s3"]["credentials_dir"] == mount["mountPath"] and mount["readOnly"]
    (minio,) = [one for one in chart.find("minio", "Deployment", "tailwater-aggregator")["spec"]["template"]["spec"]["volumes"] if one["name"] == "s3-keys"]
    assert minio["projected"]["sources"][0]["secret"]["items"] == [{"key": "rootUser", "path": "AWS_ACCESS_KEY_ID"}, {"key": "rootPassword", "path": "AWS_SECRET_ACCESS_KEY"}]
    ambient = yaml.safe_load(chart.find("s3-irsa", "ConfigMap", "tailwater-aggregator")["data"]["aggregator.yaml"])["storage"]["s3"]
    assert "credentials_dir" not in ambient


@pytest.fixture(scope="module")
def keys(s3):
    """Two keys of one user."""
    return [("tester", "tester-secret"), ("tester-2", SECRET)]


def test_keys_are_replaced_under_load_without_a_failed_push(tmp_path, s3, keys):
    """The Secret is replaced, later the old key is taken away; every push is stored, and nothing that is shown has the secret."""
    with live.Stack(tmp_path) as stack:
        proxy = front.Proxy(stack, "bucket", s3.url, log="$status $http_authorization")
        flags = [f"--storage-s3-endpoint={proxy.url}", "--storage-s3-bucket=logs", "--storage-prefix=rotation", "--discover-interval=200ms"]
        first, second = keys
        mounted(tmp_path / "aggregator-s3-keys", 1, AWS_ACCESS_KEY_ID=first[0], AWS_SECRET_ACCESS_KEY=first[1])
        url = stack.aggregator(values="minio", flags=flags, environment=programs.clean_environment())
        folder = tmp_path / "aggregator-s3-keys"
        pusher = live.Pusher(url, {"job": "rotation"})
        pusher.start()
        live.eventually("pushes are stored by the first key", lambda: len(pusher.answers) > 10)
        mounted(folder, 2, AWS_ACCESS_KEY_ID=second[0], AWS_SECRET_ACCESS_KEY=second[1])
        live.eventually("the second key is used", lambda: any(f"Credential={second[0]}/" in line for line in proxy.seen()))
        # A second later nobody uses what was read before.
        time.sleep(1.5)
        proxy.change(f'if ($http_authorization ~ "Credential={first[0]}/") {{ return 403; }}')
        before = len(pusher.answers)
        live.eventually("pushes go on", lambda: len(pusher.answers) > before + 20)
        assert pusher.end() == {204}, pusher.answers
        assert live.count(url, '{job="rotation"}') == len(pusher.answers)
        used = [line for line in proxy.seen() if "Credential=" in line]
        assert f"Credential={first[0]}/" in used[0] and f"Credential={second[0]}/" in used[-1]
        assert not [line for line in used if line.startswith("403")]
        printed = chart.run([programs.program("tailwater-aggregator"), "serve", "--config", tmp_path / "aggregator.yaml", "--print-config"], env=programs.clean_environment())
        assert str(folder) in printed.stdout
        shown = {path: live.ask(f"{url}{path}") for path in ("/config", "/metrics", "/services", "/ready?strict=1")}
        assert all(status == 200 for status, _ in shown.values())
        assert metrics_table.problems("Aggregator", shown["/metrics"][1]) == []
        for where, text in {**{path: text for path, (_, text) in shown.items()}, "log": stack.log("aggregator"), "--print-config": printed.stdout + printed.stderr}.items():
            assert SECRET not in text and "tester-secret" not in text, f"{where} shows a secret"


def test_a_program_that_ends_over_wrong_keys_does_not_show_them(tmp_path, s3):
    folder = tmp_path / "keys"
    mounted(folder, 1, AWS_ACCESS_KEY_ID="tester", AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=SECRET)
    flags = ["--storage-type=s3", *s3.flags, "--storage-s3-force-path-style", "--storage-s3-insecure", f"--storage-s3-credentials-dir={folder}", "--log-level=trace"]
    outcome = chart.run([programs.program("tailwater-aggregator"), "serve", *flags, f"--listen=127.0.0.1:{live.free_port()}"], env=programs.clean_environment())
    assert outcome.returncode == 1 and "refused to create an object" in outcome.stderr
    assert SECRET not in outcome.stdout + outcome.stderr
    (folder / "..data" / "AWS_SECRET_ACCESS_KEY").unlink()
    outcome = chart.run([programs.program("tailwater-aggregator"), "serve", *flags, f"--listen=127.0.0.1:{live.free_port()}"], env=programs.clean_environment())
    assert outcome.returncode == 1 and "AWS_SECRET_ACCESS_KEY" in outcome.stderr, outcome.stderr


STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken></SessionToken><Expiration>{until}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def test_the_projected_token_of_a_role_is_read_again(tmp_path, s3):
    """Workload identity: what the token is exchanged for ends at once, so each exchange has to bring the token that is there then."""
    authority = Authority(tmp_path, "sts")
    authority.issue("sts", ["IP:127.0.0.1"])
    shown = []

    def exchange(method, path, headers):
        shown.append(urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)["WebIdentityToken"][0])
        return 200, {}, STS.format(key="tester", secret="tester-secret", until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2)))

    with live.Stack(tmp_path) as stack, front.Canned(exchange, (tmp_path / "sts-sts.crt", tmp_path / "sts-sts.key")) as sts:
        token = tmp_path / "token"
        token.write_text("first")
        environment = programs.clean_environment(
            AWS_WEB_IDENTITY_TOKEN_FILE=str(token), AWS_ROLE_ARN="arn:aws:iam::111122223333:role/tailwater", AWS_ENDPOINT_URL_STS=sts.url, SSL_CERT_FILE=str(tmp_path / "sts.crt")
        )
        flags = [*s3.flags, "--storage-s3-insecure", "--storage-s3-force-path-style", "--storage-prefix=role", "--discover-interval=200ms"]
        url = stack.aggregator(values="s3-irsa", flags=flags, environment=environment, replaced=[(line, "") for line in ENCRYPTED])
        assert live.push(url, ["by a role"], {"job": "role"})[0] == 204
        token.write_text("second")
        live.eventually("the new token is shown", lambda: shown[-1] == "second")
        assert shown[0] == "first" and live.push(url, ["by a role still"], {"job": "role"})[0] == 204
        assert live.count(url, '{job="role"}') == 2


ENCRYPTED = ("    kms_key_id: arn:aws:kms:eu-west-1:111122223333:key/tailwater\n", "    sse: aws:kms\n")


@pytest.mark.parametrize("values, headers", [
    ((), "- -"),
    (("storage.s3.sse=AES256",), "AES256 -"),
    (("storage.s3.sse=aws:kms", "storage.s3.kmsKeyId=key-of-logs"), "aws:kms key-of-logs"),
])
def test_objects_are_encrypted_as_configured(values, headers, tmp_path):
    """Every request that stores bytes says how they are to be encrypted; the others do not, for servers refuse that."""
    config = rendered(*values)["ConfigMap/tailwater-aggregator"]["data"]["aggregator.yaml"]
    (tmp_path / "aggregator.yaml").write_text(config)
    stored = set()

    def store(method, path, asked):
        name = path.partition("?")[0]
        if method == "PUT":
            if name in stored:
                return 412, {}, "<Error><Code>PreconditionFailed</Code><Message>it exists</Message></Error>"
            stored.add(name)
        if method == "POST":
            return 200, {}, "<DeleteResult><Deleted><Key>x</Key></Deleted></DeleteResult>"
        if method == "GET" and "list-type" in path:
            return 200, {}, '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
        return 200, {"ETag": '"x"', "Last-Modified": "Sun, 01 Mar 2026 10:00:00 GMT"}, ""

    with front.Canned(store) as server:
        flags = [f"--storage-s3-endpoint={server.url}", "--storage-s3-insecure", "--storage-s3-force-path-style", "--config", tmp_path / "aggregator.yaml"]
        environment = programs.clean_environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        chart.run([programs.program("tailwater-aggregator"), "doctor", *flags, f"--url=http://127.0.0.1:{live.free_port()}"], env=environment)
        puts = [asked for method, _, asked, _ in server.seen if method == "PUT"]
        others = [asked for method, _, asked, _ in server.seen if method != "PUT"]
        lowered = [{name.lower(): value for name, value in asked.items()} for asked in puts]
        told = {f"{one.get('x-amz-server-side-encryption', '-')} {one.get('x-amz-server-side-encryption-aws-kms-key-id', '-')}" for one in lowered}
        assert told == {headers} and len(puts) >= 3, (told, len(puts))
        assert others and not [name for asked in others for name in asked if name.lower().startswith("x-amz-server-side")]
