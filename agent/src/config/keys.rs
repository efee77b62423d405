//! The table of keys. A key's text form is the same in the file, in a flag and in a variable.

use std::collections::BTreeMap;

use super::client_keys::CLIENT_KEYS;
use super::metadata_keys::METADATA_KEYS;
use super::values::{at_least_1k, chosen, duration, name_of, path, shown, size, truth, whole};
use super::{AllowedAnnotations, Config, InitialLookback, LogFormat, LongLine, RecordFormat, Unparsed};

/// Shown instead of a secret.
pub(super) const MASKED: &str = "<secret>";

/// One scalar key.
pub struct Key {
    /// As in the file, parts joined by dots; keys of each client begin with `clients[0].`.
    pub path: &'static str,
    /// For the help text.
    pub about: &'static str,
    /// Sets it; the error says what would be right.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// Its present value; `None` if it is not set.
    pub get: fn(&Config) -> Option<String>,
}

/// One key whose value is a mapping of names to texts.
pub struct MapKey {
    pub path: &'static str,
    pub map: fn(&mut Config) -> &mut BTreeMap<String, String>,
    pub get: fn(&Config) -> &BTreeMap<String, String>,
    pub is_secret: bool,
}

pub const CLIENT: &str = "clients[0].";

const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)];
const UNPARSED: [(&str, Unparsed); 2] = [("keep", Unparsed::Keep), ("drop", Unparsed::Drop)];
const LONG_LINES: [(&str, LongLine); 3] = [("truncate", LongLine::Truncate), ("split", LongLine::Split), ("drop", LongLine::Drop)];
/// Whether lines beyond a rate are dropped.
const ON_RATE: [(&str, bool); 2] = [("slow", false), ("drop", true)];

/// All scalar keys but those of the client.
const KEYS: &[Key] = &[
    Key {
        path: "data_dir",
        about: "Directory of positions and lock",
        set: |config, text| path(text).map(|value| config.data_dir = value),
        get: |config| Some(config.data_dir.display().to_string()),
    },
    Key {
        path: "pods_dir",
        about: "Tree of pod logs; `none` to read what `scrape_configs` name alone",
        set: |config, text| {
            config.reads_pods = text != "none";
            if config.reads_pods { path(text).map(|value| config.pods_dir = value) } else { Ok(()) }
        },
        get: |config| Some(if config.reads_pods { config.pods_dir.display().to_string() } else { "none".to_owned() }),
    },
    Key {
        path: "docker_root",
        about: "Docker's own directory, into which links of the tree of pod logs may lead",
        set: |config, text| path(text).map(|value| config.docker_root = value),
        get: |config| Some(config.docker_root.display().to_string()),
    },
    Key {
        path: "listen",
        about: "Address of /ready and /metrics; `none` to serve nothing",
        set: |config, text| {
            config.listen = match text {
                "none" | "" => None,
                text => {
                    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
                    Some(full.parse().map_err(|_| "an address like `0.0.0.0:3101`, or `none`".to_owned())?)
                }
            };
            Ok(())
        },
        get: |config| Some(config.listen.map_or("none".to_owned(), |address| address.to_string())),
    },
    Key {
        path: "log_level",
        about: "error, warn, info, debug or trace",
        set: |config, text| {
            let levels = LOG_LEVELS.map(|level| (level, level));
            chosen(text, &levels).map(|level| level.clone_into(&mut config.log_level))
        },
        get: |config| Some(config.log_level.clone()),
    },
    Key {
        path: "log_format",
        about: "logfmt or json",
        set: |config, text| chosen(text, &LOG_FORMATS).map(|value| config.log_format = value),
        get: |config| name_of(&config.log_format, &LOG_FORMATS),
    },
    Key {
        path: "enable_reload",
        about: "Whether POST /reload and a changed file bring a new configuration: true or false",
        set: |config, text| truth(text).map(|value| config.enable_reload = value),
        get: |config| Some(config.enable_reload.to_string()),
    },
    Key {
        path: "node_name",
        about: "Name of this node; by default NODE_NAME, then the host's name",
        set: |config, text| {
            text.clone_into(&mut config.node_name);
            Ok(())
        },
        get: |config| Some(config.node_name.clone()),
    },
    Key {
        path: "kubeconfig",
        about: "Outside a cluster: kubeconfig file of its API",
        set: |config, text| path(text).map(|value| config.kubeconfig = Some(value)),
        get: |config| config.kubeconfig.as_ref().map(|path| path.display().to_string()),
    },
    Key {
        path: "format",
        about: "Format of log files: auto, cri, docker, or raw for lines that are no records",
        set: |config, text| chosen(text, &RecordFormat::NAMES).map(|value| config.format = value),
        get: |config| name_of(&config.format, &RecordFormat::NAMES),
    },
    Key {
        path: "unparsed",
        about: "Records that are not in their format: keep or drop",
        set: |config, text| chosen(text, &UNPARSED).map(|value| config.unparsed = value),
        get: |config| name_of(&config.unparsed, &UNPARSED),
    },
    Key {
        path: "auto_multiline",
        about: "Containers whose stack traces (Java, Python, Go, Node, Ruby, .NET, PHP) are one line each, a list as `include`; `all` or `none`",
        set: |config, text| config.auto_multiline.set(text),
        get: |config| Some(config.auto_multiline.text()),
    },
    Key {
        path: "limits.max_line_size",
        about: "Longest line, its pieces joined",
        set: |config, text| size(text).and_then(at_least_1k).map(|value| config.max_line_size = value),
        get: |config| Some(config.max_line_size.to_string()),
    },
    Key {
        path: "limits.long_line",
        about: "Longer lines: truncate, split (pieces, each with its number) or drop",
        set: |config, text| chosen(text, &LONG_LINES).map(|value| config.long_line = value),
        get: |config| name_of(&config.long_line, &LONG_LINES),
    },
    Key {
        path: "limits.max_record_bytes",
        about: "Longest physical line; pieces that are longer together are several lines",
        set: |config, text| size(text).and_then(at_least_1k).map(|value| config.max_record_bytes = value),
        get: |config| Some(config.max_record_bytes.to_string()),
    },
    Key {
        path: "limits.max_streams",
        about: "Streams of this process; lines of further ones are dropped and counted. 0 is without limit",
        set: |config, text| whole(text).map(|streams| config.max_streams = streams),
        get: |config| Some(config.max_streams.to_string()),
    },
    Key {
        path: "limits.max_label_names_per_series",
        about: "Labels of a stream; those beyond are sent as structured metadata. 0 is without limit",
        set: |config, text| whole(text).map(|names| config.label_limits.names = names),
        get: |config| Some(config.label_limits.names.to_string()),
    },
    Key {
        path: "limits.max_label_value_length",
        about: "Bytes of a label's value; longer ones are sent as structured metadata. 0 is without limit",
        set: |config, text| whole(text).map(|bytes| config.label_limits.value_bytes = bytes),
        get: |config| Some(config.label_limits.value_bytes.to_string()),
    },
    Key {
        path: "limits.rate_bytes",
        about: "Bytes a container may write a second; 0 is without limit",
        set: |config, text| size(text).map(|value| config.rate.bytes = value as u64),
        get: |config| Some(config.rate.bytes.to_string()),
    },
    Key {
        path: "limits.rate_lines",
        about: "Lines a container may write a second; 0 is without limit",
        set: |config, text| whole(text).map(|value| config.rate.lines = value),
        get: |config| Some(config.rate.lines.to_string()),
    },
    Key {
        path: "limits.on_rate",
        about: "Lines beyond those limits: slow (they wait in their file) or drop",
        set: |config, text| chosen(text, &ON_RATE).map(|value| config.rate.drops = value),
        get: |config| name_of(&config.rate.drops, &ON_RATE),
    },
    Key {
        path: "memory_limit",
        about: "Memory that lines being read and sent are fitted to; more for thousands of files",
        set: |config, text| {
            let bytes = size(text)?;
            config.memory_limit = Some(bytes).filter(|bytes| *bytes >= 8 << 20).ok_or_else(|| "at least `8MiB`".to_owned())?;
            Ok(())
        },
        get: |config| Some(config.memory_limit.to_string()),
    },
    Key {
        path: "max_open_files",
        about: "Log files held open; quiet ones are closed beyond it",
        set: |config, text| {
            config.max_open_files = text.parse().ok().filter(|files| *files > 0).ok_or_else(|| "a whole number above 0".to_owned())?;
            Ok(())
        },
        get: |config| Some(config.max_open_files.to_string()),
    },
    Key {
        path: "deleted_hold_bytes",
        about: "Bytes of deleted log files held open until they are read",
        set: |config, text| size(text).map(|value| config.deleted_hold_bytes = value as u64),
        get: |config| Some(config.deleted_hold_bytes.to_string()),
    },
    Key {
        path: "initial_lookback",
        about: "What the first start on a data directory reads of what is there: all, lines of the last while (like 1h), or end (none)",
        set: |config, text| {
            config.initial_lookback = match text {
                "all" => InitialLookback::All,
                "end" => InitialLookback::End,
                text => InitialLookback::For(duration(text).map_err(|_| "`all`, `end` or a duration like `1h`".to_owned())?),
            };
            Ok(())
        },
        get: |config| {
            Some(match config.initial_lookback {
                InitialLookback::All => "all".to_owned(),
                InitialLookback::End => "end".to_owned(),
                InitialLookback::For(duration) => shown(duration),
            })
        },
    },
    Key {
        path: "include",
        about: "Containers to read, a list of `namespace`, `namespace/pod` or `namespace/pod/container` with * and ?, each also with labels of its pod like `{app=web}`; empty: all",
        set: |config, text| config.selection.set_include(text),
        get: |config| Some(config.selection.include()),
    },
    Key {
        path: "exclude",
        about: "Containers to leave out, as `include`; their files are not opened",
        set: |config, text| config.selection.set_exclude(text),
        get: |config| Some(config.selection.exclude()),
    },
    Key {
        path: "annotations.allow",
        about: "Annotations of pods and namespaces that are honoured, a list; `all` or `none`",
        set: |config, text| {
            config.annotations = AllowedAnnotations::parse(text)?;
            Ok(())
        },
        get: |config| Some(config.annotations.to_string()),
    },
    Key {
        path: "events.enabled",
        about: "Whether events of the Kubernetes API are sent, by one agent of the cluster: true or false",
        set: |config, text| truth(text).map(|value| config.events = value),
        get: |config| Some(config.events.to_string()),
    },
];

/// All scalar keys.
pub fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(METADATA_KEYS).chain(CLIENT_KEYS)
}

/// Keys that take a list of texts, also written as one text with commas.
pub const LIST_KEYS: [&str; 10] = [
    "auto_multiline",
    "annotations.allow",
    "include",
    "exclude",
    "metadata",
    "labels.keep",
    "labels.drop",
    "labels.pod_labels",
    "labels.pod_annotations",
    "labels.namespace_labels",
];

/// All keys with mappings.
pub const MAP_KEYS: &[MapKey] = &[
    MapKey { path: "labels.external", map: |config| &mut config.external_labels, get: |config| &config.external_labels, is_secret: false },
    MapKey {
        path: "clients[0].external_labels",
        map: |config| &mut config.client.external_labels,
        get: |config| &config.client.external_labels,
        is_secret: false,
    },
    MapKey { path: "clients[0].headers", map: |config| &mut config.client.headers, get: |config| &config.client.headers, is_secret: true },
];

impl Key {
    /// `limits.max_line_size` is `limits-max-line-size`. The client's url is `push-url`; its other keys are of the file only.
    pub fn flag(&self) -> Option<String> {
        if self.path == "clients[0].url" {
            return Some("push-url".to_owned());
        }
        (!self.path.starts_with(CLIENT)).then(|| self.path.replace(['.', '_'], "-"))
    }

    /// `limits.max_line_size` is `TAILWATER_LIMITS_MAX_LINE_SIZE`.
    pub fn variable(&self) -> Option<String> {
        self.flag().map(|flag| format!("TAILWATER_{}", flag.replace('-', "_").to_uppercase()))
    }
}

/// `config` as `agent.yaml`, secrets masked.
pub fn print(config: &Config) -> String {
    let mut root = mapping(config);
    if let Some(stages) = &config.pipeline_stages {
        insert(&mut root, "pipeline_stages", stages.written.clone());
    }
    if let Some(native) = &config.scrape_configs {
        insert(&mut root, "scrape_configs", native.shown.clone());
    }
    let further = config.more_clients.iter().map(|client| Config { client: client.clone(), ..Config::default() });
    let clients = root.remove("clients[0]").into_iter().chain(further.filter_map(|other| mapping(&other).remove("clients[0]")));
    root.insert("clients".into(), serde_yaml_ng::Value::Sequence(clients.collect()));
    serde_yaml_ng::to_string(&root).expect("texts and mappings are always YAML")
}

/// `config` as an `agent.yaml` to be used: what is not as by default, secrets as they are.
pub(crate) fn print_native(config: &Config, scrape_configs: serde_yaml_ng::Value) -> String {
    let defaults = mapping(&Config::default());
    let mut root = changed(with_secrets(config), &defaults);
    let further = config.more_clients.iter().map(|client| Config { client: client.clone(), ..Config::default() });
    let client_of = |mut root: serde_yaml_ng::Mapping| root.remove("clients[0]");
    let others = further.filter_map(|other| client_of(changed(with_secrets(&other), &defaults)));
    let clients = root.remove("clients[0]").into_iter().chain(others).collect();
    root.insert("clients".into(), serde_yaml_ng::Value::Sequence(clients));
    root.insert("scrape_configs".into(), scrape_configs);
    serde_yaml_ng::to_string(&root).expect("texts and mappings are always YAML")
}

/// All that is set, secrets included.
fn with_secrets(config: &Config) -> serde_yaml_ng::Mapping {
    let mut root = mapping(config);
    let client = &config.client;
    let password = client.basic_auth.as_ref().map(|(_, password)| &password.0);
    let token = client.bearer_token.as_ref().map(|token| &token.0);
    for (path, value) in [
        ("clients[0].basic_auth.password", password),
        ("clients[0].bearer_token", token),
        ("clients[0].proxy_url", client.proxy_url.as_ref()),
    ] {
        if let Some(value) = value {
            insert(&mut root, path, value.clone().into());
        }
    }
    let headers = client.headers.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
    insert(&mut root, "clients[0].headers", serde_yaml_ng::Value::Mapping(headers.collect()));
    root
}

/// What of `mapping` is not in `defaults`.
fn changed(mapping: serde_yaml_ng::Mapping, defaults: &serde_yaml_ng::Mapping) -> serde_yaml_ng::Mapping {
    let different = mapping.into_iter().filter_map(|(name, value)| match (value, defaults.get(&name)) {
        (serde_yaml_ng::Value::Mapping(inner), Some(serde_yaml_ng::Value::Mapping(known))) => {
            let inner = changed(inner, known);
            (!inner.is_empty()).then_some((name, inner.into()))
        }
        (value, Some(known)) if value == *known => None,
        (serde_yaml_ng::Value::String(text), _) if text.is_empty() => None,
        (serde_yaml_ng::Value::Mapping(inner), None) if inner.is_empty() => None,
        (value, _) => Some((name, value)),
    });
    different.collect()
}

/// All that is set, the first client below `clients[0]`.
fn mapping(config: &Config) -> serde_yaml_ng::Mapping {
    let mut root = serde_yaml_ng::Mapping::new();
    for key in all() {
        if let Some(value) = (key.get)(config) {
            insert(&mut root, key.path, value.into());
        }
    }
    for key in MAP_KEYS {
        let pairs = (key.get)(config).iter();
        let shown = pairs.map(|(name, value)| (name.clone().into(), if key.is_secret { MASKED.into() } else { value.clone().into() }));
        insert(&mut root, key.path, serde_yaml_ng::Value::Mapping(shown.collect()));
    }
    root
}

fn insert(mapping: &mut serde_yaml_ng::Mapping, path: &str, value: serde_yaml_ng::Value) {
    match path.split_once('.') {
        None => {
            mapping.insert(path.into(), value);
        }
        Some((head, rest)) => {
            let inner = mapping.entry(head.into()).or_insert_with(|| serde_yaml_ng::Value::Mapping(Default::default()));
            if let Some(inner) = inner.as_mapping_mut() {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_guide() {
        let guide = include_str!("../../../docs/agent-configuration.md");
        let config = Config::default();
        let row = |key: &Key| {
            let default = (key.get)(&config).filter(|value| !value.is_empty()).map_or(String::new(), |value| format!("`{value}`"));
            format!("| `{}` | {default} | {} |", key.path, key.about)
        };
        let missing: Vec<String> = all().map(row).filter(|row| !guide.lines().any(|line| line == row)).collect();
        assert!(missing.is_empty(), "rows that the guide does not have:\n{}", missing.join("\n"));
        let is_map = |key: &MapKey| guide.contains(&format!("| `{}` |", key.path));
        assert!(MAP_KEYS.iter().all(is_map));
    }
}
