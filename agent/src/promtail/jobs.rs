//! `scrape_configs`: what to read, and which stages its lines go through.

use std::path::PathBuf;
use std::time::Duration;

use super::client::{read_credentials, read_tls};
use super::journal::{JournalConfig, read_journal};
use super::reader::Fields;
use super::report::Report;
use super::yaml::Node;
use crate::config::{ClientConfig, Secret};
use crate::enrich::api_access::{ApiAccess, ApiServer};
use crate::pipeline::Pipeline;
use crate::pipeline::build::{self, Surroundings};
use crate::relabel::{Labels, Rule, read_rules};

/// One scrape configuration.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: String,
    /// To be cloned for every file: without state.
    pub(crate) pipeline: Pipeline,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) static_groups: Vec<TargetGroup>,
    /// Globs of files with target groups.
    pub(crate) target_files: Vec<String>,
    pub(crate) pods: Vec<PodDiscovery>,
    pub(crate) journal: Option<JournalConfig>,
    pub(crate) encoding: Option<&'static encoding_rs::Encoding>,
    pub(crate) decompression: Option<Decompression>,
    /// Of everything that decides labels; another one lets labels be decided anew.
    pub(crate) revision: u64,
}

/// Targets with labels of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TargetGroup {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: Labels,
}

/// What is discovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// Containers of this node's pods.
    #[default]
    Pod,
    /// This node.
    Node,
}

/// Which pods of this node are targets, or whether it is one itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PodDiscovery {
    pub(crate) role: Role,
    /// Empty: all.
    pub(crate) namespaces: Vec<String>,
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<String>,
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressedFormat {
    Gzip,
    Zlib,
    Bzip2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decompression {
    pub(crate) format: CompressedFormat,
    /// How long a file is left alone after it was first seen.
    pub(crate) initial_delay: Duration,
}

/// Sources that are not carried, with what to do instead.
const NOT_CARRIED: [(&str, &str); 28] = [
    ("syslog", "let a syslog daemon write files and tail those"),
    ("loki_push_api", "push to the receiver itself"),
    ("gcplog", "keep a Promtail for it"),
    ("windows_events", "keep a Promtail for it"),
    ("kafka", "keep a Promtail for it"),
    ("gelf", "keep a Promtail for it"),
    ("cloudflare", "keep a Promtail for it"),
    ("heroku_drain", "keep a Promtail for it"),
    ("azure_event_hubs", "keep a Promtail for it"),
    ("kubernetes_events", "send them with `--events-enabled true`, in `agent.yaml` `events.enabled`"),
    ("docker_sd_configs", "tail `/var/lib/docker/containers/*/*-json.log` with `static_configs` and a `docker` stage"),
    ("consul_sd_configs", "use `file_sd_configs`"),
    ("consulagent_sd_configs", "use `file_sd_configs`"),
    ("dns_sd_configs", "use `file_sd_configs`"),
    ("http_sd_configs", "use `file_sd_configs`"),
    ("digitalocean_sd_configs", "use `file_sd_configs`"),
    ("dockerswarm_sd_configs", "use `file_sd_configs`"),
    ("marathon_sd_configs", "use `file_sd_configs`"),
    ("nerve_sd_configs", "use `file_sd_configs`"),
    ("serverset_sd_configs", "use `file_sd_configs`"),
    ("ec2_sd_configs", "use `file_sd_configs`"),
    ("azure_sd_configs", "use `file_sd_configs`"),
    ("gce_sd_configs", "use `file_sd_configs`"),
    ("openstack_sd_configs", "use `file_sd_configs`"),
    ("triton_sd_configs", "use `file_sd_configs`"),
    ("eureka_sd_configs", "use `file_sd_configs`"),
    ("hetzner_sd_configs", "use `file_sd_configs`"),
    ("entry_parser", "use `pipeline_stages`"),
];

pub(super) fn read_jobs(node: &Node, surroundings: &mut Surroundings, report: &mut Report) -> Vec<Job> {
    let Some(items) = node.sequence() else {
        report.error(node.line, "`scrape_configs`: expected a list");
        return Vec::new();
    };
    let mut jobs: Vec<Job> = Vec::new();
    for item in items {
        let Some(job) = read_job(item, surroundings, report) else { continue };
        if jobs.iter().any(|other| other.name == job.name) {
            report.error(item.line, format!("two scrape configurations have the job name `{}`", job.name));
        }
        jobs.push(job);
    }
    jobs
}

fn read_job(node: &Node, surroundings: &mut Surroundings, report: &mut Report) -> Option<Job> {
    let mut fields = Fields::of(node, "scrape_configs", report)?;
    let name = fields.text("job_name", report).unwrap_or_default();
    if name.is_empty() {
        report.error(fields.line(), "`scrape_configs.job_name` is missing");
    }
    for (key, advice) in NOT_CARRIED {
        if let Some((line, _)) = fields.take_with_line(key) {
            report.error(line, format!("`{key}` is not supported; {advice}"));
        }
    }
    let errors_before = report.errors.len();
    let stages = fields.take("pipeline_stages").and_then(|stages| build::stages(stages, surroundings, report)).unwrap_or_default();
    for finding in &mut report.errors[errors_before..] {
        finding.text = format!("job `{name}`: {}", finding.text);
    }
    let relabel = fields.take("relabel_configs").map(|rules| read_rules(rules, report)).unwrap_or_default();
    let static_groups = fields.take("static_configs").map(|groups| read_groups(groups, report)).unwrap_or_default();
    let target_files = fields.take("file_sd_configs").map(|files| read_target_files(files, report)).unwrap_or_default();
    let pods = fields.take("kubernetes_sd_configs").map(|pods| read_pod_discovery(pods, report)).unwrap_or_default();
    let journal = fields.take("journal").and_then(|journal| read_journal(journal, report));
    let encoding = fields.take("encoding").and_then(|node| {
        let label = node.raw_text().unwrap_or_default();
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes());
        if encoding.is_none() {
            report.error(node.line, format!("`encoding`: unknown encoding `{label}`; give an IANA name"));
        }
        encoding.filter(|encoding| *encoding != encoding_rs::UTF_8)
    });
    let decompression = fields.take("decompression").and_then(|node| read_decompression(node, report));
    fields.finish(report);
    let revision = xxhash_rust::xxh3::xxh3_64(format!("{relabel:?}{static_groups:?}").as_bytes());
    let pipeline = Pipeline::new(stages);
    Some(Job { name, pipeline, relabel, static_groups, target_files, pods, journal, encoding, decompression, revision })
}

impl Job {
    /// Whether pods say where files are: a pod may write into its directory.
    pub(crate) fn discovers_pods(&self) -> bool {
        self.pods.iter().any(|discovery| discovery.role == Role::Pod)
    }
}

/// A list of target groups, as `static_configs` and the files of `file_sd_configs` have it.
pub(super) fn read_groups(node: &Node, report: &mut Report) -> Vec<TargetGroup> {
    let Some(items) = node.sequence() else {
        report.error(node.line, "target groups: expected a list");
        return Vec::new();
    };
    let mut groups = Vec::new();
    for item in items {
        let Some(mut fields) = Fields::of(item, "static_configs", report) else { continue };
        let targets = fields.text_list("targets", report).unwrap_or_default();
        let labels = fields.text_map("labels", report).unwrap_or_default();
        fields.finish(report);
        groups.push(TargetGroup { targets, labels });
    }
    groups
}

fn read_target_files(node: &Node, report: &mut Report) -> Vec<String> {
    let mut files = Vec::new();
    for item in node.sequence().unwrap_or_default() {
        let Some(mut fields) = Fields::of(item, "file_sd_configs", report) else { continue };
        files.extend(fields.text_list("files", report).unwrap_or_default());
        // Read again whenever targets are looked for.
        fields.duration("refresh_interval", report);
        fields.finish(report);
    }
    if node.sequence().is_none() {
        report.error(node.line, "`file_sd_configs`: expected a list");
    }
    files
}

fn read_pod_discovery(node: &Node, report: &mut Report) -> Vec<PodDiscovery> {
    let mut discoveries = Vec::new();
    for item in node.sequence().unwrap_or_default() {
        let Some(mut fields) = Fields::of(item, "kubernetes_sd_configs", report) else { continue };
        let line = fields.line();
        let role = fields.text("role", report).unwrap_or_default();
        let role = match role.as_str() {
            "pod" => Role::Pod,
            "node" => Role::Node,
            _ => {
                report.error(line, format!("`kubernetes_sd_configs.role` `{role}` is not supported; `pod` and `node` are"));
                Role::Pod
            }
        };
        let mut discovery = PodDiscovery { role, access: read_access(&mut fields, report), ..PodDiscovery::default() };
        if let Some(node) = fields.take("namespaces")
            && let Some(mut namespaces) = Fields::of(node, "kubernetes_sd_configs.namespaces", report)
        {
            discovery.namespaces = namespaces.text_list("names", report).unwrap_or_default();
            if namespaces.boolean("own_namespace", report).unwrap_or(false) {
                let own = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace");
                discovery.namespaces.extend(own.ok().map(|name| name.trim().to_owned()));
            }
            namespaces.finish(report);
        }
        for selector in fields.take("selectors").and_then(Node::sequence).unwrap_or_default() {
            let Some(mut selector) = Fields::of(selector, "kubernetes_sd_configs.selectors", report) else { continue };
            selector.text("role", report);
            discovery.label_selector = selector.text("label", report).filter(|text| !text.is_empty()).or(discovery.label_selector);
            discovery.field_selector = selector.text("field", report).filter(|text| !text.is_empty()).or(discovery.field_selector);
            selector.finish(report);
        }
        fields.without_effect(
            &["attach_metadata", "follow_redirects", "enable_http2", "http_headers"],
            "pods are watched without it",
            report,
        );
        fields.finish(report);
        if role == Role::Node {
            // It is in none.
            discovery.namespaces.clear();
        }
        discoveries.push(discovery);
    }
    if node.sequence().is_none() {
        report.error(node.line, "`kubernetes_sd_configs`: expected a list");
    }
    discoveries
}

/// Which API is asked for pods, and as whom.
fn read_access(fields: &mut Fields<'_>, report: &mut Report) -> ApiAccess {
    let line = fields.line();
    let kubeconfig = fields.text("kubeconfig_file", report).filter(|path| !path.is_empty());
    let url = fields.text("api_server", report).filter(|url| !url.is_empty());
    let mut credentials = ClientConfig::new("");
    let has_credentials = ["basic_auth", "authorization", "bearer_token", "bearer_token_file", "oauth2", "tls_config", "proxy_url"]
        .iter()
        .any(|key| fields.has(key));
    read_credentials(fields, &mut credentials, "kubernetes_sd_configs", report);
    if let Some(node) = fields.take("tls_config") {
        credentials.tls = read_tls(node, "kubernetes_sd_configs.tls_config", report);
    }
    let proxy_url = fields.text("proxy_url", report);
    if credentials.oauth2.is_some() || credentials.token_scheme.is_some() {
        report.error(line, "`kubernetes_sd_configs`: the Kubernetes API is asked with a certificate, a password or a bearer token alone");
    }
    let tls = &credentials.tls;
    if tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some() {
        report.error(line, "`kubernetes_sd_configs.tls_config`: give certificates as files");
    }
    match (url, kubeconfig) {
        (Some(_), Some(_)) => {
            report.error(line, "`kubernetes_sd_configs`: give one of `api_server` and `kubeconfig_file`");
            ApiAccess::InCluster
        }
        (None, _) if has_credentials => {
            report.error(line, "`kubernetes_sd_configs`: credentials need their `api_server`");
            ApiAccess::InCluster
        }
        (None, kubeconfig) => kubeconfig.map(PathBuf::from).into(),
        (Some(url), None) => {
            let of_file = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
            let password_file = credentials.password_file;
            let with_password = |(user, password)| (user, password_file.map_or(password, |path| Secret(of_file(path))));
            ApiAccess::Server(Box::new(ApiServer {
                url,
                basic_auth: credentials.basic_auth.map(with_password),
                token: credentials.bearer_token,
                token_file: credentials.bearer_token_file,
                tls: credentials.tls,
                proxy_url,
            }))
        }
    }
}

fn read_decompression(node: &Node, report: &mut Report) -> Option<Decompression> {
    let mut fields = Fields::of(node, "decompression", report)?;
    let line = fields.line();
    let is_enabled = fields.boolean("enabled", report).unwrap_or(false);
    let initial_delay = fields.duration("initial_delay", report).unwrap_or_default();
    let format = fields.text("format", report);
    fields.finish(report);
    let format = match format.as_deref() {
        Some("gz") => CompressedFormat::Gzip,
        Some("z") => CompressedFormat::Zlib,
        Some("bz2") => CompressedFormat::Bzip2,
        other if is_enabled => {
            report.error(line, format!("`decompression.format` is `{}`; it can be gz, z or bz2", other.unwrap_or_default()));
            return None;
        }
        _ => return None,
    };
    is_enabled.then_some(Decompression { format, initial_delay })
}
