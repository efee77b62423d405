//! What a metric query needs of its parsers: shown by what does not fail, and by what is not read.

use std::collections::BTreeSet;

use tailwater_logql::ast::{
    Grouping, LabelFilter, LabelFormatSource, LogExpr, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp,
};

use super::entry::Needs;
use super::pipeline::as_run;
use super::template;

/// Of a log query: everything.
pub(crate) fn of_log(log: &LogExpr) -> Needs {
    Needs { names: None, early: early(&log.stages) }
}

/// The stages of a range aggregation as they run, what they need, and by what samples are grouped.
pub(crate) fn of_range<'r>(range: &'r RangeAggregation, above: Option<&'r VectorAggregation>) -> (Vec<Stage>, Needs, Option<&'r Grouping>) {
    static NO_LABELS: Grouping = Grouping { without: false, labels: Vec::new() };
    let adds_up =
        matches!(range.op, RangeOp::Rate | RangeOp::CountOverTime | RangeOp::BytesRate | RangeOp::BytesOverTime | RangeOp::SumOverTime);
    let pushed = above.filter(|above| above.op == VectorOp::Sum && adds_up);
    let pushed = pushed.map(|above| above.grouping.as_ref().unwrap_or(&NO_LABELS));
    let grouping = range.grouping.as_ref().or(pushed);
    let stages = as_run(&running(range));
    let names = match grouping {
        _ if range.op == RangeOp::AbsentOverTime => Some(needed(&stages, range, &[])),
        Some(grouping) if !grouping.without => Some(needed(&stages, range, &grouping.labels)),
        _ => None,
    };
    let is_grouped = range.op != RangeOp::AbsentOverTime && grouping.is_some_and(|by| !by.without && !by.labels.is_empty());
    let changes_labels = |stage: &Stage| matches!(stage, Stage::Drop { .. } | Stage::Keep { .. } | Stage::LabelFormat { .. });
    let early = if is_grouped && stages.iter().any(changes_labels) { Default::default() } else { early(&stages) };
    let needs = Needs { names, early };
    (stages, needs, grouping)
}

/// All stages but a `line_format` whose line nobody reads.
fn running(range: &RangeAggregation) -> Vec<Stage> {
    let stages = &range.range.log.stages;
    let counts_bytes = matches!(range.op, RangeOp::BytesOverTime | RangeOp::BytesRate);
    let reads_line = |stage: &Stage| {
        let is_parser =
            matches!(stage, Stage::Json { .. } | Stage::Logfmt { .. } | Stage::Regexp { .. } | Stage::Pattern { .. } | Stage::Unpack);
        is_parser || matches!(stage, Stage::LineFilter(_))
    };
    let runs = |(index, stage): &(usize, &Stage)| {
        counts_bytes || !matches!(stage, Stage::LineFormat { .. }) || stages[index + 1..].iter().any(reads_line)
    };
    stages.iter().enumerate().filter(runs).map(|(_, stage)| stage.clone()).collect()
}

/// The labels that stages, `unwrap` and groups read, also without `_extracted`.
fn needed(stages: &[Stage], range: &RangeAggregation, groups: &[String]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = groups.iter().cloned().collect();
    for stage in stages {
        match stage {
            Stage::LabelFilter(filter) => of_filter(filter, &mut names),
            Stage::LineFormat { template } => names.extend(template::fields(template)),
            Stage::LabelFormat { formats } => {
                for format in formats {
                    match &format.source {
                        LabelFormatSource::Label(name) => drop(names.insert(name.clone())),
                        LabelFormatSource::Template(text) => names.extend(template::fields(text)),
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(unwrap) = &range.range.unwrap {
        names.insert(unwrap.label.clone());
        unwrap.post_filters.iter().for_each(|filter| of_filter(filter, &mut names));
    }
    let short: Vec<String> = names.iter().filter_map(|name| name.strip_suffix("_extracted")).map(str::to_owned).collect();
    names.extend(short);
    names
}

fn of_filter(filter: &LabelFilter, names: &mut BTreeSet<String>) {
    match filter {
        LabelFilter::String(matcher) => drop(names.insert(matcher.name.clone())),
        LabelFilter::Compare { name, .. } | LabelFilter::Ip { name, .. } => drop(names.insert(name.clone())),
        LabelFilter::And { left, right } | LabelFilter::Or { left, right } => {
            of_filter(left, names);
            of_filter(right, names);
        }
    }
}

/// The first filter of each label, tested as soon as a parser sets it; not for labels that are asked for by path, which are set again.
fn early(stages: &[Stage]) -> std::collections::BTreeMap<String, LabelFilter> {
    let mut early = std::collections::BTreeMap::new();
    for stage in stages {
        let Stage::LabelFilter(filter) = stage else { continue };
        let name = match filter {
            LabelFilter::String(matcher) => &matcher.name,
            LabelFilter::Compare { name, .. } | LabelFilter::Ip { name, .. } => name,
            LabelFilter::And { .. } | LabelFilter::Or { .. } => continue,
        };
        early.entry(name.clone()).or_insert_with(|| filter.clone());
    }
    for stage in stages {
        if let Stage::Json { extractions } | Stage::Logfmt { extractions, .. } = stage {
            extractions.iter().for_each(|extraction| drop(early.remove(&extraction.name)));
        }
    }
    early
}
