"""Writes dashboards/*.json, and the list of their LogQL that a test of the parser reads.

    python3 deploy/grafana/dashboards.py

The JSON is what ships; this is where it is edited. A test fails when the two differ.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
LOGQL_LIST = HERE.parents[1] / "aggregator/logql/testdata/dashboards.txt"

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${loki}"}
PUSH = 'route=~"loki_api_v1_push|api_prom_push|otlp_v1_logs"'
READ = 'route!~"loki_api_v1_push|api_prom_push|otlp_v1_logs|ready|live|metrics|config|services|flush|other"'
# What stands in for variables where queries are checked.
SAMPLE = {"$__auto": "5m", "$__rate_interval": "5m", "$__range": "6h", "$namespace": "default", "$app": "shop", "$pod": "shop-0", "$container": ".+", "$search": "error", "$tenant": "fake", "$node": ".+", "$aggregator": ".+", "$datasource": "", "$loki": ""}


def panel(title, kind, targets, unit, *, width=12, height=8, description="", options=None, overrides=None):
    """A panel without id and place, which `dashboard` gives. `targets`: (expression, legend)."""
    source = LOKI if any(isinstance(target, LogQuery) for target in targets) else PROMETHEUS
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": source,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": overrides or []},
        "options": options or {},
        "targets": [target.json(letter) for letter, target in zip("ABCDEFGH", targets)],
    }
    if kind == "timeseries":
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}, **made["options"]}
    return made


class Query:
    """PromQL."""

    def __init__(self, expression, legend="", instant=False):
        self.expression, self.legend, self.instant = expression, legend, instant

    def json(self, letter):
        made = {"refId": letter, "datasource": PROMETHEUS, "expr": self.expression, "legendFormat": self.legend}
        return {**made, "instant": True, "range": False} if self.instant else made


class LogQuery(Query):
    """LogQL."""

    def json(self, letter):
        return {**super().json(letter), "datasource": LOKI, "queryType": "instant" if self.instant else "range"}


def stat(title, expression, unit, *, width=4, red_above=None, query=Query, description=""):
    made = panel(title, "stat", [query(expression, instant=True)], unit, width=width, height=4, description=description, options={"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}})
    steps = [{"color": "green", "value": None}] + ([{"color": "red", "value": red_above}] if red_above is not None else [])
    made["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": steps}
    return made


def lines(title, queries, unit, **more):
    return panel(title, "timeseries", queries, unit, **more)


def stacked(title, queries, unit, **more):
    made = panel(title, "timeseries", queries, unit, **more)
    made["fieldConfig"]["defaults"]["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
    return made


def table(title, queries, unit, **more):
    made = panel(title, "table", queries, unit, **more)
    for target in made["targets"]:
        target["format"] = "table"
    return made


def logs(title, expression, **more):
    return panel(title, "logs", [LogQuery(expression)], "none", width=24, height=18, options={"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending", "dedupStrategy": "none"}, **more)


def source_variable(name, kind, label):
    return {"type": "datasource", "name": name, "label": label, "query": kind, "current": {}, "hide": 0}


def metric_variable(name, label, query):
    return {"type": "query", "name": name, "label": label, "datasource": PROMETHEUS, "query": {"query": query, "refId": name}, "refresh": 2, "includeAll": True, "allValue": ".+", "multi": True, "current": {"text": "All", "value": "$__all"}}


def log_variable(name, label, log_label, stream="", many=True):
    made = {"type": "query", "name": name, "label": label, "datasource": LOKI, "query": {"type": 1, "label": log_label, "stream": stream, "refId": name}, "refresh": 2, "multi": many, "includeAll": many, "current": {}}
    return {**made, "allValue": ".+"} if many else made


def text_variable(name, label):
    return {"type": "textbox", "name": name, "label": label, "query": "", "current": {"text": "", "value": ""}}


def dashboard(uid, title, panels, variables, description):
    x = y = row = 0
    for number, one in enumerate(panels, start=1):
        place = one["gridPos"]
        if x + place["w"] > 24:
            x, y, row = 0, y + row, 0
        place["x"], place["y"] = x, y
        x, row = x + place["w"], max(row, place["h"])
        one["id"] = number
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["tailwater"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "tags": ["tailwater"], "title": "tailwater", "asDropdown": True, "keepTime": True, "includeVars": False}],
        "panels": panels,
    }


METRICS = source_variable("datasource", "prometheus", "Metrics")
LOGS = source_variable("loki", "loki", "Logs")


def overview():
    return dashboard("tailwater-overview", "tailwater / Overview", [
        stat("Agents missing", 'sum(kube_daemonset_status_number_unavailable{daemonset="tailwater-agent"})', "none", red_above=1),
        stat("Aggregators up", 'sum(up{job=~".*tailwater-aggregator.*"})', "none"),
        stat("Lines stored per second", "sum(rate(tailwater_received_lines_total[$__rate_interval]))", "cps"),
        stat("Pushes failing", f'sum(rate(tailwater_request_duration_seconds_count{{{PUSH}, status_code=~"5.."}}[$__rate_interval])) / sum(rate(tailwater_request_duration_seconds_count{{{PUSH}}}[$__rate_interval]))', "percentunit", red_above=0.05),
        stat("Oldest line not stored", "max(tailwater_segment_flush_age_seconds)", "s", red_above=10),
        stat("Lines dropped by agents, 24 h", "sum(increase(tailwater_agent_dropped_lines_total[24h]))", "none", red_above=1),
        lines("Bytes per second", [Query("sum(rate(tailwater_agent_bytes_read_total[$__rate_interval]))", "read by agents"), Query("sum(rate(tailwater_received_bytes_total[$__rate_interval]))", "stored, with metadata"), Query("sum(rate(tailwater_segment_bytes_total[$__rate_interval]))", "written to the bucket as segments")], "Bps"),
        lines("Requests by answer", [Query("sum by (status_code) (rate(tailwater_request_duration_seconds_count[$__rate_interval]))", "{{status_code}}")], "reqps"),
        lines("Time of requests, 99th percentile", [Query(f"histogram_quantile(0.99, sum by (le) (rate(tailwater_request_duration_seconds_bucket{{{PUSH}}}[$__rate_interval])))", "push"), Query(f"histogram_quantile(0.99, sum by (le) (rate(tailwater_request_duration_seconds_bucket{{{READ}}}[$__rate_interval])))", "read")], "s", description="The highest bucket ends at 10 s."),
        lines("Refused lines by reason", [Query("sum by (reason) (rate(tailwater_discarded_lines_total[$__rate_interval]))", "{{reason}}")], "cps"),
    ], [METRICS], "Is everything that containers write stored, and can it be asked for?")


def agent():
    node = '{node=~"$node"}'
    of = lambda name: f'{name}{node}'
    return dashboard("tailwater-agent", "tailwater / Agent", [
        lines("Lines per second", [Query(f"sum by (node) (rate({of('tailwater_agent_lines_read_total')}[$__rate_interval]))", "{{node}} read"), Query(f"sum by (node) (rate({of('tailwater_agent_lines_acknowledged_total')}[$__rate_interval]))", "{{node}} acknowledged")], "cps"),
        lines("Bytes read and not acknowledged", [Query(f"sum by (node) ({of('tailwater_agent_unacked_bytes')})", "{{node}}")], "bytes"),
        lines("Age of the line that is furthest behind", [Query(f"max by (node) ({of('tailwater_agent_lag_seconds_max')})", "{{node}}")], "s"),
        lines("Bytes on the node that are not stored", [Query(f"topk(10, sum by (namespace) ({of('tailwater_agent_lag_bytes')}))", "{{namespace}}")], "bytes"),
        lines("From a line's stamp to its acknowledgement", [Query(f"histogram_quantile({q}, sum by (le) (rate({of('tailwater_agent_delivery_seconds_bucket')}[$__rate_interval])))", f"p{int(q * 100)}") for q in (0.5, 0.99)], "s"),
        lines("Pushes by outcome", [Query(f"sum by (outcome) (rate({of('tailwater_agent_push_requests_total')}[$__rate_interval]))", "{{outcome}}")], "reqps"),
        lines("Pushes in flight", [Query(of("tailwater_agent_pushes_in_flight"), "{{node}}")], "none"),
        lines("Dropped lines", [Query(f"sum by (node, reason) (increase({of('tailwater_agent_dropped_lines_total')}[$__rate_interval]))", "{{node}} {{reason}}")], "none"),
        lines("Files of which bytes may be missing", [Query(f"sum by (node, reason) (increase({of('tailwater_agent_possible_loss_total')}[$__rate_interval]))", "{{node}} {{reason}}")], "none"),
        lines("Records that went missing in the agent itself", [Query(f"sum by (node) (increase({of('tailwater_agent_balance_errors_total')}[$__rate_interval]))", "{{node}}")], "none", width=8, description="Never anything but 0."),
        lines("Open files", [Query(of("tailwater_agent_open_files"), "{{node}}")], "none", width=8),
        lines("Rotations", [Query(f"sum by (node) (rate({of('tailwater_agent_rotations_total')}[$__rate_interval]))", "{{node}}")], "ops", width=8),
        lines("Duration of the last scan", [Query(of("tailwater_agent_scan_seconds"), "{{node}}")], "s", width=8),
        lines("Instances without metadata", [Query(f"sum by (node) (increase({of('tailwater_agent_metadata_missing_total')}[$__rate_interval]))", "{{node}}")], "none", width=8),
        lines("Failed watches of the Kubernetes API", [Query(f"sum by (node) (increase({of('tailwater_agent_kube_watch_errors_total')}[$__rate_interval]))", "{{node}}")], "none", width=8),
        lines("Errors of reads and of positions", [Query(f"sum by (node) (increase({of('tailwater_agent_read_errors_total')}[$__rate_interval]))", "{{node}} reads"), Query(f"sum by (node) (increase({of('tailwater_agent_positions_write_errors_total')}[$__rate_interval]))", "{{node}} positions")], "none", width=8),
        lines("Memory", [Query('max by (node) (container_memory_working_set_bytes{container="agent", pod=~"tailwater-agent-.*", node=~"$node"})', "{{node}}")], "bytes"),
        lines("CPU", [Query('sum by (node) (rate(container_cpu_usage_seconds_total{container="agent", pod=~"tailwater-agent-.*", node=~"$node"}[$__rate_interval]))', "{{node}}")], "none"),
    ], [METRICS, metric_variable("node", "Node", "label_values(tailwater_agent_lines_read_total, node)")], "What the agents read, send and drop, node by node.")


def aggregator():
    pod = 'pod=~"$aggregator"'
    return dashboard("tailwater-aggregator", "tailwater / Aggregator", [
        lines("Write: lines per second", [Query(f"sum by (pod) (rate(tailwater_received_lines_total{{{pod}}}[$__rate_interval]))", "{{pod}}")], "cps", width=8),
        lines("Write: time of a segment's PUT", [Query(f"histogram_quantile({q}, sum by (le) (rate(tailwater_segment_put_seconds_bucket{{{pod}}}[$__rate_interval])))", f"p{int(q * 100)}") for q in (0.5, 0.99)], "s", width=8),
        lines("Write: segments by outcome", [Query(f"sum by (outcome) (rate(tailwater_segment_puts_total{{{pod}}}[$__rate_interval]))", "{{outcome}}")], "ops", width=8),
        lines("Write: age of the oldest line not stored", [Query(f"tailwater_segment_flush_age_seconds{{{pod}}}", "{{pod}}")], "s", width=8),
        lines("Write: identical entries left out", [Query(f"sum by (where) (rate(tailwater_duplicates_merged_total{{{pod}}}[$__rate_interval]))", "{{where}}")], "cps", width=8),
        lines("Write: bytes that were no UTF-8", [Query(f"sum by (tenant) (rate(tailwater_replaced_bytes_total{{{pod}}}[$__rate_interval]))", "{{tenant}}")], "Bps", width=8),
        lines("Read: requests by route", [Query(f"sum by (route) (rate(tailwater_request_duration_seconds_count{{{pod}, {READ}}}[$__rate_interval]))", "{{route}}")], "reqps", width=8),
        lines("Read: 99th percentile by route", [Query(f"histogram_quantile(0.99, sum by (le, route) (rate(tailwater_request_duration_seconds_bucket{{{pod}, {READ}}}[$__rate_interval])))", "{{route}}")], "s", width=8, description="The highest bucket ends at 10 s."),
        lines("Read: errors by route", [Query(f'sum by (route, status_code) (rate(tailwater_request_duration_seconds_count{{{pod}, {READ}, status_code=~"5.."}}[$__rate_interval]))', "{{route}} {{status_code}}")], "reqps", width=8),
        lines("Read: bytes from the store", [Query(f"sum by (pod) (rate(tailwater_store_read_bytes_total{{{pod}}}[$__rate_interval]))", "{{pod}}")], "Bps", width=8),
        lines("Read: pages that the text index excluded", [Query(f"sum(rate(tailwater_index_pages_excluded_total{{{pod}}}[$__rate_interval])) / sum(rate(tailwater_index_pages_asked_total{{{pod}}}[$__rate_interval]))", "share")], "percentunit", width=8),
        lines("Storage: segments not compacted", [Query(f"tailwater_segments_uncompacted{{{pod}}}", "{{pod}}")], "none", width=8),
        lines("Storage: damaged segments", [Query(f"tailwater_damaged_segments{{{pod}}}", "{{pod}}")], "none", width=8),
        lines("Replicas that see each other", [Query(f"tailwater_peers{{{pod}}}", "{{pod}}")], "none", width=8),
        lines("Storage: bytes that wait for compaction", [Query(f"tailwater_compaction_pending_bytes{{{pod}}}", "{{pod}}")], "bytes", width=8),
        lines("Storage: compactions", [Query(f"sum(rate(tailwater_compaction_{what}_total{{{pod}}}[$__rate_interval]))", what) for what in ("folds", "merges", "failures")], "ops", width=8),
        lines("Storage: lines in, files out", [Query(f"sum(rate(tailwater_compaction_raw_bytes_total{{{pod}}}[$__rate_interval]))", "lines"), Query(f"sum(rate(tailwater_compaction_written_bytes_total{{{pod}}}[$__rate_interval]))", "files")], "Bps", width=8),
        lines("Storage: replaced objects that wait to be deleted", [Query(f"tailwater_retired_objects{{{pod}}}", "{{pod}}")], "none", width=8),
        lines("Retention: work that waits", [Query("max(tailwater_retention_pending_files)", "files"), Query("max(tailwater_retention_pending_requests)", "delete requests")], "none", width=8),
        lines("Retention: dropped bytes", [Query("sum(rate(tailwater_retention_dropped_bytes_total[$__rate_interval]))", "dropped whole"), Query("sum(rate(tailwater_retention_rewritten_bytes_total[$__rate_interval]))", "rewritten")], "Bps", width=8),
        lines("Memory: budgets in use", [Query(f"tailwater_memory_bytes{{{pod}}} / tailwater_memory_limit_bytes{{{pod}}}", "{{pod}} {{budget}}")], "percentunit", width=8),
        lines("Memory: caches", [Query(f"tailwater_cache_bytes{{{pod}, cache!=\"disk\"}}", "{{pod}} {{cache}}")], "bytes", width=8),
        lines("Memory: container", [Query('max by (pod) (container_memory_working_set_bytes{container="aggregator", pod=~"$aggregator"})', "{{pod}}")], "bytes", width=8),
    ], [METRICS, metric_variable("aggregator", "Aggregator", "label_values(tailwater_segments_uncompacted, pod)")], "Writing, reading and storage of the aggregators.")


def tenants():
    tenant = 'tenant=~"$tenant"'
    return dashboard("tailwater-tenants", "tailwater / Tenants and cost", [
        stacked("Bytes per second by tenant", [Query(f"sum by (tenant) (rate(tailwater_received_bytes_total{{{tenant}}}[$__rate_interval]))", "{{tenant}}")], "Bps"),
        stacked("Lines per second by tenant", [Query(f"sum by (tenant) (rate(tailwater_received_lines_total{{{tenant}}}[$__rate_interval]))", "{{tenant}}")], "cps"),
        table("Bytes of the range by tenant", [Query(f"sort_desc(sum by (tenant) (increase(tailwater_received_bytes_total{{{tenant}}}[$__range])))", instant=True)], "bytes"),
        lines("Refused lines by tenant and reason", [Query(f"sum by (tenant, reason) (rate(tailwater_discarded_lines_total{{{tenant}}}[$__rate_interval]))", "{{tenant}} {{reason}}")], "cps"),
        lines("Stored bytes for each byte of lines", [Query("sum(rate(tailwater_compaction_written_bytes_total[$__range])) / sum(rate(tailwater_compaction_raw_bytes_total[$__range]))", "files / lines")], "none", description="Merging files again counts both again."),
        table("Bytes of the range by namespace", [LogQuery('topk(20, sum by (namespace) (bytes_over_time({namespace=~".+"} [$__range])))', instant=True)], "bytes"),
    ], [METRICS, LOGS, metric_variable("tenant", "Tenant", "label_values(tailwater_received_bytes_total, tenant)")], "Who writes how much, and what it takes to keep it.")


def canary():
    node = 'node=~"$node"'
    of = lambda name: f"tailwater_canary_{name}{{{node}}}"
    increase = lambda name: f"sum by (node) (increase({of(name)}[$__rate_interval]))"
    return dashboard("tailwater-canary", "tailwater / Canary", [
        stat("Canaries", f"count({of('written_lines_total')})", "none"),
        stat("Lines missing, 24 h", f"sum(increase({of('missing_lines_total')}[24h]))", "none", red_above=1),
        stat("Lines found twice, 24 h", f"sum(increase({of('duplicate_lines_total')}[24h]))", "none", red_above=1),
        stat("Lines out of order, 24 h", f"sum(increase({of('out_of_order_lines_total')}[24h]))", "none", red_above=1),
        stat("From writing to reading, median", f"histogram_quantile(0.5, sum by (le) (rate({of('read_latency_seconds_bucket')}[$__rate_interval])))", "s", red_above=1),
        stat("From writing to reading, 99th percentile", f"histogram_quantile(0.99, sum by (le) (rate({of('read_latency_seconds_bucket')}[$__rate_interval])))", "s", red_above=5),
        lines("From writing to reading", [Query(f"histogram_quantile({q}, sum by (le) (rate({of('read_latency_seconds_bucket')}[$__rate_interval])))", f"p{int(q * 100)}") for q in (0.5, 0.9, 0.99)], "s"),
        lines("Slowest nodes, 99th percentile", [Query(f"topk(10, histogram_quantile(0.99, sum by (le, node) (rate({of('read_latency_seconds_bucket')}[$__rate_interval]))))", "{{node}}")], "s"),
        lines("Lines missing", [Query(increase("missing_lines_total"), "{{node}}")], "none", width=8, description="Written, and not found though later ones were."),
        lines("Lines found twice", [Query(increase("duplicate_lines_total"), "{{node}}")], "none", width=8),
        lines("Lines out of order", [Query(increase("out_of_order_lines_total"), "{{node}}")], "none", width=8),
        lines("Lines written", [Query(f"sum by (node) (rate({of('written_lines_total')}[$__rate_interval]))", "{{node}}")], "cps", description="One a second on each node."),
        lines("Queries by outcome", [Query(f"sum by (outcome) (rate({of('queries_total')}[$__rate_interval]))", "{{outcome}}")], "reqps"),
    ], [METRICS, metric_variable("node", "Node", "label_values(tailwater_canary_written_lines_total, node)")], "What becomes of a line a second on every node, from writing to reading.")


def workloads():
    selector = '{namespace=~"$namespace", app=~"$app", container=~"$container"}'
    return dashboard("tailwater-workloads", "tailwater / Logs by workload", [
        stacked("Lines by level", [LogQuery(f"sum by (detected_level) (count_over_time({selector} |~ `$search` [$__auto]))", "{{detected_level}}")], "none"),
        stacked("Lines by workload", [LogQuery(f"topk(10, sum by (app) (count_over_time({selector} |~ `$search` [$__auto])))", "{{app}}")], "none"),
        lines("Errors by workload", [LogQuery(f'topk(10, sum by (app) (count_over_time({selector} | detected_level=~"error|critical|fatal" [$__auto])))', "{{app}}")], "none"),
        lines("Bytes per second by workload", [LogQuery(f"topk(10, sum by (app) (bytes_rate({selector} [$__auto])))", "{{app}}")], "Bps"),
        logs("Lines", f"{selector} |~ `$search`"),
    ], [LOGS, log_variable("namespace", "Namespace", "namespace"), log_variable("app", "Workload", "app", '{namespace=~"$namespace"}'), log_variable("container", "Container", "container", '{namespace=~"$namespace", app=~"$app"}'), text_variable("search", "Regular expression")], "What workloads say, by level, with search.")


def pods():
    selector = '{namespace="$namespace", pod=~"$pod"}'
    return dashboard("tailwater-pods", "tailwater / Logs of pods, deleted ones too", [
        table("Pods that wrote in this range", [LogQuery('sum by (pod, node_name) (count_over_time({namespace="$namespace", app=~"$app"} [$__range]))', instant=True)], "none", description="Pods that are gone are listed as long as their lines are kept."),
        stacked("Lines by pod", [LogQuery(f"sum by (pod) (count_over_time({selector} [$__auto]))", "{{pod}}")], "none"),
        stacked("Lines by restart", [LogQuery(f"sum by (pod, restart) (count_over_time({selector} [$__auto]))", "{{pod}} restart {{restart}}")], "none"),
        lines("Errors by pod", [LogQuery(f'sum by (pod) (count_over_time({selector} | detected_level=~"error|critical|fatal" [$__auto]))', "{{pod}}")], "none"),
        logs("Lines", f"{selector} |~ `$search`"),
    ], [LOGS, log_variable("namespace", "Namespace", "namespace", many=False), log_variable("app", "Workload", "app", '{namespace="$namespace"}'), log_variable("pod", "Pod", "pod", '{namespace="$namespace", app=~"$app"}'), text_variable("search", "Regular expression")], "Lines of pods by name, whether they still run or not.")


DASHBOARDS = {"overview": overview, "agent": agent, "aggregator": aggregator, "tenants": tenants, "canary": canary, "workloads": workloads, "pods": pods}


def filled_in(expression):
    """The expression as a data source gets it, with sample values."""
    for name, value in sorted(SAMPLE.items(), key=lambda pair: -len(pair[0])):
        expression = expression.replace(name, value)
    return expression


def expressions(board, kind):
    """Expressions of the panels of one kind of data source, variables filled in."""
    return [filled_in(target["expr"]) for one in board["panels"] for target in one["targets"] if target["datasource"]["type"] == kind]


def files():
    """Every file that this writes: path → text."""
    boards = {name: make() for name, make in DASHBOARDS.items()}
    made = {HERE / "dashboards" / f"{name}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n" for name, board in boards.items()}
    queries = sorted({query for board in boards.values() for query in expressions(board, "loki")})
    made[LOGQL_LIST] = "# LogQL of the dashboards, one a line, variables filled in. Written by deploy/grafana/dashboards.py.\n" + "\n".join(queries) + "\n"
    return made


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
