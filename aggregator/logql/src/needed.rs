//! Which labels a metric query needs, so that parsers extract no others.
//!
//! This is visible to users: a parser that is not needed does not run and so cannot fail, and one that has found
//! all it was asked for does not see what is broken later in the line.

use std::collections::BTreeSet;

use crate::ast::{Grouping, LabelFilter, LabelFormatSource, LogRange, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp};

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
    if has_template(&range.range.log.stages) {
        return NeededLabels::All;
    }
    let mut names = BTreeSet::new();
    collect_from_range(&range.range, &mut names);
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

/// Summing over series commutes with these.
fn is_additive(op: RangeOp) -> bool {
    matches!(op, RangeOp::Rate | RangeOp::CountOverTime | RangeOp::BytesRate | RangeOp::BytesOverTime | RangeOp::SumOverTime)
}

fn collect_from_range(range: &LogRange, names: &mut BTreeSet<String>) {
    for stage in &range.log.stages {
        match stage {
            Stage::LabelFilter(filter) => collect_from_filter(filter, names),
            Stage::LabelFormat { formats } => {
                for format in formats {
                    if let LabelFormatSource::Label(source) = &format.source {
                        names.insert(source.clone());
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(unwrap) = &range.unwrap {
        names.insert(unwrap.label.clone());
        for filter in &unwrap.post_filters {
            collect_from_filter(filter, names);
        }
    }
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

/// A template may read any label.
fn has_template(stages: &[Stage]) -> bool {
    stages.iter().any(|stage| match stage {
        Stage::LineFormat { .. } => true,
        Stage::LabelFormat { formats } => formats.iter().any(|format| matches!(format.source, LabelFormatSource::Template(_))),
        _ => false,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ast::{LogExpr, MatchOp, Matcher, MetricExpr, Selector};

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
    fn a_template_may_need_any_label() {
        let stage = Stage::LineFormat { template: r#"{{ index . "a" }}"#.into() };
        let count = range(RangeOp::CountOverTime, vec![stage], None);
        assert_eq!(needed_labels(&count, Some(&above(VectorOp::Sum, None))), NeededLabels::All);
    }
}
