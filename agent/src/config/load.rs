//! Bringing file, variables and flags together.
//!
//! Every problem is listed, each with where it stands and what would be right; nothing is guessed. A configuration that loads is complete.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::{CLIENT, LIST_KEYS, MAP_KEYS, all};
use super::{Config, KubeletAccess, MetadataSource, NativeScrapeConfigs, PipelineStages, PromtailConfig};
use crate::passes::positions_name;
use crate::promtail::shown::written;
use crate::promtail::yaml::{self, Node};

/// Keys whose values are Promtail's.
const PIPELINE_STAGES: &str = "pipeline_stages";
const SCRAPE_CONFIGS: &str = "scrape_configs";

/// Why there is no configuration. Each problem is one line.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

/// Where values come from, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// Flags by name, without dashes.
    pub flags: BTreeMap<String, String>,
    /// A `promtail.yaml`, already read: it comes before the defaults and after everything else.
    pub promtail: Option<Arc<PromtailConfig>>,
}

/// Loads a configuration for running: a receiver must be named.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let mut problems = Vec::new();
    set_from_surroundings(&mut config, &sources.variables);
    if let Some(promtail) = &sources.promtail {
        config.data_dir = promtail.default_data_dir();
        config.listen = promtail.listen();
        promtail.log_level().clone_into(&mut config.log_level);
        config.log_format = promtail.log_format();
        config.enable_reload = promtail.enables_reload();
        config.promtail = Some(Arc::clone(promtail));
    }
    if let Some(path) = &sources.file {
        read_file(path, &mut config, &mut problems);
    }
    for key in all() {
        let (Some(flag), Some(variable)) = (key.flag(), key.variable()) else { continue };
        let from_variable = sources.variables.get(&variable).map(|value| (value, format!("variable `{variable}`")));
        let from_flag = sources.flags.get(&flag).map(|value| (value, format!("flag `--{flag}`")));
        if let Some((value, place)) = from_flag.or(from_variable)
            && let Err(expected) = (key.set)(&mut config, value)
        {
            problems.push(format!("{place}: expected {expected}, found `{value}`"));
        }
    }
    check(&config, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
}

/// What the surroundings say about node and cluster.
fn set_from_surroundings(config: &mut Config, variables: &BTreeMap<String, String>) {
    let is_set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    config.node_name = is_set("NODE_NAME").cloned().or_else(host).unwrap_or_default();
    let node = is_set("NODE_IP").cloned().unwrap_or_else(|| config.node_name.clone());
    config.kubelet = KubeletAccess::of_node(&node);
    config.in_cluster = is_set("KUBERNETES_SERVICE_HOST").is_some();
}

fn check(config: &Config, problems: &mut Vec<String>) {
    if config.client.url.is_empty() && config.promtail.is_none() {
        problems.push("no receiver: give `clients[0].url` in the file, or `--push-url http://HOST:3100/loki/api/v1/push`".to_owned());
    }
    if config.events && !config.in_cluster && config.kubeconfig.is_none() {
        problems.push("`events.enabled` needs the Kubernetes API: run in a cluster, or set `kubeconfig`".to_owned());
    }
    if config.metadata_source == MetadataSource::Kubelet && !config.in_cluster && config.kubeconfig.is_none() {
        problems
            .push("`metadata_source: kubelet` needs the Kubernetes API for namespaces: run in a cluster, or set `kubeconfig`".to_owned());
    }
    if let Some(native) = config.scrape_configs.as_ref().filter(|_| config.reads_pods()) {
        problems.extend(native.jobs_of_pods().map(|job| {
            format!(
                "`scrape_configs`: job `{job}` asks for pods, which the agent reads by itself; leave it out, or set `pods_dir: none` to read what \
                 `scrape_configs` name alone"
            )
        }));
    }
    if !config.reads_pods() && config.scraped().is_none() {
        problems.push("`pods_dir: none` leaves nothing to read; give `scrape_configs`".to_owned());
    }
    let has_api = config.metadata_source != MetadataSource::None && (config.in_cluster || config.kubeconfig.is_some());
    if config.selection.asks_for_labels() && !has_api {
        problems
            .push("`include` and `exclude` by labels of pods need the Kubernetes API: run in a cluster, or set `kubeconfig`".to_owned());
    }
    let clients = || std::iter::once(&config.client).chain(&config.more_clients).enumerate();
    for (index, client) in clients() {
        if client.basic_auth.is_some() && (client.bearer_token.is_some() || client.bearer_token_file.is_some()) {
            problems.push(format!("`clients[{index}]`: give either `basic_auth` or a bearer token, not both"));
        }
    }
    let names: Vec<_> = clients().map(|(index, client)| positions_name(client, index == 0)).collect();
    for (index, name) in names.iter().enumerate().filter(|(index, name)| names[..*index].contains(name)) {
        let what = config.more_clients[index - 1]
            .name
            .as_ref()
            .map_or("the same receiver".to_owned(), |_| format!("named `{}`", name.as_deref().unwrap_or_default()));
        problems.push(format!("`clients[{index}]`: another client is {what}; give it a `name` of its own"));
    }
}

fn read_file(path: &Path, config: &mut Config, problems: &mut Vec<String>) {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(format!("cannot read configuration file `{name}`: {error}"));
            return;
        }
    };
    match yaml::parse(&text) {
        Ok(root) if root.is_null() => {}
        Ok(root) => {
            let mut reader = FileReader { name: name.to_string(), client: 0, config, problems };
            match root.mapping() {
                Some(pairs) => reader.read_mapping("", pairs),
                None => reader.problem(root.line, "expected keys with values"),
            }
        }
        Err(error) => problems.push(format!("`{name}`: line {}: {}", error.line, error.what)),
    }
}

struct FileReader<'a> {
    name: String,
    /// Number of the client that is read.
    client: usize,
    config: &'a mut Config,
    problems: &'a mut Vec<String>,
}

impl FileReader<'_> {
    fn read_mapping(&mut self, prefix: &str, pairs: &[(Node, Node)]) {
        for (key, value) in pairs {
            let Some(text) = key.raw_text() else {
                self.problem(key.line, "a key that is no text");
                continue;
            };
            let path = format!("{prefix}{text}");
            if path == "clients" {
                self.read_clients(value);
            } else if path == PIPELINE_STAGES {
                self.read_stages(value);
            } else if path == SCRAPE_CONFIGS {
                if !value.is_null() {
                    self.read_scrape_configs(key, value);
                }
            } else if !value.is_null() || !is_known(&path) {
                self.read_value(&path, key.line, value);
            }
        }
    }

    fn read_value(&mut self, path: &str, line: usize, value: &Node) {
        let shown = self.shown(path);
        if let Some(key) = MAP_KEYS.iter().find(|key| key.path == path) {
            self.read_text_mapping(path, value, key.map);
        } else if let Some(key) = all().find(|key| key.path == path) {
            match text_of(path, value).as_deref() {
                Some(text) => {
                    if let Err(expected) = (key.set)(self.config, text) {
                        self.problem(value.line, &format!("`{shown}`: expected {expected}, found `{text}`"));
                    }
                }
                None => self.problem(value.line, &format!("`{shown}`: expected a single value")),
            }
        } else if is_group(path) {
            match value.mapping() {
                Some(pairs) => self.read_mapping(&format!("{path}."), pairs),
                None => self.problem(value.line, &format!("`{shown}`: expected keys with values")),
            }
        } else {
            let suggested = suggestion(path).map(|key| format!("; did you mean `{}`?", self.shown(key)));
            self.problem(line, &format!("unknown key `{shown}`{}", suggested.unwrap_or_default()));
        }
    }

    fn read_clients(&mut self, value: &Node) {
        let clients: Option<Vec<_>> =
            value.sequence().unwrap_or_default().iter().map(|client| Some((client.line, client.mapping()?))).collect();
        let Some([(_, first), further @ ..]) = clients.as_deref() else {
            self.problem(value.line, "`clients`: expected a list of clients, like `- url: http://HOST:3100/loki/api/v1/push`");
            return;
        };
        self.read_mapping(CLIENT, first);
        for (index, (line, pairs)) in further.iter().enumerate() {
            self.read_further_client(index + 1, *line, pairs);
        }
    }

    /// The keys of a further client are those of the first.
    fn read_further_client(&mut self, index: usize, line: usize, pairs: &[(Node, Node)]) {
        let mut config = Config::default();
        let mut reader = FileReader { name: self.name.clone(), client: index, config: &mut config, problems: &mut *self.problems };
        reader.read_mapping(CLIENT, pairs);
        if reader.config.client.url.is_empty() {
            reader.problem(line, &format!("`clients[{index}].url` is missing"));
        }
        self.config.more_clients.push(config.client);
    }

    fn read_stages(&mut self, value: &Node) {
        match PipelineStages::read(value, written(value)) {
            Ok(stages) => self.config.pipeline_stages = Some(Arc::new(stages)),
            Err(wrong) => wrong.iter().for_each(|(line, what)| self.problem(*line, &format!("`{PIPELINE_STAGES}`: {what}"))),
        }
    }

    fn read_scrape_configs(&mut self, key: &Node, value: &Node) {
        match NativeScrapeConfigs::read(key, value) {
            Ok(read) => self.config.scrape_configs = Some(Arc::new(read)),
            Err(wrong) => wrong.iter().for_each(|finding| self.problem(finding.line, &format!("{}: {}", finding.path, finding.text))),
        }
    }

    fn read_text_mapping(&mut self, path: &str, value: &Node, map: fn(&mut Config) -> &mut BTreeMap<String, String>) {
        let Some(pairs) = value.mapping() else {
            self.problem(value.line, &format!("`{}`: expected names with values", self.shown(path)));
            return;
        };
        for (name, value) in pairs {
            match (name.raw_text(), value.raw_text()) {
                (Some(name), Some(value)) => {
                    map(self.config).insert(name.to_owned(), value.to_owned());
                }
                _ => self.problem(name.line, &format!("`{}`: expected names with single values", self.shown(path))),
            }
        }
    }

    /// A key as the file has it, of whichever client.
    fn shown(&self, path: &str) -> String {
        path.strip_prefix(CLIENT).map_or_else(|| path.to_owned(), |key| format!("clients[{}].{key}", self.client))
    }

    fn problem(&mut self, line: usize, what: &str) {
        self.problems.push(format!("`{}`: line {line}: {what}", self.name));
    }
}

/// The text of a value; of a list, where the key takes one, its items with commas.
fn text_of(path: &str, value: &Node) -> Option<String> {
    match value.sequence() {
        Some(items) if LIST_KEYS.contains(&path) => {
            let texts: Option<Vec<&str>> = items.iter().map(Node::raw_text).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => value.raw_text().map(str::to_owned),
    }
}

fn is_known(path: &str) -> bool {
    all().map(|key| key.path).chain(MAP_KEYS.iter().map(|key| key.path)).any(|key| key == path) || is_group(path)
}

/// Whether some key lies below `path`.
fn is_group(path: &str) -> bool {
    let prefix = format!("{path}.");
    all().map(|key| key.path).chain(MAP_KEYS.iter().map(|key| key.path)).any(|key| key.starts_with(&prefix))
}

/// The known key that shares most of its beginning and end with `path`, and is about as long.
fn suggestion(path: &str) -> Option<&'static str> {
    let same = |(a, b): &(u8, u8)| a == b;
    let shared = |key: &str| {
        let beginning = key.bytes().zip(path.bytes()).take_while(same).count();
        let end = key.bytes().rev().zip(path.bytes().rev()).take_while(same).count();
        ((beginning + end).min(path.len()), beginning, Reverse(key.len().abs_diff(path.len())))
    };
    let best = all().map(|key| key.path).max_by_key(|key| shared(key));
    best.filter(|key| shared(key).0 * 3 > path.len() * 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::print;
    use std::time::Duration;

    fn load_text(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("agent.yaml");
        std::fs::write(&file, text).unwrap();
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { file: Some(file.clone()), variables: map(variables), flags: map(flags), promtail: None };
        let name = file.display().to_string();
        load(&sources).map_err(|error| error.problems.iter().map(|problem| problem.replace(&name, "agent.yaml")).collect())
    }

    const ONE_CLIENT: &str =
        "clients:\n- url: http://h/loki/api/v1/push\n  batchwait: 2s\n  headers: {X-A: b}\n  backoff_config: {max_retries: 3}\n";

    #[test]
    fn flag_over_variable_over_file_over_default() {
        let text = format!("data_dir: /file\n{ONE_CLIENT}");
        let load_with = |variables: &[(&str, &str)], flags: &[(&str, &str)]| load_text(&text, variables, flags).unwrap();
        assert_eq!(load_with(&[], &[]).data_dir, PathBuf::from("/file"));
        assert_eq!(load_with(&[("TAILWATER_DATA_DIR", "/variable")], &[]).data_dir, PathBuf::from("/variable"));
        assert_eq!(load_with(&[("TAILWATER_DATA_DIR", "/variable")], &[("data-dir", "/flag")]).data_dir, PathBuf::from("/flag"));
        let config = load_with(&[("NODE_NAME", "n1")], &[("limits-max-line-size", "2KiB"), ("push-url", "http://other")]);
        assert_eq!((config.node_name.as_str(), config.max_line_size, config.client.url.as_str()), ("n1", 2048, "http://other"));
        assert_eq!((config.client.batchwait, config.client.backoff.max_retries), (Duration::from_secs(2), 3));
        assert_eq!(config.client.headers["X-A"], "b");
        assert_eq!(config.pods_dir, Config::default().pods_dir);
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let text =
            "data_dri: x\nlimits:\n  max_line_size: huge\n  nothing: 1\nformat: json\nlisten: [1]\nclients:\n- url: http://h\n  ttl: 1\n";
        assert_eq!(
            load_text(text, &[("TAILWATER_METADATA", "some")], &[("metadata-wait", "soon")]).unwrap_err(),
            [
                "`agent.yaml`: line 1: unknown key `data_dri`; did you mean `data_dir`?",
                "`agent.yaml`: line 3: `limits.max_line_size`: expected a size like `256KiB`, found `huge`",
                "`agent.yaml`: line 4: unknown key `limits.nothing`",
                "`agent.yaml`: line 5: `format`: expected one of `auto`, `cri`, `docker`, `raw`, found `json`",
                "`agent.yaml`: line 6: `listen`: expected a single value",
                "`agent.yaml`: line 9: unknown key `clients[0].ttl`; did you mean `clients[0].timeout`?",
                "variable `TAILWATER_METADATA`: expected one of `auto`, `standard`, `none`, and of `image`, `image_digest`, `node_ip`, `pod_ip`, `owner_kind`, `owner_name`, `qos`, `filename`, found `some`",
                "flag `--metadata-wait`: expected a duration like `500ms` or `10s`, found `soon`",
            ]
        );
    }

    #[test]
    fn a_receiver_must_be_named() {
        let allowed = format!("annotations: {{allow: [tailwater.io/exclude, vector.dev/exclude]}}\n{ONE_CLIENT}");
        assert_eq!(load_text(&allowed, &[], &[]).unwrap().annotations.to_string(), "tailwater.io/exclude,vector.dev/exclude");
        let chosen = format!("exclude: [kube-system, '*/*/istio-proxy']\n{ONE_CLIENT}");
        assert_eq!(load_text(&chosen, &[], &[]).unwrap().selection.exclude(), "kube-system,*/*/istio-proxy");
        assert!(load_text("", &[], &[]).unwrap_err()[0].starts_with("no receiver: "));
        assert!(load_text("clients: []\n", &[], &[]).unwrap_err()[0].contains("line 1: `clients`: expected a list of clients, like"));
    }

    #[test]
    fn several_receivers_have_keys_and_names_of_their_own() {
        let two = "clients:\n- url: http://a\n- url: http://b\n  name: second\n  external_labels: {to: b}\n  batchwait: 7s\n";
        let config = load_text(two, &[], &[]).unwrap();
        assert_eq!((config.client.url.as_str(), config.more_clients[0].url.as_str()), ("http://a", "http://b"));
        assert_eq!((config.client.batchwait, config.more_clients[0].batchwait), (Duration::from_millis(100), Duration::from_secs(7)));
        let printed = print(&config);
        assert_eq!(print(&load_text(&printed, &[], &[]).unwrap()), printed);
        let wrong = "clients:\n- url: http://a\n  name: x/y\n- name: x_y\n  ttl: 1\n- url: http://b\n- url: http://b\n  basic_auth: {username: u}\n  bearer_token: t\n";
        assert_eq!(
            load_text(wrong, &[], &[]).unwrap_err(),
            [
                "`agent.yaml`: line 5: unknown key `clients[1].ttl`; did you mean `clients[1].timeout`?",
                "`agent.yaml`: line 4: `clients[1].url` is missing",
                "`clients[3]`: give either `basic_auth` or a bearer token, not both",
                "`clients[1]`: another client is named `x_y`; give it a `name` of its own",
                "`clients[3]`: another client is the same receiver; give it a `name` of its own",
            ]
        );
    }

    #[test]
    fn stages_are_checked_where_they_stand_and_printed_as_they_are_written() {
        let text =
            format!("pipeline_stages:\n- cri: {{}}\n- json: {{expressions: {{level: null}}}}\n- labels: {{level: ''}}\n{ONE_CLIENT}");
        let config = load_text(&text, &[], &[]).unwrap();
        let printed = print(&config);
        assert!(printed.contains("- json:") && printed.contains("level: null"), "{printed}");
        assert_eq!(print(&load_text(&printed, &[], &[]).unwrap()), printed);
        let wrong = format!("pipeline_stages:\n- regex: {{expression: '('}}\n- nothing: {{}}\n{ONE_CLIENT}");
        let problems = load_text(&wrong, &[], &[]).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("`agent.yaml`: line 2: `pipeline_stages`: ") && problems[1].contains("line 3: "), "{problems:?}");
        assert!(load_text(&format!("pipeline_stages: 7\n{ONE_CLIENT}"), &[], &[]).is_err());
    }

    #[test]
    fn what_is_printed_loads_again_and_shows_no_secret() {
        let text = format!("{ONE_CLIENT}  bearer_token: hunter2\nlabels:\n  external: {{cluster: c1}}\n");
        let printed = print(&load_text(&text, &[], &[]).unwrap());
        assert!(!printed.contains("hunter2") && printed.contains("cluster: c1"), "{printed}");
        let again = load_text(&printed, &[], &[]).unwrap();
        assert_eq!(print(&again), printed);
    }

    #[test]
    fn a_missing_file_is_one_clear_problem() {
        let sources = Sources { file: Some(PathBuf::from("/nowhere/agent.yaml")), ..Sources::default() };
        let problems = load(&sources).unwrap_err().problems;
        assert!(problems[0].starts_with("cannot read configuration file `/nowhere/agent.yaml`"), "{problems:?}");
    }
}
