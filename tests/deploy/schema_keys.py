"""Adds keys that the programs have got to values.schema.json, so that they can be given in `agent.config` and `aggregator.config`.

    python tests/deploy/schema_keys.py     writes it

A key of the aggregator gets the type of its kind; one of the agent, whose keys are texts, takes any scalar. Narrow it by hand where that says more.
"""

import json
import re

import chart
import programs

SCHEMA = chart.CHART / "values.schema.json"
DURATION = {"type": "string", "pattern": "^[0-9]+(ns|us|ms|s|m|h|d|w)([0-9]+(ns|us|ms|s|m|h|d|w))*$"}
KINDS = {
    "Boolean": {"type": "boolean"},
    "Integer": {"type": "integer"},
    "Number": {"type": "number"},
    "Size": {"type": ["string", "integer"]},
    "Duration": DURATION,
    "TextList": {"type": "array", "items": {"type": "string"}},
    "RuleList": {"type": "array"},
    "RetentionRules": {"type": "array"},
    "BlockedQueries": {"type": "array"},
    "Moment": {"type": "string", "format": "date-time"},
}
SCALAR = {"type": ["string", "integer", "number", "boolean"]}
# Keys that the chart decides, or whose secrets it keeps out of ConfigMaps.
NOT_IN_VALUES = {
    "agent": {
        "data_dir", "pods_dir", "listen", "node_name", "kubeconfig", "clients[0].bearer_token", "clients[0].basic_auth.username", "clients[0].basic_auth.password",
        "clients[0].tenant_id", "clients[0].bearer_token_file",
    },
    "aggregator": {"listen", "tenancy.enabled", "tenancy.default", "auth.mode", "auth.kubeconfig", "tls.certificate", "tls.key", "tls.client_ca", "tls.ca"},
}


def schema_keys(tree, prefix=""):
    """Dotted keys that a part of the schema allows, with the schema of each."""
    for name, part in tree.get("properties", {}).items():
        if part.get("properties"):
            yield from schema_keys(part, f"{prefix}{name}.")
        elif part.get("items", {}).get("properties") and prefix + name == "clients":
            yield from schema_keys(part["items"], f"{prefix}{name}[0].")
        else:
            yield f"{prefix}{name}", part


def parts(schema):
    """The parts of the schema that mirror a program's keys: name → (program, part)."""
    values = schema["properties"]
    return {"agent": ("tailwater-agent", values["agent"]["properties"]["config"]), "aggregator": ("tailwater-aggregator", values["aggregator"]["properties"]["config"])}


def missing(schema):
    """Keys of the programs that no value can set: part → dotted keys."""
    found = {}
    for name, (program, part) in parts(schema).items():
        keys = programs.keys_of(program)
        if name == "aggregator":
            keys = {key for key in keys if not key.startswith(("storage.", "limits.", "overrides."))}
        found[name] = keys - {key for key, _ in schema_keys(part)} - NOT_IN_VALUES[name]
    limits = {key.split(".")[1] for key in programs.keys_of("tailwater-aggregator") if key.startswith("limits.")}
    found["limits"] = limits - set(schema["definitions"]["limits"]["properties"])
    return found


def kind_of(key):
    """The schema of a key of the aggregator, by its kind in the source."""
    source = (chart.REPOSITORY / "aggregator/src/config/key.rs").read_text()
    match = re.search(rf'key\("{re.escape(key)}", Kind::(\w+)', source)
    return KINDS.get(match[1] if match else "", SCALAR)


def add(part, key, schema):
    name, _, rest = key.partition(".")
    properties = part["properties"]
    if not rest:
        properties[name] = schema
        return
    if name.endswith("[0]"):
        return add(properties[name.removesuffix("[0]")]["items"], rest, schema)
    add(properties.setdefault(name, {"type": "object", "additionalProperties": False, "properties": {}}), rest, schema)


def compact(value, indent=0):
    """JSON with short parts on a line each."""
    text = json.dumps(value)
    if len(text) + indent <= 150:
        return text
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{pad}{json.dumps(name)}: {compact(part, indent + 2)}" for name, part in value.items()) + "\n" + " " * indent + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + compact(part, indent + 2) for part in value) + "\n" + " " * indent + "]"
    return text


def completed(schema):
    """The schema with what is missing."""
    wanted = missing(schema)
    for key in sorted(wanted["agent"]):
        add(parts(schema)["agent"][1], key, SCALAR)
    for key in sorted(wanted["aggregator"]):
        add(parts(schema)["aggregator"][1], key, kind_of(key))
    for name in sorted(wanted["limits"]):
        schema["definitions"]["limits"]["properties"][name] = kind_of(f"limits.{name}")
    return schema


if __name__ == "__main__":
    SCHEMA.write_text(compact(completed(json.loads(SCHEMA.read_text()))) + "\n")
