//! Merging: leaves of the file, then variables, then flags, each checked, into one tree.

use std::collections::BTreeMap;
use std::fmt;

use serde_yaml_ng::{Mapping, Value};
use tailwater_storage::cluster::NEWEST_FORMAT;

use crate::config::key::Key;
use crate::config::{Config, S3};
use crate::limits::Limits;

/// One mistake: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, flag or variable.
    pub place: String,
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// A configuration, and what of it has no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    pub config: Config,
    pub warnings: Vec<String>,
}

/// Merges a file's tree with variables and flags (key and text each); tells every mistake there is.
pub fn merge(file: &Value, variables: &[(&'static Key, String)], flags: &[(&'static Key, String)]) -> Result<Merged, Vec<ConfigError>> {
    let mut merger = Merger::default();
    merger.file(file);
    for (key, text) in variables {
        merger.scalar(key, text, &key.variable());
    }
    for (key, text) in flags {
        merger.scalar(key, text, &format!("--{}", key.flag()));
    }
    merger.finish()
}

#[derive(Default)]
struct Merger {
    leaves: BTreeMap<&'static str, Value>,
    /// By tenant, then by name of the limit.
    overrides: BTreeMap<String, BTreeMap<&'static str, Value>>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
}

impl Merger {
    fn error(&mut self, place: &str, problem: impl Into<String>) {
        self.errors.push(ConfigError { place: place.to_owned(), problem: problem.into() });
    }

    fn file(&mut self, file: &Value) {
        match file {
            Value::Null => {}
            Value::Mapping(map) => self.section("", map),
            _ => self.error("configuration", "is not a map of keys, write for instance `listen: 0.0.0.0:3100`"),
        }
    }

    fn section(&mut self, path: &str, map: &Mapping) {
        for (name, value) in map {
            let Some(name) = name.as_str() else {
                self.error(path, "has a key that is no text");
                continue;
            };
            let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match (key.as_str(), value) {
                ("overrides", Value::Mapping(tenants)) => self.tenants(tenants),
                (_, Value::Null) if is_section(&key) => {}
                (_, Value::Mapping(map)) if is_section(&key) => self.section(&key, map),
                (_, _) if is_section(&key) => self.error(&key, "is a section, write its keys below it"),
                _ => self.leaf(&key, value),
            }
        }
    }

    fn leaf(&mut self, name: &str, value: &Value) {
        if let Some(key) = Key::find(name) {
            match key.kind.normalised(value) {
                Ok(value) => drop(self.leaves.insert(key.name, value)),
                Err(problem) => self.error(name, problem),
            }
            return;
        }
        match name.strip_prefix("limits.") {
            Some(limit) if Limits::WITHOUT_EFFECT.contains(&limit) => self.warn_of(name),
            _ => self.error(name, unknown(name)),
        }
    }

    fn warn_of(&mut self, name: &str) {
        self.warnings.push(format!("`{name}` is one of Loki's limits that has no effect here"));
    }

    fn tenants(&mut self, tenants: &Mapping) {
        for (tenant, limits) in tenants {
            let Some(tenant) = tenant.as_str() else {
                self.error("overrides", "has a tenant that is no text, put its name in quotes");
                continue;
            };
            let Value::Mapping(limits) = limits else {
                self.error(&format!("overrides.{tenant}"), "is a section, write limits below it");
                continue;
            };
            for (limit, value) in limits {
                self.tenant_limit(tenant, limit.as_str().unwrap_or_default(), value);
            }
        }
    }

    fn tenant_limit(&mut self, tenant: &str, limit: &str, value: &Value) {
        let place = format!("overrides.{tenant}.{limit}");
        let Some(key) = Key::find(&format!("limits.{limit}")) else {
            if Limits::WITHOUT_EFFECT.contains(&limit) {
                self.warn_of(&place);
            } else {
                self.error(&place, unknown(&place));
            }
            return;
        };
        match key.kind.normalised(value) {
            Ok(value) => drop(self.overrides.entry(tenant.to_owned()).or_default().insert(key.name, value)),
            Err(problem) => self.error(&place, problem),
        }
    }

    fn scalar(&mut self, key: &'static Key, text: &str, place: &str) {
        match key.kind.normalised(&Value::String(text.to_owned())) {
            Ok(value) => drop(self.leaves.insert(key.name, value)),
            Err(problem) => self.error(place, problem),
        }
    }

    fn finish(mut self) -> Result<Merged, Vec<ConfigError>> {
        let mut tree = Mapping::new();
        for (name, value) in &self.leaves {
            put(&mut tree, name, value.clone());
        }
        tree.insert("overrides".into(), self.whole_overrides().into());
        match serde_yaml_ng::from_value::<Config>(Value::Mapping(tree)) {
            Ok(config) => {
                self.errors.extend(contradictions(&config));
                if self.errors.is_empty() {
                    return Ok(Merged { config, warnings: self.warnings });
                }
            }
            Err(error) => self.error("configuration", error.to_string()),
        }
        Err(self.errors)
    }
}

impl Merger {
    /// The limits of each tenant with overrides: the common ones with its own on top.
    fn whole_overrides(&self) -> Mapping {
        let mut overrides = Mapping::new();
        for (tenant, limits) in &self.overrides {
            let common = self.leaves.iter().filter(|(name, _)| name.starts_with("limits."));
            let mut own = Mapping::new();
            for (name, value) in common.chain(limits) {
                put(&mut own, name.strip_prefix("limits.").unwrap_or(name), value.clone());
            }
            overrides.insert(tenant.as_str().into(), own.into());
        }
        overrides
    }
}

/// Is the key a part of other keys' names?
fn is_section(name: &str) -> bool {
    name == "overrides" || crate::config::key::KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Puts a value at a dotted path.
fn put(tree: &mut Mapping, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(tree.insert(name.into(), value)),
        Some((section, rest)) => {
            let below = tree.entry(section.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
            if let Value::Mapping(below) = below {
                put(below, rest, value);
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // Of names that have no letter in common none is meant.
    let of_last = |one: &str, other: &str| Some(1 + distance(one, other)).filter(|found| *found <= one.len().min(other.len()));
    let close = crate::config::key::KEYS.iter().map(|key| {
        let whole = distance(name, key.name);
        (of_last(&last(name), &last(key.name)).map_or(whole, |found| found.min(whole)), key.name)
    });
    match close.min() {
        Some((distance, key)) if distance <= 3 => format!("unknown key, did you mean `{key}`?"),
        _ => "unknown key, remove it or see --print-config for the keys there are".to_owned(),
    }
}

/// How many characters have to be added, removed or changed.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, l) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, r) in right.bytes().enumerate() {
            let changed = diagonal + usize::from(l != r);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

/// What single keys cannot show.
fn contradictions(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut error = |place: &str, problem: &str| errors.push(ConfigError { place: place.to_owned(), problem: problem.to_owned() });
    if config.storage.kind == super::StorageKind::S3 && config.storage.s3.bucket.is_empty() {
        error("storage.s3.bucket", "is empty, name the bucket to store in");
    }
    if config.storage.kind == super::StorageKind::Filesystem && config.storage.filesystem.path.as_os_str().is_empty() {
        error("storage.filesystem.path", "is empty, name the folder to store in");
    }
    if config.storage.s3.endpoint.starts_with("http://") && !config.storage.s3.insecure {
        error("storage.s3.endpoint", "is plain HTTP, use https:// or set storage.s3.insecure to true");
    }
    if !(1..=NEWEST_FORMAT).contains(&config.storage.format_version) {
        error("storage.format_version", &format!("is not one of 1 to {NEWEST_FORMAT}, which this program can write"));
    }
    let sse = &config.storage.s3.sse;
    if !sse.is_empty() && !S3::ENCRYPTIONS.contains(&sse.as_str()) {
        error("storage.s3.sse", &format!("is not one of {}", S3::ENCRYPTIONS.join(", ")));
    }
    if !config.storage.s3.kms_key_id.is_empty() && !sse.starts_with("aws:kms") {
        error("storage.s3.kms_key_id", "is a key of aws:kms, set storage.s3.sse to that");
    }
    if config.tls.is_on() == config.tls.key.as_os_str().is_empty() {
        error("tls", "needs both, certificate and key");
    }
    if config.tls.client_authorities().is_some() && !config.tls.is_on() {
        error("tls.client_ca", "knows clients by certificates, which needs tls.certificate and tls.key");
    }
    for (name, span) in
        [("flush_interval", config.flush_interval), ("ack_timeout", config.ack_timeout), ("discover_interval", config.discover_interval)]
    {
        if span.is_zero() {
            error(name, "is zero, it has to be longer");
        }
    }
    if config.segment_bytes.as_u64() == 0 {
        error("segment_bytes", "is zero, it has to be larger");
    }
    if config.tenancy.default.is_empty() {
        error("tenancy.default", "is empty, name the tenant of data without one");
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::size::ByteSize;
    use crate::config::span::Span;

    fn yaml(text: &str) -> Value {
        serde_yaml_ng::from_str(text).expect("YAML")
    }

    fn key(name: &str) -> &'static Key {
        Key::find(name).expect("a key")
    }

    fn errors(text: &str) -> Vec<String> {
        merge(&yaml(text), &[], &[]).expect_err(text).iter().map(ConfigError::to_string).collect()
    }

    #[test]
    fn flags_beat_variables_and_variables_beat_the_file() {
        let file = yaml("flush_interval: 1s\nsegment_bytes: 1MiB\nack_timeout: 9s\n");
        let variables = [(key("segment_bytes"), "2MiB".to_owned()), (key("ack_timeout"), "3s".to_owned())];
        let flags = [(key("ack_timeout"), "4s".to_owned()), (key("strict_loki"), "true".to_owned())];
        let config = merge(&file, &variables, &flags).expect("a configuration").config;
        assert_eq!(config.flush_interval, Span::seconds(1));
        assert_eq!(config.segment_bytes, ByteSize::mebibytes(2));
        assert_eq!(config.ack_timeout, Span::seconds(4));
        assert!(config.strict_loki);
        assert_eq!(config.discover_interval, Config::default().discover_interval);
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_keys() {
        let file = "listn: 1\nstorage:\n  type: floppy\n  s3: {buckt: x}\nlimits: 7\noverrides:\n  a: {max_line_size: long, x: 1}\nstrict_loki: maybe\n";
        assert_eq!(
            errors(file),
            [
                "listn: unknown key, did you mean `listen`?",
                "storage.type: `floppy` is not one of filesystem, s3",
                "storage.s3.buckt: unknown key, did you mean `storage.s3.bucket`?",
                "limits: is a section, write its keys below it",
                "overrides.a.max_line_size: `long` is not a size, write for instance 8MiB",
                "overrides.a.x: unknown key, remove it or see --print-config for the keys there are",
                "strict_loki: `maybe` is not true or false",
            ]
        );
        let variables = [(key("segment_bytes"), "x".to_owned())];
        let flags = [(key("tenancy.enabled"), "x".to_owned())];
        let told: Vec<String> = merge(&Value::Null, &variables, &flags).expect_err("wrong").iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["TAILWATER_SEGMENT_BYTES: `x` is not a size, write for instance 8MiB", "--tenancy-enabled: `x` is not true or false"]
        );
    }

    #[test]
    fn contradictions_are_told() {
        assert_eq!(errors("storage: {type: s3}"), ["storage.s3.bucket: is empty, name the bucket to store in"]);
        assert_eq!(errors("storage: {s3: {sse: md5}}"), ["storage.s3.sse: is not one of AES256, aws:kms, aws:kms:dsse"]);
        for version in [0, 2] {
            let refused = "storage.format_version: is not one of 1 to 1, which this program can write";
            assert_eq!(errors(&format!("storage: {{format_version: {version}}}")), [refused]);
        }
        assert_eq!(errors("flush_interval: 0s"), ["flush_interval: is zero, it has to be longer"]);
        for half in ["tls: {certificate: a.crt}", "tls: {key: a.key}"] {
            assert_eq!(errors(half), ["tls: needs both, certificate and key"]);
        }
        assert_eq!(
            errors("tls: {client_ca: ca.crt}"),
            ["tls.client_ca: knows clients by certificates, which needs tls.certificate and tls.key"]
        );
        assert_eq!(
            errors("storage: {s3: {endpoint: 'http://minio:9000'}}"),
            ["storage.s3.endpoint: is plain HTTP, use https:// or set storage.s3.insecure to true"]
        );
    }

    #[test]
    fn overrides_stand_on_top_of_the_common_limits() {
        let file = yaml(
            "limits: {max_line_size: 1KB, max_query_series: 7}\noverrides:\n  strict: {max_line_size: 256, reject_old_samples: true}\n",
        );
        let config = merge(&file, &[], &[]).expect("a configuration").config;
        let strict = &config.overrides["strict"];
        assert_eq!((strict.max_line_size, strict.max_query_series), (ByteSize::bytes(256), 7));
        assert_eq!(strict.reject_old_samples, Some(true));
        assert_eq!(config.limits.max_line_size, ByteSize::kibibytes(1));
    }

    #[test]
    fn limits_of_loki_without_effect_are_warned_of() {
        let file = yaml("limits: {cardinality_limit: 5}\noverrides: {a: {max_query_parallelism: 3MB}}\n");
        let merged = merge(&file, &[], &[]).expect("a configuration");
        assert_eq!(
            merged.warnings,
            [
                "`limits.cardinality_limit` is one of Loki's limits that has no effect here",
                "`overrides.a.max_query_parallelism` is one of Loki's limits that has no effect here"
            ]
        );
    }
}
