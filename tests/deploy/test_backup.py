"""A backup of a bucket that is written to: restored, it has every line that was acknowledged before it began, each once."""

import base64
import json
import os
import threading
import time

import chart
import live
import programs

# Objects are replaced and deleted while they are copied.
HURRY = ["--compaction-compact-after=200ms", "--compaction-retire-after=500ms", "--discover-interval=200ms"]


class Writer(threading.Thread):
    """Pushes numbered lines until it is told to stop; `acknowledged` are those that were answered with 204."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.acknowledged, self.stopping = url, 0, threading.Event()

    def run(self):
        while not self.stopping.is_set():
            numbers = range(self.acknowledged, self.acknowledged + 20)
            status, text = live.push(self.url, [f"number={number} of the ledger" for number in numbers], {"job": "ledger"})
            assert status == 204, text
            self.acknowledged += 20


def command(s3, prefix, *arguments):
    flags = ["--storage-type=s3", "--storage-s3-force-path-style", "--storage-s3-insecure", f"--storage-prefix={prefix}", *s3.flags]
    outcome = chart.run([programs.program("tailwater-aggregator"), *arguments, *flags], env=programs.clean_environment(**s3.credentials))
    return outcome.returncode, outcome.stdout + outcome.stderr


def ledger(url):
    """Number of lines, and of different ones."""
    status, answer = live.query(url, 'sum(count_over_time({job="ledger"}[1h]))')
    assert status == 200, answer
    status, different = live.query(url, 'count(count by (number) (count_over_time({job="ledger"} | logfmt [1h])))')
    assert status == 200, different
    return [int(one["data"]["result"][0]["value"][1]) for one in (answer, different)]


def report(text):
    """A line of figures, which tests/run shows at its end, as the drills do."""
    print(f"FIGURES {text}")
    if "TAILWATER_E2E_REPORT" in os.environ:
        with open(os.environ["TAILWATER_E2E_REPORT"], "a") as file:
            file.write(f"{text}\n")


def test_a_backup_under_load_brings_back_what_was_acknowledged(s3, tmp_path):
    with live.Stack(tmp_path) as stack:
        environment = programs.clean_environment(**s3.credentials)
        url = stack.aggregator("source", values="minio", flags=[*s3.flags, *HURRY, "--storage-prefix=live"], environment=environment)
        writer = Writer(url)
        writer.start()
        promised = []
        for _ in range(3):
            before = writer.acknowledged
            live.eventually("lines are acknowledged meanwhile", lambda: writer.acknowledged > before + 100)
            promised.append(writer.acknowledged)
            status, text = command(s3, "live", "backup", "create", "--to=s3://logs/backup")
            assert status == 0, text
        assert 0 < promised[0] < promised[2]
        writer.stopping.set()
        writer.join()
        # Random, so that its file is large too: where a backup is in the same bucket, the server copies what is larger than 8 MiB.
        assert live.push(url, [base64.b64encode(os.urandom(31_000)).decode() for _ in range(300)], {"job": "large"})[0] == 204
        status, text = command(s3, "live", "backup", "create", "--to=s3://logs/large")
        assert status == 0 and "by the store itself" in text, text
        stack.stop("source", kill=True)
        status, text = command(s3, "live", "backup", "list", "--json", "--to=s3://logs/backup")
        backups = json.loads(text)
        assert status == 0 and len(backups) == 3
        status, text = command(s3, "live", "backup", "verify", "--to=s3://logs/backup")
        assert status == 0 and "is whole" in text, text
        for number, prefix in ((0, "first"), (2, "last")):
            begun = time.monotonic()
            status, text = command(s3, prefix, "backup", "restore", "--to=s3://logs/backup", f"--id={backups[number]['id']}")
            assert status == 0, text
            copied = time.monotonic() - begun
            restored = stack.aggregator(prefix, values="minio", flags=[*s3.flags, f"--storage-prefix={prefix}"], environment=environment)
            lines, different = ledger(restored)
            answered = time.monotonic() - begun
            assert promised[number] <= lines == different <= writer.acknowledged
            report(f"restore ({prefix} backup): {text.splitlines()[-1]}; copied in {copied:.1f} s, {lines} lines counted {answered:.1f} s after it began")
            stack.stop(prefix, kill=True)
            status, text = command(s3, prefix, "fsck")
            assert status == 0, text
        status, text = command(s3, "last", "backup", "restore", "--to=s3://logs/backup", f"--id={backups[0]['id']}")
        assert status == 1 and "empty" in text, "a store that is there is not written over"
        status, text = command(s3, "live", "backup", "prune", "--keep=1", "--to=s3://logs/backup")
        assert status == 0 and "1 backups are left" in text and text.count("was taken away") == 2, text
        status, text = command(s3, "live", "backup", "verify", "--to=s3://logs/backup")
        assert status == 0 and "is whole" in text, "the newest needs nothing of the others"
        status, text = command(s3, "again", "backup", "restore", "--to=s3://logs/backup", f"--id={backups[0]['id']}")
        assert status != 0, "it is gone"


def test_history_is_copied_through_the_query_api(tmp_path):
    """Every stream, metadata too, in pages; a second time it adds nothing. Our own API stands for Loki's."""
    program = programs.program("tailwater-aggregator")
    with live.Stack(tmp_path) as stack:
        flags = ["--storage-type=filesystem"]
        source = stack.aggregator("source", flags=[*flags, f"--storage-filesystem-path={tmp_path / 'source-store'}"])
        now, hour = time.time_ns(), 3600 * 10**9
        streams = []
        for number, labels in enumerate(({"app": "till", "pod": "till-0"}, {"job": "cron"}, {"pod": "alone-0"})):
            values = [[str(now - (30 - part) * hour // 10), f"line {part} of {number}", {"trace": f"t{part}"}] for part in range(30)]
            streams.append({"stream": labels, "values": values})
        body = json.dumps({"streams": streams}).encode()
        assert live.ask(f"{source}/loki/api/v1/push", data=body, headers={"Content-Type": "application/json"})[0] == 204
        told = []
        for _ in range(2):
            command = [program, "import", f"--from-loki={source}", "--page=7", *flags, f"--storage-filesystem-path={tmp_path / 'copy-store'}"]
            outcome = chart.run(command, env=programs.clean_environment())
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
            told.append(outcome.stdout.splitlines()[-1])
        assert told == ["90 read, 90 stored, 0 duplicates, 0 refused", "90 read, 0 stored, 90 duplicates, 0 refused"]
        copy = stack.aggregator("copy", flags=[*flags, f"--storage-filesystem-path={tmp_path / 'copy-store'}"])
        for selector in ('{app="till"}', '{job="cron"}', '{pod=~".+"}', '{pod="alone-0"} | trace="t3"'):
            answers = [live.query(url, selector, path="query_range", since="12h", limit=500)[1]["data"]["result"] for url in (source, copy)]
            assert answers[0] and sorted(answers[0], key=str) == sorted(answers[1], key=str), selector
        refused = chart.run([program, "import", "--from-loki=http://127.0.0.1:1/", "--from=yesterday", *flags, f"--storage-filesystem-path={tmp_path / 'copy-store'}"], env=programs.clean_environment())
        assert refused.returncode != 0 and "yesterday" in refused.stderr, refused.stderr
