"""The table of values in the chart's README, made from the comments of values.yaml.

    python tests/deploy/values_table.py     writes it

A comment `# -- text` stands above the key that it describes; keys without one are told by their name and listed without text.
"""

import json
import re

import yaml

import chart
import made_part

README = chart.CHART / "README.md"
BEGIN, END = "<!-- values: made by tests/deploy/values_table.py -->", "<!-- end of values -->"


def comments(text):
    """Dotted key → its comment."""
    found, path, pending = {}, [], None
    for line in text.splitlines():
        match = re.match(r"^(\s*)# -- (.*)$", line)
        if match:
            pending = match[2]
            continue
        match = re.match(r"^(\s*)([A-Za-z]\w*):", line)
        if match:
            depth = len(match[1]) // 2
            path = path[:depth] + [match[2]]
            if pending:
                found[".".join(path)] = pending
        if not line.lstrip().startswith("#"):
            pending = None
    return found


def rows():
    text = (chart.CHART / "values.yaml").read_text()
    told = comments(text)
    yield from walk(yaml.safe_load(text), "", told)


def walk(tree, prefix, told):
    for name, value in tree.items():
        key = prefix + name
        is_group = isinstance(value, dict) and value and name not in ("resources", "labels", "updateStrategy", "requests", "limits")
        if is_group:
            if key in told:
                yield key, "", told[key]
            yield from walk(value, key + ".", told)
        else:
            yield key, json.dumps(value, ensure_ascii=False), told.get(key, "")


def table():
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for key, default, meaning in rows():
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{key}` | {shown} | {meaning} |")
    return "\n".join(lines)


def with_table(text):
    return made_part.replaced(text, BEGIN, END, table())


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
