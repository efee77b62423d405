//! `tailwater-agent convert`: a `promtail.yaml` as the native configuration that does the same, and what of it cannot be said there.

use serde_yaml_ng::Value;

use super::report::Report;
use super::shown::written;
use super::yaml::Node;
use super::{PromtailConfig, locate, sections};
use crate::config::{ClientConfig, Config, LongLine, keys};

/// What no setting of the native configuration stands for, by where it is written.
type NotCarried = (&'static [&'static str], bool);

/// The text of `agent.yaml`. What is not carried over is noted in `report`.
pub(super) fn native(root: &Node, promtail: &PromtailConfig, report: &mut Report) -> String {
    let limits = &promtail.limits;
    let mut clients = promtail.clients.iter().enumerate().map(|(index, client)| {
        // The first one's positions stay where they are.
        let name = (index > 0).then(|| client.name.clone());
        ClientConfig { name, external_labels: client.external_labels.clone(), ..client.config.clone() }
    });
    let config = Config {
        data_dir: promtail.default_data_dir(),
        reads_pods: false,
        listen: promtail.listen(),
        log_level: promtail.log_level().to_owned(),
        log_format: promtail.log_format(),
        enable_reload: promtail.enables_reload(),
        // No line is longer in either.
        max_line_size: if limits.max_line_size == 0 { 1 << 20 } else { limits.max_line_size },
        long_line: if limits.max_line_size == 0 || limits.truncates { LongLine::Truncate } else { LongLine::Drop },
        max_streams: limits.max_streams,
        client: clients.next().unwrap_or_else(|| ClientConfig::new("")),
        more_clients: clients.collect(),
        ..Config::default()
    };
    for (path, is_set) in not_carried(promtail) {
        if is_set {
            let place = path.join(".");
            report.note(
                line_of(root, path),
                format!("`{place}` is not carried over; run the file itself with `--promtail-config` to keep it"),
            );
        }
    }
    if find(root, "positions").is_some() {
        let line = line_of(root, &["positions", "filename"]);
        report.note(
            line,
            "Promtail's own positions are taken over with `--promtail-config` alone: run the file itself once, if Promtail ran here",
        );
    }
    locate::locate(root, report);
    let scrape_configs = find(root, "scrape_configs").map_or_else(|| Value::Sequence(Vec::new()), written);
    keys::print_native(&config, scrape_configs)
}

fn not_carried(promtail: &PromtailConfig) -> impl Iterator<Item = NotCarried> {
    let any = |is_so: fn(&ClientConfig) -> bool| promtail.clients.iter().any(|client| is_so(&client.config));
    let (limits, timing) = (&promtail.limits, &promtail.timing);
    let all: [NotCarried; 13] = [
        (&["server", "http_path_prefix"], !promtail.server.path_prefix.is_empty()),
        (&["server", "http_tls_config"], promtail.server.tls.is_some()),
        (&["server", "register_instrumentation"], !promtail.server.shows_metrics),
        (&["clients", "oauth2"], any(|client| client.oauth2.is_some())),
        (&["clients", "authorization"], any(|client| client.token_scheme.is_some())),
        (&["clients", "tls_config", "ca"], any(|client| client.tls.ca.is_some())),
        (&["clients", "tls_config", "cert"], any(|client| client.tls.cert.is_some())),
        (&["clients", "tls_config", "server_name"], any(|client| client.tls.server_name.is_some())),
        (&["clients", "tls_config", "min_version"], any(|client| client.tls.min_version.is_some())),
        (&["clients", "tls_config", "max_version"], any(|client| client.tls.max_version.is_some())),
        (&["limits_config", "readline_rate"], limits.read_rate.is_some()),
        (&["target_config", "sync_period"], timing.scan_interval != sections::SYNC_PERIOD),
        (&["global", "file_watch_config"], timing.poll_min.is_some() || timing.poll_max.is_some()),
    ];
    all.into_iter()
}

fn find<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.mapping()?.iter().find(|(key, _)| key.raw_text() == Some(name)).map(|(_, value)| value)
}

/// The line of the first key at `path`, through lists; as deep as it is found.
fn line_of(node: &Node, path: &[&str]) -> usize {
    let Some((name, rest)) = path.split_first() else { return node.line };
    let items = node.sequence().unwrap_or(std::slice::from_ref(node));
    for item in items {
        for (key, value) in item.mapping().unwrap_or_default() {
            if key.raw_text() == Some(name) {
                return if rest.is_empty() { key.line } else { line_of(value, rest) };
            }
        }
    }
    node.line
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::promtail::convert_text;

    const WHOLE: &str = r"
server: {http_listen_port: 9080, http_path_prefix: /agent, log_level: warn}
clients:
- url: http://a/loki/api/v1/push
  basic_auth: {username: me, password: hunter2}
  external_labels: {cluster: c}
- {url: http://b/loki/api/v1/push, oauth2: {client_id: i, client_secret: s, token_url: http://t}, batchwait: 3s}
positions: {filename: /run/promtail/positions.yaml}
limits_config: {max_line_size: 65536, readline_rate_enabled: true}
target_config: {sync_period: 1m}
scrape_configs:
- job_name: files
  pipeline_stages:
  - regex: {expression: '^(?P<token>\w+) '}
  - labels: {token: }
  static_configs:
  - labels: {job: 'yes', __path__: '/var/log/*.log'}
";

    #[test]
    fn what_can_be_said_is_carried_over_and_the_rest_is_named() {
        let (text, report) = convert_text(WHOLE, "host".to_owned());
        let notes: Vec<String> = report.notes.iter().map(|note| format!("{} {}", note.line, note.path)).collect();
        let expected =
            ["2 server.http_path_prefix", "7 clients[1].oauth2", "8 positions", "9 limits_config", "10 target_config.sync_period"];
        assert_eq!(notes, expected, "{report}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("agent.yaml");
        std::fs::write(&file, text.unwrap()).unwrap();
        let config = load::load(&load::Sources { file: Some(file.clone()), ..load::Sources::default() }).unwrap();
        assert_eq!((config.listen.unwrap().port(), config.log_level.as_str(), config.reads_pods), (9080, "warn", false));
        assert_eq!((config.data_dir.to_str(), config.max_line_size), (Some("/run/promtail/tailwater-agent"), 65_536));
        let first = &config.client;
        assert_eq!(first.basic_auth.as_ref().map(|(user, password)| (user.as_str(), password.0.as_str())), Some(("me", "hunter2")));
        assert_eq!(
            (first.name.as_ref(), first.batchwait.as_secs(), first.timeout.as_secs(), first.backoff.max_period.as_secs()),
            (None, 1, 10, 300)
        );
        assert_eq!(first.external_labels["cluster"], "c");
        let second = &config.more_clients[0];
        assert_eq!((second.name.as_deref(), second.batchwait.as_secs()), (Some("1"), 3));
        let native = config.scrape_configs.unwrap();
        assert_eq!(native.scrape.jobs[0].static_groups[0].labels["job"], "yes");
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written.contains("(?P<token>\\w+)") || written.contains(r"(?P<token>\w+)"), "{written}");
        assert!(!written.contains("deleted_hold_bytes"), "defaults are left out: {written}");
    }

    #[test]
    fn what_promtail_would_refuse_is_not_converted() {
        let (text, report) = convert_text(
            "clients: [{url: http://a}]
scrape_configs: [{job_name: j, kafka: {}}]
",
            "host".to_owned(),
        );
        assert!(text.is_none() && report.errors[0].text.contains("`kafka` is not supported"), "{report}");
    }
}
