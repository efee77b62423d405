"""The conformance suite through the rendered gateway: what is reached there must be what is reached without it.

    python tests/deploy/conformance.py

Operators' paths are among the recorded cases, so the gateway is rendered with `gateway.exposeAdmin`. The exit status is the suite's.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import chart
import live
import programs

SUITE = chart.REPOSITORY / "tests/conformance"
# As the reference servers were configured.
PLAIN = "strict_loki: true\nlimits: {reject_old_samples: false, ingestion_rate_mb: 200, ingestion_burst_size_mb: 400}\n"
TENANTS = PLAIN + "tenancy: {enabled: true, multi_tenant_queries: true}\n"


def program(name):
    found = [folder / name for folder in programs.FOLDERS if (folder / name).exists()]
    assert found, f"{name} is not built"
    return found[0]


def main():
    with tempfile.TemporaryDirectory() as folder, live.Stack(folder) as stack:
        urls = []
        for name, text in (("plain", PLAIN), ("tenants", TENANTS + (SUITE / "suite/overrides.yaml").read_text())):
            config, port = pathlib.Path(folder) / f"{name}.yaml", live.free_port()
            config.write_text(text)
            arguments = ["serve", "--config", config, f"--listen=127.0.0.1:{port}", "--storage-type=filesystem", f"--storage-filesystem-path={folder}/{name}-store"]
            stack.start(name, [program("tailwater-aggregator"), *arguments])
            stack.wait_for(name, f"http://127.0.0.1:{port}/ready")
            urls.append(stack.gateway([f"http://127.0.0.1:{port}"], values="admin", name=f"gateway-{name}"))
        flags = ["--load", "--suite", SUITE / "suite", "--expect", os.environ.get("TAILWATER_EXPECTED", SUITE / "expected.txt"), "--longest-wait", "3"]
        return subprocess.run([program("tailwater-conformance"), "--url", urls[0], "--auth-url", urls[1], *flags]).returncode


if __name__ == "__main__":
    sys.exit(main())
