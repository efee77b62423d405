//! The sections of the file besides scrape configurations.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::PromtailConfig;
use super::client::read_clients;
use super::reader::Fields;
use super::report::Report;
use super::scrape::ScrapeConfigs;
use super::server_tls;
use super::shown::shown;
use super::yaml::Node;
use crate::admin::tls::ServerTls;
use crate::own_log::LogFormat;

/// Between two looks for targets.
pub(super) const SYNC_PERIOD: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 80;
const DEFAULT_POSITIONS: &str = "/var/log/positions.yaml";

/// Where and what to serve.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) path_prefix: String,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) enables_reload: bool,
    /// Whether `/metrics` is there.
    pub(crate) shows_metrics: bool,
    pub(crate) tls: Option<ServerTls>,
}

/// What one process may read and send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Bytes; 0: none.
    pub(crate) max_line_size: usize,
    pub(crate) truncates: bool,
    /// 0: none.
    pub(crate) max_streams: usize,
    pub(crate) read_rate: Option<ReadRate>,
}

/// Lines a second that are read, of all files together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadRate {
    pub(crate) rate: f64,
    pub(crate) burst: f64,
    pub(crate) drops: bool,
}

/// How often things are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) scan_interval: Duration,
    pub(crate) poll_min: Option<Duration>,
    pub(crate) poll_max: Option<Duration>,
}

const SERVER_WITHOUT_EFFECT: [&str; 43] = [
    "log_source_ips_enabled",
    "log_source_ips_full",
    "log_source_ips_header",
    "log_source_ips_regex",
    "log_request_headers",
    "log_request_at_info_level_enabled",
    "log_request_exclude_headers_list",
    "graceful_shutdown_timeout",
    "http_listen_network",
    "http_listen_conn_limit",
    "http_server_read_timeout",
    "http_server_read_header_timeout",
    "http_server_write_timeout",
    "http_server_idle_timeout",
    "http_log_closed_connections_without_response_enabled",
    "grpc_listen_network",
    "grpc_listen_address",
    "grpc_listen_port",
    "grpc_listen_conn_limit",
    "grpc_tls_config",
    "grpc_server_max_recv_msg_size",
    "grpc_server_max_send_msg_size",
    "grpc_server_max_concurrent_streams",
    "grpc_server_max_connection_idle",
    "grpc_server_max_connection_age",
    "grpc_server_max_connection_age_grace",
    "grpc_server_keepalive_time",
    "grpc_server_keepalive_timeout",
    "grpc_server_min_time_between_pings",
    "grpc_server_ping_without_stream_allowed",
    "grpc_server_num_workers",
    "grpc_server_stats_tracking_enabled",
    "grpc_server_recv_buffer_pools_enabled",
    "grpc_server_read_buffer_size",
    "grpc_server_write_buffer_size",
    "grpc_collect_max_streams_by_conn",
    "report_grpc_codes_in_instrumentation_label_enabled",
    "trace_request_headers",
    "trace_request_exclude_headers_list",
    "cluster_validation",
    "tls_cipher_suites",
    "proxy_protocol_enabled",
    "reload",
];

/// Keys that everyone writes; saying that they do nothing would hide what matters.
const SERVER_QUIET: [&str; 2] = ["health_check_target", "external_url"];

pub(super) fn read(root: &Node, hostname: String, report: &mut Report) -> Option<PromtailConfig> {
    let mut fields = Fields::of(root, "promtail.yaml", report)?;
    let server = read_server(fields.take("server"), report);
    let (positions_file, ignores_invalid_positions) = read_positions(fields.take("positions"), report);
    let limits = read_limits(fields.take("limits_config"), report);
    let scan_interval = read_target_config(fields.take("target_config"), report);
    let (poll_min, poll_max) = read_global(fields.take("global"), report);
    let clients = read_clients(&mut fields, report);
    let scrape = fields.take("scrape_configs").map(|node| ScrapeConfigs::read(node, report)).unwrap_or_default();
    for key in ["tracing", "options", "wal", "client_config"] {
        if let Some((line, node)) = fields.take_with_line(key)
            && node.mapping().is_some_and(|pairs| !pairs.is_empty())
        {
            report.note(line, format!("`{key}` has no effect"));
        }
    }
    fields.finish(report);
    Some(PromtailConfig {
        server,
        clients,
        positions_file,
        ignores_invalid_positions,
        scrape,
        limits,
        timing: Pace { scan_interval, poll_min, poll_max },
        hostname,
        shown: shown(root),
    })
}

fn empty() -> &'static Node {
    static EMPTY: Node = Node { line: 1, content: super::yaml::Content::Mapping(Vec::new()) };
    &EMPTY
}

fn read_server(node: Option<&Node>, report: &mut Report) -> Server {
    let mut server = Server {
        listen: Some((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into()),
        path_prefix: String::new(),
        log_level: "info".to_owned(),
        log_format: LogFormat::default(),
        enables_reload: false,
        shows_metrics: true,
        tls: None,
    };
    let Some(mut fields) = Fields::of(node.unwrap_or(empty()), "server", report) else { return server };
    let line = fields.line();
    let port = fields.integer("http_listen_port", report);
    let port = port.map_or(Some(DEFAULT_PORT), |port| u16::try_from(port).ok());
    let address = match fields.text("http_listen_address", report).as_deref() {
        None | Some("") => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(text) => text.parse().ok(),
    };
    server.listen = address.zip(port).map(SocketAddr::from);
    if server.listen.is_none() {
        report.error(line, "`server`: `http_listen_address` must be an IP address and `http_listen_port` a port");
    }
    if fields.boolean("disable", report).unwrap_or(false) {
        server.listen = None;
    }
    server.path_prefix = fields.text("http_path_prefix", report).unwrap_or_default().trim_matches('/').to_owned();
    if let Some(level) = fields.text("log_level", report) {
        if ["debug", "info", "warn", "error"].contains(&level.as_str()) {
            server.log_level = level;
        } else {
            report.error(line, format!("`server.log_level`: `{level}` is none of debug, info, warn, error"));
        }
    }
    match fields.text("log_format", report).as_deref() {
        None | Some("logfmt" | "") => {}
        Some("json") => server.log_format = LogFormat::Json,
        Some(other) => report.error(line, format!("`server.log_format`: `{other}` is none of logfmt, json")),
    }
    server.enables_reload = fields.boolean("enable_runtime_reload", report).unwrap_or(false);
    server.shows_metrics = fields.boolean("register_instrumentation", report).unwrap_or(true);
    let oldest = fields.text("tls_min_version", report);
    server.tls = fields.take("http_tls_config").and_then(|node| server_tls::read(node, oldest.as_deref(), report));
    for key in SERVER_QUIET {
        fields.take(key);
    }
    fields.without_effect(&SERVER_WITHOUT_EFFECT, "the agent has its own", report);
    fields.finish(report);
    server
}

fn read_positions(node: Option<&Node>, report: &mut Report) -> (PathBuf, bool) {
    let Some(mut fields) = Fields::of(node.unwrap_or(empty()), "positions", report) else { return (DEFAULT_POSITIONS.into(), false) };
    let file = fields.text("filename", report).unwrap_or_else(|| DEFAULT_POSITIONS.to_owned());
    // Positions are written when what they name is acknowledged, and before a decision is relied on.
    fields.duration("sync_period", report);
    let ignores_invalid = fields.boolean("ignore_invalid_yaml", report).unwrap_or(false);
    fields.finish(report);
    (file.into(), ignores_invalid)
}

fn read_limits(node: Option<&Node>, report: &mut Report) -> Limits {
    let Some(mut fields) = Fields::of(node.unwrap_or(empty()), "limits_config", report) else { return Limits::default() };
    let rate = fields.number("readline_rate", report).unwrap_or(10_000.0);
    let burst = fields.number("readline_burst", report).unwrap_or(10_000.0);
    let is_enabled = fields.boolean("readline_rate_enabled", report).unwrap_or(false);
    let drops = fields.boolean("readline_rate_drop", report).unwrap_or(true);
    let limits = Limits {
        max_line_size: fields.size("max_line_size", report).and_then(|size| usize::try_from(size).ok()).unwrap_or(0),
        truncates: fields.boolean("max_line_size_truncate", report).unwrap_or(false),
        max_streams: fields.integer("max_streams", report).and_then(|streams| usize::try_from(streams).ok()).unwrap_or(0),
        read_rate: is_enabled.then_some(ReadRate { rate, burst, drops }),
    };
    fields.finish(report);
    limits
}

fn read_target_config(node: Option<&Node>, report: &mut Report) -> Duration {
    let Some(mut fields) = Fields::of(node.unwrap_or(empty()), "target_config", report) else { return SYNC_PERIOD };
    let interval = fields.duration("sync_period", report).filter(|interval| !interval.is_zero()).unwrap_or(SYNC_PERIOD);
    if fields.boolean("stdin", report).unwrap_or(false) {
        report.error(fields.line(), "`target_config.stdin` is not supported; write the lines to a file and name that in `scrape_configs`; `--dry-run` shows what they become");
    }
    fields.finish(report);
    interval
}

fn read_global(node: Option<&Node>, report: &mut Report) -> (Option<Duration>, Option<Duration>) {
    let Some(mut fields) = Fields::of(node.unwrap_or(empty()), "global", report) else { return (None, None) };
    let watch = fields.take("file_watch_config");
    fields.finish(report);
    let Some(mut fields) = Fields::of(watch.unwrap_or(empty()), "global.file_watch_config", report) else { return (None, None) };
    let poll = (fields.duration("min_poll_frequency", report), fields.duration("max_poll_frequency", report));
    fields.finish(report);
    poll
}
