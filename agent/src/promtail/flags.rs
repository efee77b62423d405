//! Promtail's own flags: each sets a key of the file, whatever the file says.
//!
//! Flags that name nothing of the file (which file it is, what to print) are the program's; those that change nothing here are taken and say nothing.

use super::yaml::{Content, Node};

/// Flags with the key that each sets.
const KEYS: [(&str, &str); 34] = [
    ("client.batch-size-bytes", "client.batchsize"),
    ("client.batch-wait", "client.batchwait"),
    ("client.external-labels", "client.external_labels"),
    ("client.max-backoff", "client.backoff_config.max_period"),
    ("client.max-retries", "client.backoff_config.max_retries"),
    ("client.min-backoff", "client.backoff_config.min_period"),
    ("client.tenant-id", "client.tenant_id"),
    ("client.timeout", "client.timeout"),
    ("client.url", "client.url"),
    ("limit.readline-burst", "limits_config.readline_burst"),
    ("limit.readline-rate", "limits_config.readline_rate"),
    ("limit.readline-rate-drop", "limits_config.readline_rate_drop"),
    ("limit.readline-rate-enabled", "limits_config.readline_rate_enabled"),
    ("log.format", "server.log_format"),
    ("log.level", "server.log_level"),
    ("max-line-size", "limits_config.max_line_size"),
    ("max-line-size-truncate", "limits_config.max_line_size_truncate"),
    ("max-streams", "limits_config.max_streams"),
    ("positions.file", "positions.filename"),
    ("positions.ignore-invalid-yaml", "positions.ignore_invalid_yaml"),
    ("positions.sync-period", "positions.sync_period"),
    ("server.disable", "server.disable"),
    ("server.enable-runtime-reload", "server.enable_runtime_reload"),
    ("server.http-listen-address", "server.http_listen_address"),
    ("server.http-listen-port", "server.http_listen_port"),
    ("server.http-tls-ca-path", "server.http_tls_config.client_ca_file"),
    ("server.http-tls-cert-path", "server.http_tls_config.cert_file"),
    ("server.http-tls-client-auth", "server.http_tls_config.client_auth_type"),
    ("server.http-tls-key-path", "server.http_tls_config.key_file"),
    ("server.path-prefix", "server.http_path_prefix"),
    ("server.register-instrumentation", "server.register_instrumentation"),
    ("server.tls-min-version", "server.tls_min_version"),
    ("stdin", "target_config.stdin"),
    ("target.sync-period", "target_config.sync_period"),
];

/// Flags that may be given without a value.
const SWITCHES: [&str; 8] = [
    "limit.readline-rate-drop",
    "limit.readline-rate-enabled",
    "max-line-size-truncate",
    "positions.ignore-invalid-yaml",
    "server.disable",
    "server.enable-runtime-reload",
    "server.register-instrumentation",
    "stdin",
];

/// Flags that are taken and change nothing.
const WITHOUT_EFFECT: [&str; 5] =
    ["print-config-stderr", "log-config-reverse-order", "log.use-buffered", "log.use-sync", "config.enable-read-api"];

/// What a flag of Promtail's command line is, by its name without dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromtailFlag {
    /// It sets a key, and may go without a value if it is a switch.
    Sets {
        is_switch: bool,
    },
    WithoutEffect,
}

/// Looks a flag up.
pub fn promtail_flag(name: &str) -> Option<PromtailFlag> {
    if WITHOUT_EFFECT.contains(&name) {
        return Some(PromtailFlag::WithoutEffect);
    }
    let is_known = KEYS.iter().any(|(flag, _)| *flag == name);
    is_known.then(|| PromtailFlag::Sets { is_switch: SWITCHES.contains(&name) })
}

/// Sets in `root` what flags say, in their order.
pub(super) fn set(root: &mut Node, flags: &[(String, String)]) {
    for (name, text) in flags {
        let Some((_, key)) = KEYS.iter().find(|(flag, _)| flag == name) else { continue };
        let value = if *key == "client.external_labels" { labels(text) } else { scalar(text) };
        set_at(root, key, value);
    }
}

fn set_at(node: &mut Node, path: &str, value: Node) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    if !matches!(node.content, Content::Mapping(_)) {
        node.content = Content::Mapping(Vec::new());
    }
    let Content::Mapping(pairs) = &mut node.content else { return };
    let index = pairs.iter().position(|(key, _)| key.raw_text() == Some(name)).unwrap_or_else(|| {
        pairs.push((scalar(name), Node { line: 1, content: Content::Mapping(Vec::new()) }));
        pairs.len() - 1
    });
    match rest {
        Some(rest) => set_at(&mut pairs[index].1, rest, value),
        None => pairs[index].1 = value,
    }
}

fn scalar(text: &str) -> Node {
    Node { line: 1, content: Content::Scalar { text: text.to_owned(), is_plain: true } }
}

/// `a=1,b=2`, of which the values are texts.
fn labels(text: &str) -> Node {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = Content::Scalar { text: value.to_owned(), is_plain: false };
        (scalar(name.trim()), Node { line: 1, content: value })
    };
    Node { line: 1, content: Content::Mapping(text.split(',').filter(|part| !part.is_empty()).map(pair).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::parse_with;

    fn with(flags: &[(&str, &str)], text: &str) -> crate::promtail::PromtailConfig {
        let flags: Vec<_> = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (config, report) = parse_with(text, "node".to_owned(), &flags);
        config.unwrap_or_else(|| panic!("{report}"))
    }

    #[test]
    fn flags_come_before_the_file() {
        let text = "server: {log_level: info}\nclients: [{url: http://h/push, external_labels: {a: own}}]\n";
        let config = with(
            &[
                ("log.level", "debug"),
                ("client.external-labels", "a=1,cluster=x"),
                ("server.http-listen-port", "9080"),
                ("positions.file", "/p"),
            ],
            text,
        );
        assert_eq!((config.log_level(), config.listen().unwrap().port()), ("debug", 9080));
        assert_eq!(config.positions_file.to_str(), Some("/p"));
        let labels: Vec<_> = config.clients[0].external_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((config.clients.len(), labels), (1, vec!["a=own".to_owned(), "cluster=x".to_owned()]));
    }

    #[test]
    fn a_client_by_flags_alone_and_beside_those_of_the_file() {
        let config = with(&[("client.url", "http://f/push"), ("client.tenant-id", "t")], "");
        assert_eq!((config.clients.len(), config.clients[0].config.tenant_id.as_deref()), (1, Some("t")));
        let config = with(&[("client.url", "http://f/push")], "clients: [{url: http://h/push}]");
        assert_eq!(config.clients.len(), 2);
    }

    #[test]
    fn what_is_piped_in_is_refused_with_advice() {
        let flags = [("stdin".to_owned(), "true".to_owned())];
        let (config, report) = parse_with("clients: [{url: http://h/push}]", "node".to_owned(), &flags);
        assert!(
            config.is_none() && report.to_string().contains("`target_config.stdin` is not supported; write the lines to a file"),
            "{report}"
        );
    }

    #[test]
    fn known_flags_and_others() {
        assert_eq!(promtail_flag("server.disable"), Some(PromtailFlag::Sets { is_switch: true }));
        assert_eq!(promtail_flag("print-config-stderr"), Some(PromtailFlag::WithoutEffect));
        assert_eq!(promtail_flag("nothing"), None);
        assert!(SWITCHES.iter().all(|switch| KEYS.iter().any(|(flag, _)| flag == switch)));
    }
}
