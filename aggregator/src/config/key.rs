//! The table of keys: what may be written in the file, and as which flag and variable.
//!
//! `storage.s3.bucket` is `--storage-s3-bucket` and `TAILWATER_STORAGE_S3_BUCKET`. Every leaf is checked here, one by
//! one, so that all mistakes are told at once and each with its key.

use serde_yaml_ng::Value;

use crate::config::blocked_query::BlockedQuery;
use crate::config::moment::Moment;
use crate::config::retention_rule::RetentionRule;
use crate::config::size::ByteSize;
use crate::config::span::Span;
use crate::config::{AuthMode, LogFormat, LogLevel};
use crate::limits::DeletionMode;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Text,
    /// `host:port`
    Address,
    Boolean,
    Integer,
    Number,
    Size,
    Duration,
    OneOf(&'static [&'static str]),
    /// Only in the file.
    TextList,
    /// Only in the file: a list of URLs, or `service` with the name of a headless Service.
    Peers,
    /// RFC 3339.
    Moment,
    /// Only in the file.
    RetentionRules,
    /// Only in the file.
    BlockedQueries,
    /// Maps, only in the file.
    RuleList,
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

/// Every key but those of `overrides`, which are those of `limits` under a tenant's name.
pub const KEYS: &[Key] = &[
    key("listen", Kind::Address),
    key("log_level", Kind::OneOf(LogLevel::NAMES)),
    key("log_format", Kind::OneOf(LogFormat::NAMES)),
    key("memory_limit", Kind::Size),
    key("storage.type", Kind::OneOf(&["filesystem", "s3"])),
    key("storage.prefix", Kind::Text),
    key("storage.format_version", Kind::Integer),
    key("storage.quota_bytes", Kind::Size),
    key("storage.filesystem.path", Kind::Text),
    key("storage.s3.endpoint", Kind::Text),
    key("storage.s3.region", Kind::Text),
    key("storage.s3.bucket", Kind::Text),
    key("storage.s3.force_path_style", Kind::Boolean),
    key("storage.s3.insecure", Kind::Boolean),
    key("storage.s3.sse", Kind::Text),
    key("storage.s3.kms_key_id", Kind::Text),
    key("storage.s3.credentials_dir", Kind::Text),
    key("cache.dir", Kind::Text),
    key("cache.disk_bytes", Kind::Size),
    key("flush_interval", Kind::Duration),
    key("segment_bytes", Kind::Size),
    key("ack_timeout", Kind::Duration),
    key("discover_interval", Kind::Duration),
    key("compaction.compact_after", Kind::Duration),
    key("compaction.fold_bytes", Kind::Size),
    key("compaction.settle", Kind::Duration),
    key("compaction.final_level", Kind::Integer),
    key("compaction.retire_after", Kind::Duration),
    key("retention.size_budget", Kind::Size),
    key("retention.cancel_period", Kind::Duration),
    key("query.text_index", Kind::Boolean),
    key("strict_loki", Kind::Boolean),
    key("tenancy.enabled", Kind::Boolean),
    key("tenancy.default", Kind::Text),
    key("tenancy.multi_tenant_queries", Kind::Boolean),
    key("auth.mode", Kind::OneOf(AuthMode::NAMES)),
    key("auth.kubeconfig", Kind::Text),
    key("peers", Kind::Peers),
    key("tls.certificate", Kind::Text),
    key("tls.key", Kind::Text),
    key("tls.client_ca", Kind::Text),
    key("tls.ca", Kind::Text),
    key("limits.ingestion_rate_mb", Kind::Number),
    key("limits.ingestion_burst_size_mb", Kind::Number),
    key("limits.max_global_streams_per_user", Kind::Integer),
    key("limits.per_stream_rate_limit", Kind::Size),
    key("limits.per_stream_rate_limit_burst", Kind::Size),
    key("limits.block_ingestion_until", Kind::Moment),
    key("limits.block_ingestion_status_code", Kind::Integer),
    key("limits.enforced_labels", Kind::TextList),
    key("limits.max_line_size", Kind::Size),
    key("limits.max_line_size_truncate", Kind::Boolean),
    key("limits.max_label_name_length", Kind::Integer),
    key("limits.max_label_value_length", Kind::Integer),
    key("limits.max_label_names_per_series", Kind::Integer),
    key("limits.reject_old_samples", Kind::Boolean),
    key("limits.reject_old_samples_max_age", Kind::Duration),
    key("limits.creation_grace_period", Kind::Duration),
    key("limits.allow_structured_metadata", Kind::Boolean),
    key("limits.max_structured_metadata_size", Kind::Size),
    key("limits.max_structured_metadata_entries_count", Kind::Integer),
    key("limits.discover_log_levels", Kind::Boolean),
    key("limits.discover_service_name", Kind::TextList),
    key("limits.otlp_config.resource_attributes.ignore_defaults", Kind::Boolean),
    key("limits.otlp_config.resource_attributes.attributes_config", Kind::RuleList),
    key("limits.otlp_config.scope_attributes", Kind::RuleList),
    key("limits.otlp_config.log_attributes", Kind::RuleList),
    key("limits.max_concurrent_tail_requests", Kind::Integer),
    key("limits.max_entries_limit_per_query", Kind::Integer),
    key("limits.max_query_length", Kind::Duration),
    key("limits.max_query_range", Kind::Duration),
    key("limits.max_query_series", Kind::Integer),
    key("limits.max_query_lookback", Kind::Duration),
    key("limits.max_streams_matchers_per_query", Kind::Integer),
    key("limits.max_query_bytes_read", Kind::Size),
    key("limits.required_labels", Kind::TextList),
    key("limits.blocked_queries", Kind::BlockedQueries),
    key("limits.volume_enabled", Kind::Boolean),
    key("limits.volume_max_series", Kind::Integer),
    key("limits.query_timeout", Kind::Duration),
    key("limits.retention_period", Kind::Duration),
    key("limits.retention_stream", Kind::RetentionRules),
    key("limits.retention_bytes", Kind::Size),
    key("limits.deletion_mode", Kind::OneOf(DeletionMode::NAMES)),
];

impl Key {
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Keys that are flags and variables too.
    pub fn scalars() -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(|key| !key.kind.is_list())
    }

    /// Without the dashes in front.
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    pub fn variable(&self) -> String {
        format!("TAILWATER_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

impl Kind {
    fn is_list(self) -> bool {
        matches!(self, Self::TextList | Self::Peers | Self::RuleList | Self::RetentionRules | Self::BlockedQueries)
    }

    /// How a value of the kind is written, for help texts.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Address => "HOST:PORT",
            Self::Boolean => "true|false",
            Self::Integer | Self::Number => "NUMBER",
            Self::Size => "SIZE",
            Self::Duration => "DURATION",
            Self::OneOf(_) => "NAME",
            Self::Moment => "TIME",
            Self::TextList | Self::Peers | Self::RuleList | Self::RetentionRules | Self::BlockedQueries => "LIST",
        }
    }

    /// A value from the file, a flag or a variable, in the form that the configuration is read from.
    pub fn normalised(self, value: &Value) -> Result<Value, String> {
        let wrong = |wanted: &str| Err(format!("{} is not {wanted}", shown(value)));
        if self == Self::Peers
            && let Some(service) = value.get("service").and_then(Value::as_str)
        {
            let port = if service.contains(':') { "" } else { ":3100" };
            return Ok(Value::Sequence(vec![format!("http://{service}{port}").into()]));
        }
        if matches!(self, Self::TextList | Self::Peers) {
            let is_text_list = value.as_sequence().is_some_and(|items| items.iter().all(Value::is_string));
            return if is_text_list { Ok(value.clone()) } else { wrong("a list of texts") };
        }
        if self == Self::RuleList {
            // What a rule looks like is for those who read it.
            return if value.is_sequence() { Ok(value.clone()) } else { wrong("a list of rules") };
        }
        if self == Self::RetentionRules {
            return RetentionRule::check_all(value).map(|()| value.clone());
        }
        if self == Self::BlockedQueries {
            return BlockedQuery::check_all(value).map(|()| value.clone());
        }
        let Some(text) = scalar_text(value) else { return wrong("a single value") };
        match self {
            Self::Text | Self::TextList | Self::Peers | Self::RuleList | Self::RetentionRules | Self::BlockedQueries => {
                Ok(Value::String(text))
            }
            Self::Moment => Moment::parse(&text).map(|_| Value::String(text)),
            Self::Address => match text.parse::<std::net::SocketAddr>() {
                Ok(address) => Ok(Value::String(address.to_string())),
                Err(_) => wrong("an address, write for instance 0.0.0.0:3100"),
            },
            Self::Boolean => match text.as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => wrong("true or false"),
            },
            Self::Integer => text.parse::<u32>().map(|number| Value::Number(number.into())).or_else(|_| wrong("a whole number from 0 on")),
            Self::Number => match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number >= 0.0 => Ok(Value::Number(number.into())),
                _ => wrong("a number from 0 on"),
            },
            Self::Size => ByteSize::parse(&text).map(|_| Value::String(text)).map_err(|error| error.to_string()),
            Self::Duration => {
                Span::parse(&text).map(|_| Value::String(text)).map_err(|error| format!("{error}, write for instance 100ms, 30s or 1h30m"))
            }
            Self::OneOf(names) if names.contains(&text.as_str()) => Ok(Value::String(text)),
            Self::OneOf(names) => wrong(&format!("one of {}", names.join(", "))),
        }
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    match scalar_text(value) {
        Some(text) => format!("`{text}`"),
        None => match value {
            Value::Null => "nothing".to_owned(),
            Value::Sequence(_) => "a list".to_owned(),
            _ => "a map".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Mapping(map) => {
                for (name, value) in map {
                    let name = name.as_str().expect("keys are texts");
                    leaves(&if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, value, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn the_table_and_the_structs_name_the_same_keys() {
        let mut found = Vec::new();
        leaves("", &serde_yaml_ng::to_value(Config::default()).expect("a tree"), &mut found);
        let mut named: Vec<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        found.sort();
        named.sort();
        assert_eq!(found, named);
    }

    #[test]
    fn keys_have_flags_and_variables() {
        let key = Key::find("storage.s3.force_path_style").expect("a key");
        assert_eq!(
            (key.flag().as_str(), key.variable().as_str()),
            ("storage-s3-force-path-style", "TAILWATER_STORAGE_S3_FORCE_PATH_STYLE")
        );
    }

    #[test]
    fn a_service_stands_for_its_address() {
        for (written, address) in [("service: logs-headless", "http://logs-headless:3100"), ("service: logs:80", "http://logs:80")] {
            let value: Value = serde_yaml_ng::from_str(written).expect("a map");
            assert_eq!(Kind::Peers.normalised(&value), Ok(Value::Sequence(vec![address.into()])));
        }
        assert_eq!(Kind::Peers.normalised(&Value::from("logs")), Err("`logs` is not a list of texts".to_owned()));
    }

    #[test]
    fn wrong_values_are_told_with_what_to_write() {
        for (kind, value, expected) in [
            (Kind::Boolean, Value::from("yes"), "`yes` is not true or false"),
            (Kind::Integer, Value::from(-1), "`-1` is not a whole number from 0 on"),
            (Kind::Size, Value::from("8 apples"), "`8 apples` is not a size, write for instance 8MiB"),
            (Kind::Duration, Value::from(5), "not a valid duration string: \"5\", write for instance 100ms, 30s or 1h30m"),
            (Kind::OneOf(&["a", "b"]), Value::from("c"), "`c` is not one of a, b"),
            (Kind::Text, Value::Sequence(Vec::new()), "a list is not a single value"),
            (Kind::Address, Value::from("localhost"), "`localhost` is not an address, write for instance 0.0.0.0:3100"),
        ] {
            assert_eq!(kind.normalised(&value), Err(expected.to_owned()));
        }
    }
}
