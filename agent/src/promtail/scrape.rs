//! `scrape_configs` by themselves: as a `promtail.yaml` has them, and the native configuration.

use std::sync::Arc;

use super::jobs::{Job, read_jobs};
use super::locate;
use super::report::{Finding, Report};
use super::shown;
use super::yaml::{Content, Node};
use crate::pipeline::CustomMetrics;
use crate::pipeline::build::Surroundings;
use crate::pipeline::counters::DropCounters;

/// What is read, and what the stages of its lines count.
#[derive(Debug, Clone, Default)]
pub struct ScrapeConfigs {
    pub(crate) jobs: Vec<Arc<Job>>,
    pub(crate) metrics: Arc<CustomMetrics>,
    pub(crate) counters: Arc<DropCounters>,
}

impl ScrapeConfigs {
    /// Reads the value of `scrape_configs`; what is wrong is reported.
    pub(super) fn read(node: &Node, report: &mut Report) -> Self {
        let metrics = Arc::new(CustomMetrics::default());
        let jobs = read_jobs(node, &mut Surroundings::new(Arc::clone(&metrics)), report);
        Self { jobs: jobs.into_iter().map(Arc::new).collect(), metrics, counters: Arc::default() }
    }

    /// The jobs for a further pass over the same files, which counts nothing a second time.
    pub(crate) fn uncounted_jobs(&self) -> Vec<Arc<Job>> {
        let silent = |job: &Arc<Job>| Arc::new(Job { pipeline: job.pipeline.without_metrics(), ..Job::clone(job) });
        self.jobs.iter().map(silent).collect()
    }

    /// Appends what stages counted, in the text format of Prometheus.
    pub(crate) fn render_metrics(&self, out: &mut String) {
        self.counters.render(out);
        self.metrics.render(out);
    }
}

/// `scrape_configs` of the native configuration.
#[derive(Debug, Clone)]
pub struct NativeScrapeConfigs {
    pub(crate) scrape: ScrapeConfigs,
    /// With secrets masked.
    pub(crate) shown: serde_yaml_ng::Value,
    /// Keys that are accepted and do nothing, or do something else here.
    pub notes: Vec<Finding>,
}

impl NativeScrapeConfigs {
    /// Reads `key` with its value. The errors are what is wrong, each with its line.
    pub(crate) fn read(key: &Node, value: &Node) -> Result<Self, Vec<Finding>> {
        let mut report = Report::default();
        let scrape = ScrapeConfigs::read(value, &mut report);
        let root = Node { line: key.line, content: Content::Mapping(vec![(key.clone(), value.clone())]) };
        locate::locate(&root, &mut report);
        let report = report.sorted();
        if report.errors.is_empty() { Ok(Self { scrape, shown: shown::masked(value), notes: report.notes }) } else { Err(report.errors) }
    }

    /// Names of jobs that ask the Kubernetes API for pods.
    pub(crate) fn jobs_of_pods(&self) -> impl Iterator<Item = &str> {
        self.scrape.jobs.iter().filter(|job| job.discovers_pods()).map(|job| job.name.as_str())
    }
}
