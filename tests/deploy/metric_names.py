"""Names of the metrics that the programs export, read from their sources; and those of others that alerts and dashboards use."""

import functools
import re

import chart

# Of kube-state-metrics, the kubelet and Prometheus itself.
OF_OTHERS = {
    "up",
    "kube_daemonset_status_number_unavailable",
    "kube_node_info",
    "kube_pod_info",
    "container_memory_working_set_bytes",
    "container_cpu_usage_seconds_total",
    "aggregator_unavailable_apiservice",
}
HISTOGRAM_PARTS = ("_bucket", "_count", "_sum")
WORDS = re.compile(r"\b[a-z_:][a-z0-9_:]*\b")


def code_of(folder):
    """Sources without their tests."""
    for path in sorted((chart.REPOSITORY / folder).rglob("*.rs")):
        if "tests" in path.parts or path.name == "tests.rs":
            continue
        yield path.read_text().split("#[cfg(test)]")[0]


@functools.cache
def of_programs():
    """Base names: without `_total`, `_bucket`, `_count`, `_sum`."""
    names = set()
    for text in code_of("aggregator/src"):
        names |= set(re.findall(r'"(tailwater_[a-z0-9_]+)"', text))
        for suffix in re.findall(r'format!\("\{prefix\}(_[a-z_]+)"\)', text):
            names.add(f"tailwater{suffix}")
    for text in code_of("agent/src"):
        names |= {base(name) for name in re.findall(r'"(promtail_[a-z0-9_]+)"', text)}
        # Those that are written out as text.
        names |= {base(name) for name in re.findall(r"\b(tailwater_agent_[a-z0-9_]+)", text)}
        names |= set(registered(text))
    return names


def registered(text):
    """Names that a source of the agent gives to a registry: under the prefix of the function that makes one, else under Promtail's."""
    first, *others = re.split(r'with_prefix\("([a-z_]+)"\)', text)
    for prefix, part in [("promtail", first), *zip(others[::2], others[1::2])]:
        yield from (f"{prefix}_{name}" for name in re.findall(r'registry\.register\(\s*"([a-z0-9_]+)"', part))
        yield from (f"{prefix}_{name}" for name in re.findall(r'\(\s*"([a-z0-9_]+)",\s*"[^"]+",\s*&self\.', part))


def base(name):
    for suffix in ("_total", *HISTOGRAM_PARTS):
        name = name.removesuffix(suffix)
    return name


def used(expression):
    """Metric names in a PromQL expression: words that are neither labels, texts, functions nor keywords."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\{[^}]*\}", "{}", text)
    text = re.sub(r"\[[^\]]*\]", "", text)
    return {word for word in WORDS.findall(text) if not re.search(rf"\b{word}\s*\(", text) and word not in KEYWORDS and not word.isdigit()}


KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "inf", "nan", "group_left", "group_right"}
