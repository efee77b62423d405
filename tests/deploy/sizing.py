"""The table of docs/sizing.md, from lines a second and what the last committed benchmark measured.

    python tests/deploy/sizing.py     writes it
"""

import json

import chart
import made_part

GUIDE = chart.DEPLOY / "docs/sizing.md"
RESULTS = chart.REPOSITORY / "tests/bench/results/store-500m.json"
BEGIN, END = "<!-- sizing: made by tests/deploy/sizing.py -->", "<!-- end of sizing -->"
LINE_BYTES = 200
DAYS = 31
# (cluster, lines/s, agent's requests, aggregator's replicas × requests)
CLUSTERS = [
    ("homelab, 1–3 nodes", 200, "20m, 32 MiB", "1 × 100m, 256 MiB"),
    ("team, 10 nodes", 5_000, "30m, 40 MiB", "1 × 500m, 1 GiB"),
    ("department, 50 nodes", 50_000, "60m, 64 MiB", "3 × 1, 2 GiB"),
    ("large, 500 nodes", 500_000, "100m, 96 MiB", "7 × 4, 8 GiB"),
]


def measured():
    """Stored bytes for each byte of lines; CPU seconds for each GB of lines, compaction included."""
    figures = json.loads(RESULTS.read_text())["figures"]
    return round(figures["stored"]["value"], 2), figures["push_and_background"]["value"]


def shown_bytes(count):
    unit, size = ("TB", 1e12) if count >= 0.8e12 else ("GB", 1e9)
    value = count / size
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def shown_cores(cores):
    return f"{max(1, round(cores * 1000))}m" if cores < 1 else f"{cores:.1f}"


def cores_for_writing(lines_per_second):
    return lines_per_second * LINE_BYTES / 1e9 * measured()[1]


def table():
    stored, _ = measured()
    lines = [f"| cluster | lines/s | raw/day | agent, each | writing | aggregator | bucket for {DAYS} d at {stored:.2f} |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, rate, agent, aggregator in CLUSTERS:
        raw = rate * LINE_BYTES * 86_400
        lines.append(f"| {name} | {rate:,} | {shown_bytes(raw)} | {agent} | {shown_cores(cores_for_writing(rate))} CPU | {aggregator} | {shown_bytes(raw * DAYS * stored)} |")
    return "\n".join(lines)


def with_table(text):
    return made_part.replaced(text, BEGIN, END, table())


if __name__ == "__main__":
    GUIDE.write_text(with_table(GUIDE.read_text()))
