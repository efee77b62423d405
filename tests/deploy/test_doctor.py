"""`tailwater-aggregator doctor`: each cause is made, with real servers where one can be brought to it, and the first broken step has to be that cause."""

import contextlib
import json
import shutil
import ssl
import time

import pytest

import chart
import front
import live
import programs
from test_live import Authority

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret"}


def doctor(*flags, **variables):
    """(exit status, findings as (verdict, check, evidence, advice), the line about the first broken step)"""
    outcome = chart.run([programs.program("tailwater-aggregator"), "doctor", *flags], env=programs.clean_environment(**variables))
    findings, first = [], None
    for line in outcome.stdout.splitlines():
        if line.startswith(("ok ", "warning ", "PROBLEM ")):
            findings.append([line[:9].strip(), line[9:27].strip(), line[28:], ""])
        elif line.strip().startswith("do: "):
            findings[-1][3] = line.strip()[4:]
        elif line.startswith("first broken: "):
            first = line.removeprefix("first broken: ")
    assert findings, outcome.stdout + outcome.stderr
    return outcome.returncode, findings, first


def assert_broken(told, check, evidence, advice):
    status, findings, first = told
    assert status == 1 and first and first.startswith(f"{check}: ") and evidence in first, f"{first}\n{findings}"
    problem = next(finding for finding in findings if finding[0] == "PROBLEM")
    assert problem[1] == check and advice in problem[3], problem


def s3_flags(url, bucket="logs", path_style=True):
    flags = ["--storage-type=s3", f"--storage-s3-endpoint={url}", f"--storage-s3-bucket={bucket}", "--storage-s3-insecure"]
    return flags + ["--storage-s3-force-path-style"] * path_style


NOBODY = "--url=http://127.0.0.1:1"


def test_a_configuration_that_is_wrong(tmp_path):
    (tmp_path / "aggregator.yaml").write_text("storage: {tpye: s3}\n")
    assert_broken(doctor("--config", tmp_path / "aggregator.yaml"), "configuration", "did you mean `storage.type`", "--check-config")
    assert_broken(doctor("--config", tmp_path / "none.yaml"), "configuration", "none.yaml", "serve --check-config")


def test_the_way_to_the_bucket(tmp_path, s3):
    assert_broken(doctor(*s3_flags("http://minio.invalid:9000"), NOBODY), "dns", "`minio.invalid` cannot be looked up", "DNS")
    assert_broken(doctor(*s3_flags("http://minio.invalid:9000", path_style=False), NOBODY), "dns", "`logs.minio.invalid`", "force_path_style")
    assert_broken(doctor(*s3_flags(f"http://127.0.0.1:{live.free_port()}"), NOBODY), "connection", "refused", "networkPolicy.egressS3Cidrs")
    plain = s3.url.replace("http://", "https://")
    assert_broken(doctor(*s3_flags(plain), NOBODY, **KEYS), "tls", "no secure connection", "storage.s3.insecure")
    Authority(tmp_path, "nobodys").issue("bucket", ["IP:127.0.0.1"])
    with live.Stack(tmp_path) as stack:
        proxy = front.Proxy(stack, "bucket", s3.url, tls=(tmp_path / "nobodys-bucket.crt", tmp_path / "nobodys-bucket.key"))
        assert_broken(doctor(*s3_flags(proxy.url), NOBODY, **KEYS), "tls", "certificate", "SSL_CERT_FILE")


def test_certificates_that_are_over(tmp_path, s3):
    """The bucket's, by an authority that is trusted, and the aggregator's own."""
    authority = Authority(tmp_path, "ours")
    authority.issue("server", ["IP:127.0.0.1"], days=0)
    certificate, key = tmp_path / "ours-server.crt", tmp_path / "ours-server.key"
    made = time.time()
    live.eventually("the certificate is over", lambda: time.time() > made + 1)
    with live.Stack(tmp_path) as stack:
        proxy = front.Proxy(stack, "bucket", s3.url, tls=(certificate, key))
        assert_broken(doctor(*s3_flags(proxy.url), NOBODY, SSL_CERT_FILE=str(tmp_path / "ours.crt"), **KEYS), "tls", "expired", "not be over")
        own = [f"--storage-filesystem-path={tmp_path / 'store'}", "--storage-type=filesystem", f"--tls-certificate={certificate}", f"--tls-key={key}"]
        url = stack.aggregator(flags=own, scheme="https", context=ssl._create_unverified_context())
        assert_broken(doctor(*own, f"--listen={url.partition('://')[2]}"), "certificate", "the server's certificate ends in -", "renew the files of `tls.certificate`")
        assert_broken(doctor(*own, f"--url={url}", f"--ca-file={tmp_path / 'ours.crt'}"), "tls", "expired", "--ca-file")


def test_keys_and_rights(tmp_path, s3):
    flags = [*s3_flags(s3.url), NOBODY]
    for variables, check, evidence, advice in [
        ({"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "x"}, "credentials", "InvalidAccessKeyId", "correct the keys"),
        ({"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "x"}, "credentials", "SignatureDoesNotMatch", "correct the keys"),
        ({"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reader-secret"}, "rights", "to create an object was refused: AccessDenied", "s3-policy.json"),
    ]:
        assert_broken(doctor(*flags, **variables), check, evidence, advice)
    assert_broken(doctor(*flags, f"--storage-s3-credentials-dir={tmp_path}"), "credentials", "AWS_ACCESS_KEY_ID", "mount the Secret")
    owner = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner-secret"}
    assert_broken(doctor(*s3_flags(s3.url, "nowhere"), NOBODY, **owner), "bucket", "NoSuchBucket", "make the bucket")


def error(code, message="no"):
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"


LISTING = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def refusing(method, status, text, headers=None):
    """A server that does everything but one thing."""

    def answer(asked, path, _):
        if asked == method:
            return status, headers or {}, text
        return 200, headers or {}, LISTING if "list-type" in path else ""

    return answer


# What no server of these tests can be brought to: (answer, check, evidence, advice).
CANNED = {
    "clock": (refusing("GET", 403, error("RequestTimeTooSkewed"), {"Date": "Sun, 01 Mar 2020 10:00:00 GMT"}), "clock", "ahead of that of the bucket's server", "NTP"),
    "skew without a date": (refusing("GET", 403, error("RequestTimeTooSkewed")), "clock", "RequestTimeTooSkewed", "NTP"),
    "region": (refusing("GET", 301, error("PermanentRedirect"), {"x-amz-bucket-region": "eu-central-1"}), "region", "the bucket is in `eu-central-1`", "set `storage.s3.region` to `eu-central-1`"),
    "region of the signature": (refusing("GET", 400, error("AuthorizationHeaderMalformed")), "region", "AuthorizationHeaderMalformed", "storage.s3.region"),
    "quota": (refusing("PUT", 507, error("XMinioStorageFull")), "quota", "XMinioStorageFull", "make room"),
    "encryption": (refusing("PUT", 400, error("KMS.NotFoundException")), "encryption", "KMS.NotFoundException", "kms_key_id"),
    "expired": (refusing("GET", 400, error("ExpiredToken")), "credentials", "ExpiredToken", "AWS_SESSION_TOKEN"),
    "overload": (refusing("PUT", 503, error("SlowDown")), "store", "SlowDown", "overloaded"),
}


@pytest.mark.parametrize("name", CANNED)
def test_what_a_bucket_answers(name):
    answer, check, evidence, advice = CANNED[name]
    with front.Canned(answer) as server:
        assert_broken(doctor(*s3_flags(server.url), NOBODY, **KEYS), check, evidence, advice)


def test_a_store_that_ignores_conditions(tmp_path):
    s3rver = chart.TOOLS / "npm/node_modules/.bin/s3rver"
    if not s3rver.exists() or not shutil.which("node"):
        pytest.skip("s3rver is missing: run `bash tests/run --install`")
    with live.Stack(tmp_path) as stack:
        port = live.free_port()
        stack.start("s3rver", [s3rver, "-d", tmp_path / "objects", "-a", "127.0.0.1", "-p", port, "--no-vhost-buckets", "--configure-bucket", "logs"])
        url = f"http://127.0.0.1:{port}"
        live.eventually("the server answers", lambda: live.ask(url)[0])
        keys = {"AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER"}
        assert_broken(doctor(*s3_flags(url), NOBODY, **keys), "conditional put", "ignores `If-None-Match: *`", "does not start on this one")


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    assert_broken(doctor(f"--storage-filesystem-path={tmp_path}/file", NOBODY), "store", "/file", "storage.")
    assert_broken(doctor(f"--storage-filesystem-path={tmp_path}/none", NOBODY), "store", "there is no folder", "mount")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_full(tmp_path):
    """A file system of its own, filled to the last byte."""
    if chart.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path]).returncode != 0:
        pytest.skip("mounting a file system takes root")
    try:
        with contextlib.suppress(OSError), open(tmp_path / "filling", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        assert_broken(doctor(f"--storage-filesystem-path={tmp_path}", NOBODY), "quota", "No space left", "make room")
    finally:
        assert chart.run(["umount", tmp_path]).returncode == 0


class Scene:
    """An aggregator on a folder, with tenants, that folds at once; `doctor` looks at both."""

    def __init__(self, stack, *flags, values="filesystem", name="aggregator"):
        self.store = [f"--storage-filesystem-path={stack.folder / name}-store", "--storage-type=filesystem", "--compaction-compact-after=100ms", "--tenancy-enabled", *flags]
        self.url = stack.aggregator(name, values=values, flags=self.store)

    def doctor(self, *flags):
        return doctor(*self.store, f"--url={self.url}", *flags)

    def push(self, tenant, *lines, age=0, labels=None):
        now = time.time_ns() - int(age * 1e9)
        body = {"streams": [{"stream": labels or {"job": "a"}, "values": [[str(now + number), line] for number, line in enumerate(lines)]}]}
        headers = {"Content-Type": "application/json", **({"X-Scope-OrgID": tenant} if tenant else {})}
        return live.ask(f"{self.url}/loki/api/v1/push", data=json.dumps(body).encode(), headers=headers)[0]

    def is_folded(self, tenant):
        return any(tenant in finding[2] for finding in self.doctor()[1] if finding[1] == "tenant")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("doctor")) as stack:
        scene = Scene(stack, "--limits-creation-grace-period=1h")
        for tenant, age in (("shop", 0), ("bank", 3 * 3600), ("ahead", -1200)):
            assert scene.push(tenant, *(f"line {number}" for number in range(100)), age=age) == 204
        live.eventually("lines are in data files", lambda: all(scene.is_folded(tenant) for tenant in ("shop", "bank", "ahead")))
        scene.stack = stack
        yield scene


def test_nothing_wrong_is_found_where_nothing_is_wrong(scene):
    status, findings, first = scene.doctor("--tenant=shop")
    assert (status, first) == (0, None) and {finding[0] for finding in findings} == {"ok"}, findings
    for check, part in (("configuration", "right"), ("rights", "listed, created, read and removed"), ("conditional put", "one wins"), ("ready", "is ready"), ("clock", "agree"),
                        ("store", "stored its last segment"), ("figures", "within their bounds"), ("received", "300 lines"), ("data", "`shop` has lines of the last hour")):
        assert any(finding[1] == check and part in finding[2] for finding in findings), f"{check}: {findings}"


def test_lines_that_are_there_and_not_found(scene):
    assert_broken(scene.doctor("--tenant=nobody"), "tenant", "those of `ahead`, `bank`, `shop` are in the store", "X-Scope-OrgID")
    assert_broken(scene.doctor("--tenant=bank"), "time range", "lines of the last day", "clock of the viewer")
    assert_broken(scene.doctor("--tenant=ahead"), "clock", "their senders' clocks are ahead", "NTP")


def test_the_way_to_the_server(scene, tmp_path):
    assert_broken(doctor(*scene.store, f"--url=http://127.0.0.1:{live.free_port()}"), "connection", "refused", "start the aggregator")
    assert_broken(doctor(*scene.store, "--url=http://tailwater.invalid:3100"), "dns", "`tailwater.invalid`", "--url")
    assert_broken(doctor(*scene.store, f"--url={scene.url.replace('http', 'https')}"), "tls", "no answer", "--ca-file")
    with live.Stack(tmp_path) as stack:
        gateway = stack.gateway([f"http://127.0.0.1:{live.free_port()}"])
        assert_broken(doctor(*scene.store, f"--url={gateway}"), "gateway", "reaches no aggregator (502)", "network policy")
        good = stack.gateway([scene.url], name="good")
        status, findings, _ = doctor(*scene.store, f"--url={good}", "--tenant=shop")
        assert status == 0 and ["warning", "figures"] in [finding[:2] for finding in findings], findings
        closed = stack.gateway([scene.url], values="basic-auth", name="closed")
        assert_broken(doctor(*scene.store, f"--url={closed}", "--tenant=shop"), "server", "answers 401 to /ready", "name an aggregator")


def test_a_server_of_another_time_and_one_that_stops():
    viewer = refusing("POST", 400, "", {"Date": "Sun, 01 Mar 2020 10:00:00 GMT"})
    with front.Canned(viewer) as server:
        assert_broken(doctor(f"--url={server.url}"), "clock", "ahead of that of the aggregator", "NTP")
    with front.Canned(lambda *_: (503, {}, "stopping")) as server:
        assert_broken(doctor(f"--url={server.url}"), "ready", "not ready: stopping", "look at its log")


def test_the_other_replicas(scene, tmp_path):
    for peer, evidence in (("http://peers.invalid:3100", "`peers.invalid` cannot be looked up"), (f"http://127.0.0.1:{live.free_port()}", "1 of the 1 addresses")):
        (tmp_path / "aggregator.yaml").write_text(f"peers: ['{peer}']\n")
        assert_broken(scene.doctor("--config", tmp_path / "aggregator.yaml", "--tenant=shop"), "peers", evidence, "")


def test_lines_that_are_refused(tmp_path):
    """Each reason by a tenant of its own, as one server is enough."""
    (tmp_path / "overrides.yaml").write_text("overrides: {fast: {ingestion_rate_mb: 0.001, ingestion_burst_size_mb: 0.001}, long: {max_line_size: 10B}, old: {reject_old_samples: true}}\n")
    with live.Stack(tmp_path) as stack:
        replaced = [("listen: 0.0.0.0:3100\n", "listen: 0.0.0.0:3100\n" + (tmp_path / "overrides.yaml").read_text())]
        store = [f"--storage-filesystem-path={tmp_path / 'store'}", "--storage-type=filesystem", "--tenancy-enabled", "--storage-quota-bytes=1B"]
        scene = Scene.__new__(Scene)
        scene.store, scene.url = store, stack.aggregator(flags=store, replaced=replaced)
        scene.push("old", "x", age=30 * 86400)
        scene.push("new", "x", age=-3600)
        scene.push("long", "a line that is longer")
        scene.push("fast", "x" * 5000)
        scene.push(None, "x")
        status, findings, _ = scene.doctor()
        told = {(finding[1], part) for finding in findings if finding[0] == "PROBLEM" for part in (
            "greater_than_max_sample_age", "too_far_in_future", "line_too_long", "rate_limited", "answered with 429", "answered with 401") if part in finding[2]}
        assert status == 1 and told == {
            ("discards", "greater_than_max_sample_age"), ("discards", "too_far_in_future"), ("discards", "line_too_long"), ("discards", "rate_limited"),
            ("rate", "answered with 429"), ("tenant", "answered with 401"),
        }, findings
        assert live.push(scene.url, ["stored"], headers={"X-Scope-OrgID": "good"})[0] == 204
        assert any(finding[1] == "quota" and finding[0] == "PROBLEM" for finding in scene.doctor()[1])


def test_a_server_whose_way_to_the_bucket_broke(tmp_path, s3):
    """The bucket is fine from here: it is the server that does not reach it."""
    with live.Stack(tmp_path) as stack:
        proxy = front.Proxy(stack, "bucket", s3.url)
        flags = [f"--storage-s3-endpoint={proxy.url}", "--storage-s3-bucket=logs", "--storage-prefix=cut", "--ack-timeout=500ms"]
        url = stack.aggregator(values="minio", flags=flags, environment=programs.clean_environment(**s3.credentials))
        assert live.push(url, ["stored"])[0] == 204
        proxy.change("return 503;")
        live.eventually("pushes are refused", lambda: live.push(url, ["not stored"])[0] == 503)
        told = doctor(*s3_flags(s3.url), "--storage-prefix=cut", f"--url={url}", **KEYS)
        assert_broken(told, "store", "says 503", "its pod has another way there")
        assert any(finding[:2] == ["PROBLEM", "segment puts"] for finding in told[1]), told
        # It would try to store what waits.
        stack.stop("aggregator", kill=True)
