"""A stack of the real programs, one for all tests that only look at it."""

import atexit
import json
import os
import shutil
import tempfile

import pytest

import chart
import live

# Made by the process that starts the others, which inherit the variable.
if chart.SHARED not in os.environ:
    os.environ[chart.SHARED] = tempfile.mkdtemp(prefix="tailwater-deploy-")
    atexit.register(shutil.rmtree, os.environ[chart.SHARED])


def pytest_sessionfinish():
    chart.AHEAD.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.aggregator_url = stack.aggregator()
        stack.gateway_url = stack.gateway([stack.aggregator_url])
        stack.write_lines([f"level=info shop opened {number}" for number in range(50)] + ["level=error the till is stuck"])
        stack.agent_url = stack.agent(f"{stack.gateway_url}/loki/api/v1/push")
        live.eventually("the agent's lines are stored", lambda: live.count(stack.gateway_url, '{namespace="default"}') == 51)
        yield stack


class S3:
    """A SeaweedFS with one bucket."""

    def __init__(self, stack):
        weed = chart.TOOLS / "python/bin/weed"
        if not weed.exists():
            pytest.skip("SeaweedFS is missing: run `bash tests/run --install`")
        self.credentials = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret"}
        # The aggregators get what deploy/docs/s3-policy.json gives; buckets are made by anybody.
        keys = [{"accessKey": "tester", "secretKey": "tester-secret"}, {"accessKey": "tester-2", "secretKey": "a-secret-that-nobody-may-see"}]
        user = {"name": "tester", "credentials": keys, "actions": ["Read:logs", "Write:logs", "List:logs"]}
        reader = {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}], "actions": ["Read:logs", "List:logs"]}
        owner = {"name": "owner", "credentials": [{"accessKey": "owner", "secretKey": "owner-secret"}], "actions": ["Admin"]}
        identities = stack.folder / "identities.json"
        identities.write_text(json.dumps({"identities": [user, reader, owner, {"name": "anonymous", "actions": ["Admin"]}]}))
        data = stack.folder / "weed"
        data.mkdir()
        port = live.free_port()
        ports = [f"-{part}={live.free_port()}" for part in ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc")]
        stack.start("weed", [weed, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64", "-volume.max=20", "-filer=true", "-s3=true", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.port={port}", f"-s3.config={identities}", *ports])
        url = self.url = f"http://127.0.0.1:{port}"
        self.flags = [f"--storage-s3-endpoint={url}", "--storage-s3-bucket=logs"]
        live.eventually("the bucket is made", lambda: live.ask(f"{url}/logs", method="PUT")[0] in (200, 409))


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    with live.Stack(tmp_path_factory.mktemp("s3")) as stack:
        yield S3(stack)
