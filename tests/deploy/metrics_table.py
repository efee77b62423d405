"""docs/metrics.md: what the programs export, as they say it themselves.

Tests hold what they scrape against it; with `TAILWATER_BLESS=1` they write what they find into it.
"""

import os
import re

import chart
import metric_names

GUIDE = chart.REPOSITORY / "docs/metrics.md"
HEAD = "| Metric | Kind | Labels | Meaning |\n| --- | --- | --- | --- |\n"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)


def families(exposition):
    """Name → (kind, labels, meaning). Counters have the name of their samples."""
    found, labels = {}, {}
    for line in exposition.splitlines():
        if sample := re.match(r"(\w+?)(?:_bucket|_sum|_count)?\{(.*)\} ", line):
            labels.setdefault(metric_names.base(sample[1]), set()).update(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', sample[2]))
    meanings = dict(re.findall(r"^# HELP (\w+) (.*)$", exposition, re.MULTILINE))
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", exposition, re.MULTILINE):
        shown = name if kind != "counter" or name.endswith("_total") else f"{name}_total"
        found[shown] = (kind, frozenset(labels.get(metric_names.base(name), set()) - {"le"}), meanings[name].rstrip("."))
    return found


def section(text, program):
    """(before, rows, after) of a program's table."""
    begin = text.index(HEAD, text.index(f"\n## {program}\n")) + len(HEAD)
    end = begin + re.match(r"(?:\|.*\n)*", text[begin:]).end()
    rows = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in ROW.findall(text[begin:end])}
    return text[:begin], rows, text[end:]


def written(rows):
    names = lambda labels: ", ".join(f"`{label}`" for label in sorted(labels))
    return "".join(f"| `{name}` | {kind} | {names(labels)} | {meaning} |\n" for name, (kind, labels, meaning) in sorted(rows.items()))


def problems(program, exposition):
    """What the table of a program does not say of what was scraped."""
    before, rows, after = section(GUIDE.read_text(), program)
    scraped = families(exposition)
    if os.environ.get("TAILWATER_BLESS"):
        for name, (kind, labels, meaning) in scraped.items():
            rows[name] = (kind, labels | rows.get(name, ("", frozenset(), ""))[1], meaning)
        GUIDE.write_text(before + written(rows) + after)
    found = []
    for name, (kind, labels, meaning) in scraped.items():
        row = rows.get(name)
        if row is None or row[0] != kind or row[2] != meaning or not labels <= row[1]:
            found.append(f"{name} is {kind} by {sorted(labels)}, {meaning!r}; {GUIDE.name} says {row}")
    return found


def documented():
    """Names of all programs."""
    return {name for name, *_ in ROW.findall(GUIDE.read_text())}
