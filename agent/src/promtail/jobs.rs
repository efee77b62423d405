//! `scrape_configs`: what to read, and which stages its lines go through.

use std::time::Duration;

use super::journal::{JournalConfig, read_journal};
use super::reader::Fields;
use super::report::Report;
use super::yaml::Node;
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

/// Which pods of this node are targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PodDiscovery {
    /// Empty: all.
    pub(crate) namespaces: Vec<String>,
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<String>,
    pub(crate) kubeconfig: Option<std::path::PathBuf>,
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
    ("kubernetes_events", "keep an event exporter for them"),
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
        if role != "pod" {
            report.error(line, format!("`kubernetes_sd_configs.role` `{role}` is not supported; only `pod` is"));
        }
        let mut discovery = PodDiscovery { kubeconfig: fields.text("kubeconfig_file", report).map(Into::into), ..PodDiscovery::default() };
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
        for key in ["api_server", "basic_auth", "authorization", "bearer_token", "bearer_token_file", "oauth2", "tls_config", "proxy_url"] {
            if let Some((line, _)) = fields.take_with_line(key) {
                report.error(line, format!("`kubernetes_sd_configs.{key}` is not supported; run in the cluster or give `kubeconfig_file`"));
            }
        }
        fields.without_effect(
            &["attach_metadata", "follow_redirects", "enable_http2", "http_headers"],
            "pods are watched without it",
            report,
        );
        fields.finish(report);
        discoveries.push(discovery);
    }
    if node.sequence().is_none() {
        report.error(node.line, "`kubernetes_sd_configs`: expected a list");
    }
    discoveries
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
