"""A backup of a bucket that is written to: restored, it has every line that was acknowledged before it began, each once."""

import json
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


def test_a_backup_under_load_brings_back_what_was_acknowledged(s3, tmp_path):
    with live.Stack(tmp_path) as stack:
        environment = programs.clean_environment(**s3.credentials)
        url = stack.aggregator("source", values="minio", flags=[*s3.flags, *HURRY, "--storage-prefix=live"], environment=environment)
        writer = Writer(url)
        writer.start()
        promised = []
        for _ in range(3):
            time.sleep(1)
            promised.append(writer.acknowledged)
            status, text = command(s3, "live", "backup", "create", "--to=s3://logs/backup")
            assert status == 0, text
        assert 0 < promised[0] < promised[2]
        writer.stopping.set()
        writer.join()
        stack.stop("source")
        status, text = command(s3, "live", "backup", "list", "--json", "--to=s3://logs/backup")
        backups = json.loads(text)
        assert status == 0 and len(backups) == 3
        status, text = command(s3, "live", "backup", "verify", "--to=s3://logs/backup")
        assert status == 0 and "is whole" in text, text
        for number, prefix in ((0, "first"), (2, "last")):
            status, text = command(s3, prefix, "backup", "restore", "--to=s3://logs/backup", f"--id={backups[number]['id']}")
            assert status == 0, text
            status, text = command(s3, prefix, "fsck")
            assert status == 0, text
            restored = stack.aggregator(prefix, values="minio", flags=[*s3.flags, f"--storage-prefix={prefix}"], environment=environment)
            lines, different = ledger(restored)
            assert promised[number] <= lines == different <= writer.acknowledged
            stack.stop(prefix)
        status, text = command(s3, "last", "backup", "restore", "--to=s3://logs/backup", f"--id={backups[0]['id']}")
        assert status == 1 and "empty" in text, "a store that is there is not written over"
        status, text = command(s3, "live", "backup", "prune", "--keep=1", "--to=s3://logs/backup")
        assert status == 0 and "1 backups are left" in text and text.count("was taken away") == 2, text
        status, text = command(s3, "live", "backup", "verify", "--to=s3://logs/backup")
        assert status == 0 and "is whole" in text, "the newest needs nothing of the others"
        status, text = command(s3, "again", "backup", "restore", "--to=s3://logs/backup", f"--id={backups[0]['id']}")
        assert status != 0, "it is gone"
