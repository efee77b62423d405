//! Promtail's pipelines: stages that run in order over one line at a time.
//!
//! ```text
//! line → Entry { labels, extracted, timestamp, line, metadata } → stage → stage → … → entries
//! ```
//! Pure but for the token buckets of `limit` and the age of `drop`. A pipeline belongs to one instance of one target; what it holds back (blocks of
//! `multiline`, pieces of `cri`) it tells by [`Pipeline::held`], so that positions never move past a line that is not emitted. A module a stage;
//! [`build`] makes stages of their configuration.

pub(crate) mod build;
pub(crate) mod context;
pub(crate) mod counters;
mod cri;
mod custom_metrics;
mod decolorize;
mod docker;
mod drop;
pub(crate) mod entry;
mod eventlogmessage;
pub(crate) mod first_line;
pub(crate) mod go_json;
mod go_layout;
mod go_time;
mod inspect;
mod json;
mod labels;
mod limit;
mod logfmt;
mod matching;
mod metrics;
pub(crate) mod multiline;
mod output;
mod pack;
mod regex;
mod replace;
mod sampling;
mod selector;
mod settings;
mod structured_metadata;
mod template;
mod tenant;
mod timestamp;
mod token_bucket;

pub(crate) use custom_metrics::CustomMetrics;
pub(crate) use tenant::TENANT_LABEL;
pub(crate) use token_bucket::TokenBucket;

use std::sync::Arc;
use std::time::Instant;

use context::StageContext;
use entry::{Entry, Origin};
use xxhash_rust::xxh3::Xxh3;

use crate::parse::cri::OutputStream;
use crate::relabel::Labels;

/// What a stage did with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Keep,
    /// Dropped and counted, or held by the stage.
    Gone,
}

/// One stage with its state.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Cri(cri::Cri),
    Docker(docker::Docker),
    Regex(regex::RegexStage),
    Json(json::Json),
    Logfmt(logfmt::Logfmt),
    Template(Box<template::TemplateStage>),
    Match(Box<matching::Match>),
    Labels(labels::SetLabels),
    LabelDrop(labels::DropLabels),
    LabelAllow(labels::AllowLabels),
    StaticLabels(labels::StaticLabels),
    StructuredMetadata(structured_metadata::StructuredMetadata),
    Timestamp(timestamp::Timestamp),
    Output(output::Output),
    Tenant(tenant::Tenant),
    Drop(drop::DropStage),
    Limit(limit::Limit),
    Sampling(sampling::Sampling),
    Metrics(metrics::MetricsStage),
    Pack(pack::Pack),
    Replace(Box<replace::Replace>),
    Multiline(multiline::Multiline),
    Decolorize,
    EventLogMessage(eventlogmessage::EventLogMessage),
}

impl Stage {
    /// As it is written in a configuration.
    fn name(&self) -> &'static str {
        match self {
            Self::Cri(_) => "cri",
            Self::Docker(_) => "docker",
            Self::Regex(_) => "regex",
            Self::Json(_) => "json",
            Self::Logfmt(_) => "logfmt",
            Self::Template(_) => "template",
            Self::Match(_) => "match",
            Self::Labels(_) => "labels",
            Self::LabelDrop(_) => "labeldrop",
            Self::LabelAllow(_) => "labelallow",
            Self::StaticLabels(_) => "static_labels",
            Self::StructuredMetadata(_) => "structured_metadata",
            Self::Timestamp(_) => "timestamp",
            Self::Output(_) => "output",
            Self::Tenant(_) => "tenant",
            Self::Drop(_) => "drop",
            Self::Limit(_) => "limit",
            Self::Sampling(_) => "sampling",
            Self::Metrics(_) => "metrics",
            Self::Pack(_) => "pack",
            Self::Replace(_) => "replace",
            Self::Multiline(_) => "multiline",
            Self::Decolorize => "decolorize",
            Self::EventLogMessage(_) => "eventlogmessage",
        }
    }
}

/// A stream of a pipeline that does not look at lines.
#[derive(Debug, Clone)]
pub(crate) struct PlainStream {
    /// Behind the last stage.
    pub(crate) labels: Arc<Labels>,
    /// Where its stamps are remembered.
    pub(crate) stamp_key: u64,
}

/// Stages in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pipeline {
    stages: Vec<Stage>,
}

impl Pipeline {
    pub(crate) fn new(stages: Vec<Stage>) -> Self {
        Self { stages }
    }

    /// The same without the stages at its beginning that read a runtime's records: for lines that are no records any more.
    pub(crate) fn behind_records(mut self) -> Self {
        let leading = self.stages.iter().take_while(|stage| matches!(stage, Stage::Cri(_) | Stage::Docker(_))).count();
        self.stages.drain(..leading);
        self
    }

    /// The same behind a stage that joins lines.
    pub(crate) fn behind(&self, joins: multiline::Multiline) -> Self {
        Self { stages: std::iter::once(Stage::Multiline(joins)).chain(self.stages.iter().cloned()).collect() }
    }

    /// Whether no stage looks at lines, so that what becomes of labels is known without any.
    pub(crate) fn is_of_labels_alone(&self) -> bool {
        self.stages.iter().all(|stage| matches!(stage, Stage::StaticLabels(_) | Stage::LabelDrop(_) | Stage::LabelAllow(_)))
    }

    /// What becomes of labels if that is so.
    pub(crate) fn relabelled(&self, labels: Labels) -> Labels {
        let mut entry = Entry::new(&Arc::new(labels), String::new(), 0);
        relabel(&self.stages, &mut entry);
        Arc::unwrap_or_clone(entry.labels)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Runs an entry through; what comes out is appended to `out`.
    pub(crate) fn process(&mut self, entry: Entry, context: &mut StageContext<'_>, out: &mut Vec<Entry>) {
        run(&mut self.stages, entry, context, out);
    }

    /// What becomes of the labels of whole records by their stream, if no stage behind `cri` looks at lines: then none need run for them.
    pub(crate) fn plain(&self, labels: &Arc<Labels>) -> Option<[PlainStream; 2]> {
        let [Stage::Cri(_), rest @ ..] = &*self.stages else { return None };
        let is_plain = |stage: &Stage| matches!(stage, Stage::StaticLabels(_) | Stage::LabelDrop(_) | Stage::LabelAllow(_));
        let through = |stream: OutputStream| {
            let mut entry = Entry::new(labels, String::new(), 0);
            entry.set_label("stream", stream.name().to_owned());
            let stamp_key = cri::Cri::stamp_key(&entry.labels);
            relabel(rest, &mut entry);
            PlainStream { labels: entry.labels, stamp_key }
        };
        rest.iter().all(is_plain).then(|| OutputStream::ALL.map(through))
    }

    /// Ends the block of `key`, whichever stage holds it.
    pub(crate) fn flush(&mut self, key: u64, context: &mut StageContext<'_>, out: &mut Vec<Entry>) {
        flush(&mut self.stages, key, context, out);
    }

    /// Entries that are held back, by where their lines are.
    pub(crate) fn held(&self, held: &mut Vec<Origin>) {
        for stage in &self.stages {
            match stage {
                Stage::Cri(cri) => held.extend(cri.held()),
                Stage::Multiline(multiline) => held.extend(multiline.held()),
                Stage::Match(matching) => matching.nested().held(held),
                _ => {}
            }
        }
    }

    /// Keys of blocks of which the last line was read too long before `now`.
    pub(crate) fn expired(&self, now: Instant, keys: &mut Vec<u64>) {
        for stage in &self.stages {
            match stage {
                Stage::Multiline(multiline) => keys.extend(multiline.expired(now)),
                Stage::Match(matching) => matching.nested().expired(now, keys),
                _ => {}
            }
        }
    }

    /// Keys of everything held, in the order in which to give it up at the end of an instance.
    pub(crate) fn held_keys(&self, keys: &mut Vec<u64>) {
        for stage in &self.stages {
            match stage {
                Stage::Cri(cri) => keys.extend(cri.keys()),
                Stage::Multiline(multiline) => keys.extend(multiline.keys()),
                Stage::Match(matching) => matching.nested().held_keys(keys),
                _ => {}
            }
        }
    }

    /// Bytes of text held back.
    pub(crate) fn held_bytes(&self) -> usize {
        let bytes = |stage: &Stage| match stage {
            Stage::Cri(cri) => cri.held_bytes(),
            Stage::Multiline(multiline) => multiline.held_bytes(),
            Stage::Match(matching) => matching.nested().held_bytes(),
            _ => 0,
        };
        self.stages.iter().map(bytes).sum()
    }

    /// The same without `metrics` stages: for further passes over the same lines.
    pub(crate) fn without_metrics(&self) -> Self {
        let mut stages = self.stages.clone();
        stages.retain(|stage| !matches!(stage, Stage::Metrics(_)));
        for stage in &mut stages {
            if let Stage::Match(matching) = stage {
                *matching.nested_mut() = matching.nested().without_metrics();
            }
        }
        Self { stages }
    }

    /// Whether some stage may hold entries back.
    pub(crate) fn can_hold(&self) -> bool {
        self.stages.iter().any(|stage| match stage {
            Stage::Cri(_) | Stage::Multiline(_) => true,
            Stage::Match(matching) => matching.nested().can_hold(),
            _ => false,
        })
    }
}

/// Lets the stages of labels among `stages` change an entry.
fn relabel(stages: &[Stage], entry: &mut Entry) {
    for stage in stages {
        match stage {
            Stage::StaticLabels(labels) => labels.apply(entry),
            Stage::LabelDrop(labels) => labels.apply(entry),
            Stage::LabelAllow(labels) => labels.apply(entry),
            _ => {}
        }
    }
}

fn run(stages: &mut [Stage], mut entry: Entry, context: &mut StageContext<'_>, out: &mut Vec<Entry>) {
    let mut at = 0;
    context.origin = entry.origin.first;
    while let Some((stage, rest)) = stages.get_mut(at..).and_then(<[Stage]>::split_first_mut) {
        let before = context.inspects.then(|| (stage.name(), entry.clone()));
        let outcome = match stage {
            Stage::Multiline(multiline) => {
                let passed = multiline.take(entry, context);
                inspect_all(before.as_ref(), &passed);
                passed.into_iter().for_each(|passed| run(rest, passed, context, out));
                return;
            }
            Stage::Match(matching) if matching.is_nested_for(&entry) => {
                let mut nested = Vec::new();
                entry.extracted.enter_again(&entry.labels);
                matching.nested_mut().process(entry, context, &mut nested);
                nested.into_iter().for_each(|passed| run(rest, passed, context, out));
                return;
            }
            Stage::Match(matching) => matching.apply(&entry, context),
            Stage::Cri(cri) => {
                let passed = cri.take(entry, context);
                inspect_all(before.as_ref(), &passed);
                passed.into_iter().for_each(|passed| run(rest, passed, context, out));
                return;
            }
            simple => apply(simple, &mut entry, context),
        };
        if let Some((name, before)) = &before {
            let result = if outcome == Outcome::Gone { inspect::Result::Dropped } else { inspect::Result::Passed(&entry) };
            inspect::print(name, before, &result);
        }
        if outcome == Outcome::Gone {
            return;
        }
        at += 1;
    }
    out.push(entry);
}

/// Shows what a stage that joins lines made of one.
fn inspect_all(before: Option<&(&'static str, Entry)>, passed: &[Entry]) {
    let Some((name, before)) = before else { return };
    if passed.is_empty() {
        inspect::print(name, before, &inspect::Result::Held);
    }
    passed.iter().for_each(|passed| inspect::print(name, before, &inspect::Result::Passed(passed)));
}

fn apply(stage: &mut Stage, entry: &mut Entry, context: &mut StageContext<'_>) -> Outcome {
    match stage {
        Stage::Docker(docker) => docker.apply(entry, context),
        Stage::Regex(regex) => regex.apply(entry),
        Stage::Json(json) => return json.apply(entry),
        Stage::Logfmt(logfmt) => logfmt.apply(entry),
        Stage::Template(template) => template.apply(entry),
        Stage::Labels(labels) => labels.apply(entry),
        Stage::LabelDrop(labels) => labels.apply(entry),
        Stage::LabelAllow(labels) => labels.apply(entry),
        Stage::StaticLabels(labels) => labels.apply(entry),
        Stage::StructuredMetadata(metadata) => metadata.apply(entry),
        Stage::Timestamp(timestamp) => timestamp.apply(entry, context),
        Stage::Output(output) => output.apply(entry),
        Stage::Tenant(tenant) => tenant.apply(entry),
        Stage::Drop(drop) => return drop.apply(entry, context),
        Stage::Limit(limit) => return limit.apply(entry, context),
        Stage::Sampling(sampling) => return sampling.apply(context),
        Stage::Metrics(metrics) => metrics.apply(entry),
        Stage::Pack(pack) => pack.apply(entry),
        Stage::Replace(replace) => replace.apply(entry),
        Stage::Decolorize => decolorize::apply(entry),
        Stage::EventLogMessage(message) => message.apply(entry),
        Stage::Cri(_) | Stage::Multiline(_) | Stage::Match(_) => {}
    }
    Outcome::Keep
}

fn flush(stages: &mut [Stage], key: u64, context: &mut StageContext<'_>, out: &mut Vec<Entry>) {
    let mut rest = stages;
    while let Some((stage, after)) = rest.split_first_mut() {
        let mut passed = Vec::new();
        match stage {
            Stage::Cri(cri) => passed.extend(cri.flush(key)),
            Stage::Multiline(multiline) => passed.extend(multiline.flush(key)),
            Stage::Match(matching) => matching.nested_mut().flush(key, context, &mut passed),
            _ => {}
        }
        for entry in passed {
            run(after, entry, context, out);
        }
        rest = after;
    }
}

/// Tells streams of one stage apart; the same in a replay.
pub(crate) fn stream_key(salt: u64, labels: &Labels) -> u64 {
    let mut hash = Xxh3::with_seed(salt);
    for (name, value) in labels {
        hash.update(name.as_bytes());
        hash.update(b"\0");
        hash.update(value.as_bytes());
        hash.update(b"\0");
    }
    hash.digest()
}

#[cfg(test)]
pub(crate) mod tests;
