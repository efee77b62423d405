//! Stages made of their configuration. What is wrong is reported, all of it.

use std::sync::Arc;

use super::custom_metrics::CustomMetrics;
use super::{
    Stage, cri, docker, drop, eventlogmessage, json, labels, limit, logfmt, matching, metrics, multiline, output, pack, regex, replace,
    sampling, structured_metadata, template, tenant, timestamp,
};
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

/// What stages are made with besides their configuration.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) metrics: Arc<CustomMetrics>,
    /// Stages made so far, to tell those of one kind apart.
    made: u64,
}

impl Surroundings {
    pub(crate) fn new(metrics: Arc<CustomMetrics>) -> Self {
        Self { metrics, made: 0 }
    }
}

/// The stages of a list; `None` if one of them is wrong.
pub(crate) fn stages(node: &Node, surroundings: &mut Surroundings, report: &mut Report) -> Option<Vec<Stage>> {
    if node.is_null() {
        return Some(Vec::new());
    }
    let Some(items) = node.sequence() else {
        report.error(node.line, "pipeline stages: expected a list of stages");
        return None;
    };
    let made: Vec<Option<Stage>> = items.iter().map(|item| stage(item, surroundings, report)).collect();
    made.into_iter().collect()
}

fn stage(item: &Node, surroundings: &mut Surroundings, report: &mut Report) -> Option<Stage> {
    let Some(pairs) = item.mapping() else {
        let text = item.raw_text().unwrap_or("?");
        report.error(item.line, format!("pipeline stage `{text}`: expected one stage with its configuration, like `- cri: {{}}`"));
        return None;
    };
    let [(name, config)] = pairs else {
        report.error(item.line, "pipeline stage: expected one stage; begin each with a `-` of its own");
        return None;
    };
    surroundings.made += 1;
    let name_text = name.raw_text().unwrap_or("?");
    match name_text {
        "cri" => cri::Cri::from_config(config, report).map(Stage::Cri),
        "docker" => docker::Docker::from_config(config, report).map(Stage::Docker),
        "regex" => regex::RegexStage::from_config(config, report).map(Stage::Regex),
        "json" => json::Json::from_config(config, report).map(Stage::Json),
        "logfmt" => logfmt::Logfmt::from_config(config, report).map(Stage::Logfmt),
        "template" => template::TemplateStage::from_config(config, report).map(|stage| Stage::Template(Box::new(stage))),
        "replace" => replace::Replace::from_config(config, report).map(|stage| Stage::Replace(Box::new(stage))),
        "match" => matching::Match::from_config(config, surroundings, report).map(|stage| Stage::Match(Box::new(stage))),
        "labels" => labels::SetLabels::from_config(config, report).map(Stage::Labels),
        "labeldrop" => labels::DropLabels::from_config(config, report).map(Stage::LabelDrop),
        "labelallow" => labels::AllowLabels::from_config(config, report).map(Stage::LabelAllow),
        "static_labels" => labels::StaticLabels::from_config(config, report).map(Stage::StaticLabels),
        "structured_metadata" | "non_indexed_labels" => {
            structured_metadata::StructuredMetadata::from_config(config, report).map(Stage::StructuredMetadata)
        }
        "timestamp" => timestamp::Timestamp::from_config(config, report).map(Stage::Timestamp),
        "output" => output::Output::from_config(config, report).map(Stage::Output),
        "tenant" => tenant::Tenant::from_config(config, report).map(Stage::Tenant),
        "drop" => drop::DropStage::from_config(config, report).map(Stage::Drop),
        "limit" => limit::Limit::from_config(config, report).map(Stage::Limit),
        "sampling" => sampling::Sampling::from_config(config, report).map(Stage::Sampling),
        "metrics" => metrics::MetricsStage::from_config(config, &surroundings.metrics, report).map(Stage::Metrics),
        "pack" => pack::Pack::from_config(config, report).map(Stage::Pack),
        "multiline" => multiline::Multiline::from_config(config, surroundings.made, report).map(Stage::Multiline),
        "decolorize" => Some(Stage::Decolorize),
        "eventlogmessage" => eventlogmessage::EventLogMessage::from_config(config, report).map(Stage::EventLogMessage),
        "geoip" => {
            report.error(name.line, "pipeline stage `geoip` is not supported: it needs a database of addresses; remove the stage");
            None
        }
        other => {
            report.error(name.line, format!("unknown pipeline stage `{other}`"));
            None
        }
    }
}
