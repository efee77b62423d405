//! Which labels a metric query needs, so that parsers extract no others.
//!
//! This is visible to users: a parser that is not needed does not run and so cannot fail, and one that has found
//! all it was asked for does not see what is broken later in the line.

use std::collections::BTreeSet;

use crate::ast::{Grouping, LabelFilter, LabelFormatSource, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp};
use crate::stages::template_format::line_template;
use crate::template::FieldsRead;

/// Suffix of extracted labels whose own name is taken by the stream or by structured metadata.
pub(crate) const EXTRACTED_SUFFIX: &str = "_extracted";

/// The labels that parsers have to extract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeededLabels {
    All,
    None,
    Only(BTreeSet<String>),
}

/// What the parsers below a range aggregation have to extract; `above` is the vector aggregation directly over it.
pub fn needed_labels(range: &RangeAggregation, above: Option<&VectorAggregation>) -> NeededLabels {
    let mut names = BTreeSet::new();
    if !collect_from_range(range, &mut names) {
        return NeededLabels::All;
    }
    let without_labels = RangeOp::AbsentOverTime == range.op;
    match sample_grouping(range, above) {
        _ if without_labels => {}
        None => return NeededLabels::All,
        Some(grouping) if grouping.without => return NeededLabels::All,
        Some(grouping) => names.extend(grouping.labels.iter().cloned()),
    }
    if names.is_empty() {
        return NeededLabels::None;
    }
    let unsuffixed: Vec<String> = names.iter().filter_map(|name| name.strip_suffix(EXTRACTED_SUFFIX)).map(str::to_owned).collect();
    names.extend(unsuffixed);
    NeededLabels::Only(names)
}

/// The grouping of samples before they are aggregated over time: the range aggregation's own, or that of a `sum`
/// directly above where it may be done first. `None`: by all labels.
pub fn sample_grouping<'a>(range: &'a RangeAggregation, above: Option<&'a VectorAggregation>) -> Option<&'a Grouping> {
    static NO_LABELS: Grouping = Grouping { without: false, labels: Vec::new() };
    if range.grouping.is_some() {
        return range.grouping.as_ref();
    }
    let above = above.filter(|above| above.op == VectorOp::Sum && is_additive(range.op))?;
    Some(above.grouping.as_ref().unwrap_or(&NO_LABELS))
}

/// Whether the series of a range aggregation by all labels, or without some, leave out labels that have no value. They still tell series
/// apart. Loki computes some aggregations in shards, and where these could share a label set, or samples are grouped, it joins them by an
/// aggregation of its own, which forgets such labels; all others show them.
pub fn hides_empty_labels(range: &RangeAggregation) -> bool {
    let is_sharded = match range.op {
        RangeOp::AvgOverTime | RangeOp::MinOverTime | RangeOp::MaxOverTime => true,
        op => is_additive(op),
    };
    let is_grouped = range.grouping.as_ref().is_some_and(|grouping| !grouping.without || !grouping.labels.is_empty());
    is_sharded && (is_grouped || range.range.log.stages.iter().any(reduces_labels))
}

/// Whether entries of several streams may have the same labels after it.
fn reduces_labels(stage: &Stage) -> bool {
    match stage {
        Stage::Drop { .. } | Stage::Keep { .. } => true,
        Stage::LabelFormat { formats } => formats.iter().any(|format| matches!(format.source, LabelFormatSource::Label(_))),
        _ => false,
    }
}

/// Summing over series commutes with these.
fn is_additive(op: RangeOp) -> bool {
    matches!(op, RangeOp::Rate | RangeOp::CountOverTime | RangeOp::BytesRate | RangeOp::BytesOverTime | RangeOp::SumOverTime)
}

/// Adds the labels that stages read; false if one may read any.
fn collect_from_range(range: &RangeAggregation, names: &mut BTreeSet<String>) -> bool {
    for stage in &range_stages(range) {
        let is_known = match stage {
            Stage::LabelFilter(filter) => {
                collect_from_filter(filter, names);
                true
            }
            Stage::LineFormat { template } => collect_from_template(template, names),
            Stage::LabelFormat { formats } => formats.iter().all(|format| match &format.source {
                LabelFormatSource::Label(source) => {
                    names.insert(source.clone());
                    true
                }
                LabelFormatSource::Template(text) => collect_from_template(text, names),
            }),
            _ => true,
        };
        if !is_known {
            return false;
        }
    }
    if let Some(unwrap) = &range.range.unwrap {
        names.insert(unwrap.label.clone());
        for filter in &unwrap.post_filters {
            collect_from_filter(filter, names);
        }
    }
    true
}

fn collect_from_filter(filter: &LabelFilter, names: &mut BTreeSet<String>) {
    match filter {
        LabelFilter::String(matcher) => drop(names.insert(matcher.name.clone())),
        LabelFilter::Compare { name, .. } | LabelFilter::Ip { name, .. } => drop(names.insert(name.clone())),
        LabelFilter::And { left, right } | LabelFilter::Or { left, right } => {
            collect_from_filter(left, names);
            collect_from_filter(right, names);
        }
    }
}

/// Adds the labels that a template reads; false if it may read any.
fn collect_from_template(text: &str, names: &mut BTreeSet<String>) -> bool {
    // A broken one fails before it could read anything.
    let Ok(template) = line_template(text) else { return true };
    match template.fields_read() {
        FieldsRead::All => false,
        FieldsRead::Only(fields) => {
            names.extend(fields);
            true
        }
    }
}

/// The stages that a range aggregation has to run: all but each `line_format` with neither a parser nor a line filter behind it, unless
/// bytes are counted. Such a one neither runs nor fails, even if its template is broken; a template that asks for the line sees the one before.
pub fn range_stages(range: &RangeAggregation) -> Vec<Stage> {
    let stages = &range.range.log.stages;
    let counts_bytes = matches!(range.op, RangeOp::BytesRate | RangeOp::BytesOverTime);
    let is_run = |(index, stage): &(usize, &Stage)| {
        counts_bytes || !matches!(stage, Stage::LineFormat { .. }) || stages[index + 1..].iter().any(reads_line)
    };
    stages.iter().enumerate().filter(is_run).map(|(_, stage)| stage.clone()).collect()
}

fn reads_line(stage: &Stage) -> bool {
    match stage {
        Stage::LineFilter(_) | Stage::Json { .. } | Stage::Logfmt { .. } | Stage::Regexp { .. } | Stage::Pattern { .. } | Stage::Unpack => {
            true
        }
        Stage::LabelFilter(_)
        | Stage::LineFormat { .. }
        | Stage::LabelFormat { .. }
        | Stage::Decolorize
        | Stage::Drop { .. }
        | Stage::Keep { .. } => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ast::{LabelFormat, LogExpr, LogRange, MatchOp, Matcher, MetricExpr, Selector};

    fn range(op: RangeOp, stages: Vec<Stage>, grouping: Option<Grouping>) -> RangeAggregation {
        let log = LogExpr { selector: Selector { matchers: Vec::new() }, stages };
        RangeAggregation { op, parameter: None, range: LogRange { log, unwrap: None, range: 1, offset: 0 }, grouping }
    }

    fn above(op: VectorOp, grouping: Option<Grouping>) -> VectorAggregation {
        VectorAggregation { op, parameter: None, inner: Box::new(MetricExpr::Literal(0.0)), grouping }
    }

    fn by(labels: &[&str]) -> Grouping {
        Grouping { without: false, labels: labels.iter().map(|label| label.to_string()).collect() }
    }

    fn filter(name: &str) -> Stage {
        Stage::LabelFilter(LabelFilter::String(Matcher { name: name.into(), op: MatchOp::Equal, value: "x".into() }))
    }

    fn only(names: &[&str]) -> NeededLabels {
        NeededLabels::Only(names.iter().map(|name| name.to_string()).collect())
    }

    #[test]
    fn a_sum_to_no_labels_needs_no_parser() {
        let count = range(RangeOp::CountOverTime, vec![], None);
        assert_eq!(needed_labels(&count, Some(&above(VectorOp::Sum, None))), NeededLabels::None);
        assert_eq!(needed_labels(&count, Some(&above(VectorOp::Sum, Some(by(&[]))))), NeededLabels::None);
        let filtered = range(RangeOp::CountOverTime, vec![filter("a_extracted")], None);
        assert_eq!(needed_labels(&filtered, Some(&above(VectorOp::Sum, None))), only(&["a", "a_extracted"]));
    }

    #[test]
    fn groups_and_filters_are_needed() {
        let count = range(RangeOp::Rate, vec![filter("a")], None);
        assert_eq!(needed_labels(&count, Some(&above(VectorOp::Sum, Some(by(&["b"]))))), only(&["a", "b"]));
    }

    #[test]
    fn only_a_sum_over_an_additive_range_is_pushed_down() {
        let average = range(RangeOp::AvgOverTime, vec![], None);
        assert_eq!(needed_labels(&average, Some(&above(VectorOp::Sum, None))), NeededLabels::All);
        let count = range(RangeOp::CountOverTime, vec![], None);
        assert_eq!(needed_labels(&count, Some(&above(VectorOp::Max, None))), NeededLabels::All);
        assert_eq!(needed_labels(&count, None), NeededLabels::All);
        let grouped = range(RangeOp::AvgOverTime, vec![], Some(by(&["x"])));
        assert_eq!(needed_labels(&grouped, None), only(&["x"]));
    }

    #[test]
    fn without_needs_everything_and_absence_nothing() {
        let count = range(RangeOp::CountOverTime, vec![], None);
        let without = Grouping { without: true, labels: vec!["pod".into()] };
        assert_eq!(needed_labels(&count, Some(&above(VectorOp::Sum, Some(without)))), NeededLabels::All);
        assert_eq!(needed_labels(&range(RangeOp::AbsentOverTime, vec![], None), None), NeededLabels::None);
    }

    #[test]
    fn labels_without_a_value_are_hidden_where_shards_are_joined() {
        let drop = || Stage::Drop { targets: vec![crate::ast::NameOrMatcher::Name("x".into())] };
        let rename = || label_format("x", LabelFormatSource::Label("y".into()));
        let format = || label_format("x", LabelFormatSource::Template("{{.y}}".into()));
        let without = Some(Grouping { without: true, labels: vec!["pod".into()] });
        for (op, stages, grouping, expected) in [
            (RangeOp::CountOverTime, vec![], None, false),
            (RangeOp::CountOverTime, vec![filter("a"), format()], None, false),
            (RangeOp::CountOverTime, vec![drop()], None, true),
            (RangeOp::BytesRate, vec![rename()], None, true),
            (RangeOp::MaxOverTime, vec![drop()], None, true),
            (RangeOp::AvgOverTime, vec![], without.clone(), true),
            (RangeOp::AvgOverTime, vec![], Some(Grouping { without: true, labels: vec![] }), false),
            (RangeOp::StddevOverTime, vec![drop()], None, false),
            (RangeOp::FirstOverTime, vec![drop()], without, false),
        ] {
            let range = range(op, stages, grouping);
            assert_eq!(hides_empty_labels(&range), expected, "{range:?}");
        }
    }

    fn line_format(template: &str) -> Stage {
        Stage::LineFormat { template: template.into() }
    }

    fn label_format(target: &str, source: LabelFormatSource) -> Stage {
        Stage::LabelFormat { formats: vec![LabelFormat { target: target.into(), source }] }
    }

    #[test]
    fn formats_need_what_they_read() {
        let sum = above(VectorOp::Sum, None);
        let line_filter = Stage::Json { extractions: Vec::new() };
        let needed = |stages: Vec<Stage>| needed_labels(&range(RangeOp::CountOverTime, stages, None), Some(&sum));
        assert_eq!(needed(vec![line_format(r#"{{ index . "a" }}{{.b}}"#), line_filter.clone()]), only(&["a", "b"]));
        assert_eq!(needed(vec![line_format("{{ . }}"), line_filter]), NeededLabels::All);
        assert_eq!(needed(vec![label_format("x", LabelFormatSource::Template("{{.a | upper}}".into()))]), only(&["a"]));
        assert_eq!(
            needed(vec![label_format("x", LabelFormatSource::Template("{{range $k, $v := .}}{{$k}}{{end}}".into()))]),
            NeededLabels::All
        );
        assert_eq!(needed(vec![label_format("x", LabelFormatSource::Label("a".into()))]), only(&["a"]));
    }

    #[test]
    fn a_line_nobody_reads_is_not_formatted() {
        let json = Stage::Json { extractions: Vec::new() };
        let stages = |op, stages| range_stages(&range(op, stages, None)).len();
        assert_eq!(stages(RangeOp::CountOverTime, vec![json.clone(), line_format("{{.a}}")]), 1);
        assert_eq!(stages(RangeOp::CountOverTime, vec![line_format("{{"), filter("a")]), 1);
        assert_eq!(stages(RangeOp::CountOverTime, vec![line_format("{{.a}}"), json.clone()]), 2);
        assert_eq!(stages(RangeOp::CountOverTime, vec![line_format("{{.a}}"), line_format("{{.b}}")]), 0);
        assert_eq!(stages(RangeOp::CountOverTime, vec![line_format("{{.a}}"), json.clone(), line_format("{{.b}}")]), 2);
        assert_eq!(stages(RangeOp::CountOverTime, vec![line_format("{{.a}}"), Stage::Decolorize, json.clone()]), 3);
        assert_eq!(
            stages(
                RangeOp::CountOverTime,
                vec![line_format("{{.a}}"), label_format("x", LabelFormatSource::Template("{{__line__}}".into()))]
            ),
            1
        );
        assert_eq!(stages(RangeOp::BytesOverTime, vec![json, line_format("{{.a}}")]), 2);
    }
}
