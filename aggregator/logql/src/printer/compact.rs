//! The one-line form. Every function appends to `out`.

use super::{Fidelity, needs_quotes};
use crate::ast::{
    BinaryOperation, Extraction, FilterValue, GroupSide, Grouping, LabelFilter, LabelFormatSource, LabelReplace, LineFilter, LineFilterArg,
    LogExpr, LogRange, MatchOp, Matcher, MetricExpr, NameOrMatcher, RangeAggregation, Selector, Stage, Unwrap, VectorAggregation,
    VectorMatching,
};
use crate::literal::{
    format_bytes_size, format_go_duration, format_go_float, format_prometheus_duration, go_quote, parse_bytes_size, parse_go_float,
};
use crate::stages::simplified::simplified;
use crate::template::shortest_float;

/// Text that is being written.
pub(super) struct Text {
    text: String,
    fidelity: Fidelity,
}

impl Text {
    fn push(&mut self, character: char) {
        self.text.push(character);
    }

    pub(super) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

pub(super) fn text(fidelity: Fidelity, write: impl FnOnce(&mut Text)) -> String {
    let mut out = Text { text: String::new(), fidelity };
    write(&mut out);
    out.text
}

pub(super) fn log(out: &mut Text, log: &LogExpr) {
    selector(out, &log.selector);
    stages(out, &log.stages);
}

pub(super) fn selector(out: &mut Text, selector: &Selector) {
    out.push('{');
    separated(out, &selector.matchers, ", ", matcher);
    out.push('}');
}

fn matcher(out: &mut Text, matcher: &Matcher) {
    if needs_quotes(&matcher.name) {
        out.push_str(&go_quote(&matcher.name));
    } else {
        out.push_str(&matcher.name);
    }
    out.push_str(matcher.op.name());
    out.push_str(&go_quote(&matcher.value));
}

/// Each stage with a blank in front.
pub(super) fn stages(out: &mut Text, stages: &[Stage]) {
    for each in stages {
        out.push(' ');
        stage(out, each);
    }
}

pub(super) fn stage(out: &mut Text, stage: &Stage) {
    match stage {
        Stage::LineFilter(filter) => line_filter(out, filter),
        Stage::Json { extractions } => {
            out.push_str("| json");
            self::extractions(out, extractions);
        }
        Stage::Logfmt { strict, keep_empty, extractions } => {
            out.push_str("| logfmt");
            out.push_str(if *strict { " --strict" } else { "" });
            out.push_str(if *keep_empty { " --keep-empty" } else { "" });
            self::extractions(out, extractions);
        }
        Stage::Regexp { pattern } => quoted_stage(out, "| regexp ", pattern),
        Stage::Pattern { pattern } => quoted_stage(out, "| pattern ", pattern),
        Stage::Unpack => out.push_str("| unpack"),
        Stage::LabelFilter(filter) => {
            out.push_str("| ");
            label_filter(out, filter);
        }
        Stage::LineFormat { template } => quoted_stage(out, "| line_format ", template),
        Stage::LabelFormat { formats } => {
            out.push_str("| label_format ");
            separated(out, formats, ",", |out, format| {
                out.push_str(&format.target);
                out.push('=');
                match &format.source {
                    LabelFormatSource::Label(label) => out.push_str(label),
                    LabelFormatSource::Template(template) => out.push_str(&go_quote(template)),
                }
            });
        }
        Stage::Decolorize => out.push_str("| decolorize"),
        Stage::Drop { targets } => names_or_matchers(out, "| drop ", targets),
        Stage::Keep { targets } => names_or_matchers(out, "| keep ", targets),
    }
}

fn line_filter(out: &mut Text, filter: &LineFilter) {
    out.push_str(filter.op.name());
    out.push(' ');
    separated(out, &filter.alternatives, " or ", |out, alternative| match alternative {
        LineFilterArg::Text(text) => out.push_str(&go_quote(text)),
        LineFilterArg::Ip(pattern) => {
            out.push_str("ip(");
            out.push_str(&go_quote(pattern));
            out.push(')');
        }
    });
}

fn extractions(out: &mut Text, extractions: &[Extraction]) {
    if extractions.is_empty() {
        return;
    }
    out.push(' ');
    separated(out, extractions, ",", |out, extraction| {
        out.push_str(&extraction.name);
        out.push('=');
        out.push_str(&go_quote(&extraction.path));
    });
}

fn quoted_stage(out: &mut Text, start: &str, argument: &str) {
    out.push_str(start);
    out.push_str(&go_quote(argument));
}

fn names_or_matchers(out: &mut Text, start: &str, targets: &[NameOrMatcher]) {
    out.push_str(start);
    separated(out, targets, ",", |out, target| match target {
        NameOrMatcher::Name(name) => out.push_str(name),
        NameOrMatcher::Matcher(each) => matcher(out, each),
    });
}

pub(super) fn label_filter(out: &mut Text, filter: &LabelFilter) {
    let pair = |out: &mut Text, left, connective, right| {
        out.push_str("( ");
        label_filter(out, left);
        out.push_str(connective);
        label_filter(out, right);
        out.push_str(" )");
    };
    match filter {
        LabelFilter::String(each) => string_filter(out, each),
        LabelFilter::Compare { name, op, value } => {
            out.push_str(name);
            out.push_str(op.name());
            filter_value(out, *value);
        }
        LabelFilter::Ip { name, negated, pattern } => {
            out.push_str(name);
            out.push_str(if *negated { "!=ip(" } else { "=ip(" });
            out.push_str(&go_quote(pattern));
            out.push(')');
        }
        LabelFilter::And { left, right } => pair(out, left, " , ", right),
        LabelFilter::Or { left, right } => pair(out, left, " or ", right),
    }
}

/// As a matcher; a regular expression that is more than a comparison of texts stands in back quotes, where it holds none.
fn string_filter(out: &mut Text, filter: &Matcher) {
    if filter.op != MatchOp::Regex || filter.value.contains('`') || simplified(&filter.value, true).is_some() {
        return matcher(out, filter);
    }
    out.push_str(&filter.name);
    out.push_str(filter.op.name());
    out.push('`');
    out.push_str(&filter.value);
    out.push('`');
}

fn filter_value(out: &mut Text, value: FilterValue) {
    match value {
        FilterValue::Number(number) if out.fidelity == Fidelity::Loki => out.push_str(&format_go_float(number)),
        FilterValue::Number(number) => out.push_str(&number_text(number)),
        FilterValue::Duration(nanoseconds) => out.push_str(&format_go_duration(nanoseconds)),
        FilterValue::Bytes(bytes) if out.fidelity == Fidelity::Loki => out.push_str(&format_bytes_size(bytes)),
        FilterValue::Bytes(bytes) => out.push_str(&size_text(bytes)),
    }
}

/// The rounded form where it reads back as the same size, else all digits.
fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        // `0B` would begin a binary number.
        return "0kB".to_owned();
    }
    let rounded = format_bytes_size(bytes);
    // EB is printed for large sizes but not read in queries.
    if parse_bytes_size(&rounded) == Ok(bytes) && !rounded.ends_with("EB") {
        return rounded;
    }
    format!("{bytes}B")
}

/// `-0` alone would read as a duration.
pub(super) fn number_text(number: f64) -> String {
    let text = format_go_float(number);
    if text == "-0" { "-0.0".to_owned() } else { text }
}

pub(super) fn metric(out: &mut Text, metric: &MetricExpr) {
    match metric {
        MetricExpr::Range(aggregation) => range_aggregation(out, aggregation),
        MetricExpr::Vector(aggregation) => vector_aggregation(out, aggregation),
        MetricExpr::Binary(operation) => binary(out, operation),
        MetricExpr::Literal(value) => literal(out, *value),
        MetricExpr::VectorLiteral(value) => {
            let rounded = format!("{value:.6}");
            let exact = out.fidelity == Fidelity::Loki || parse_go_float(&rounded).is_ok_and(|read| read == *value);
            out.push_str("vector(");
            out.push_str(&if exact { rounded } else { number_text(*value) });
            out.push(')');
        }
        MetricExpr::LabelReplace(replace) => label_replace(out, replace),
        MetricExpr::Variants { metrics, of } => {
            out.push_str("variants(");
            separated(out, metrics, ", ", self::metric);
            out.push_str(") of (");
            log_range(out, of);
            out.push(')');
        }
    }
}

/// What no number can be written for is written as arithmetic that gives it.
fn literal(out: &mut Text, value: f64) {
    if out.fidelity == Fidelity::Loki {
        out.push_str(&shortest_float(value));
    } else if value.is_nan() {
        out.push_str("(0 / 0)");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "(1e308 * 10)" } else { "(-1e308 * 10)" });
    } else if value == 0.0 {
        out.push_str(&number_text(value));
    } else {
        out.push_str(&shortest_float(value));
    }
}

fn range_aggregation(out: &mut Text, aggregation: &RangeAggregation) {
    out.push_str(aggregation.op.name());
    out.push('(');
    if let Some(parameter) = aggregation.parameter {
        out.push_str(&number_text(parameter));
        out.push(',');
    }
    log_range(out, &aggregation.range);
    out.push(')');
    grouping(out, aggregation.grouping.as_ref());
}

fn log_range(out: &mut Text, range: &LogRange) {
    log(out, &range.log);
    if let Some(unwrap) = &range.unwrap {
        out.push_str(" | ");
        self::unwrap(out, unwrap);
        for filter in &unwrap.post_filters {
            out.push_str(" | ");
            label_filter(out, filter);
        }
    }
    interval(out, range);
}

/// `unwrap duration(x)`, without its filters.
pub(super) fn unwrap(out: &mut Text, unwrap: &Unwrap) {
    out.push_str("unwrap ");
    match unwrap.conversion {
        None => out.push_str(&unwrap.label),
        Some(conversion) => {
            out.push_str(conversion.name());
            out.push('(');
            out.push_str(&unwrap.label);
            out.push(')');
        }
    }
}

/// `[5m] offset 1h0m0s`
pub(super) fn interval(out: &mut Text, range: &LogRange) {
    out.push('[');
    out.push_str(&format_prometheus_duration(range.range));
    out.push(']');
    #[cfg(feature = "planted-faults")]
    if tailwater_planted::Fault::OffsetUnprinted.is_planted() {
        return;
    }
    if range.offset != 0 {
        out.push_str(" offset ");
        out.push_str(&format_go_duration(range.offset));
    }
}

fn vector_aggregation(out: &mut Text, aggregation: &VectorAggregation) {
    out.push_str(aggregation.op.name());
    grouping(out, aggregation.grouping.as_ref());
    out.push('(');
    if let Some(parameter) = aggregation.parameter {
        out.push_str(&parameter.to_string());
        out.push(',');
    }
    metric(out, &aggregation.inner);
    out.push(')');
}

fn grouping(out: &mut Text, grouping: Option<&Grouping>) {
    separated_grouping(out, grouping, ",");
}

/// ` by (a,b)`, or nothing.
pub(super) fn separated_grouping(out: &mut Text, grouping: Option<&Grouping>, separator: &str) {
    let Some(grouping) = grouping else { return };
    out.push_str(if grouping.without { " without (" } else { " by (" });
    out.push_str(&grouping.labels.join(separator));
    out.push(')');
}

fn binary(out: &mut Text, operation: &BinaryOperation) {
    let right = text(out.fidelity, |out| metric(out, &operation.right));
    out.push('(');
    metric(out, &operation.left);
    out.push(' ');
    operator(out, operation, operation.matching.as_ref(), right.starts_with('('), ",");
    out.push(' ');
    out.push_str(&right);
    out.push(')');
}

/// `/ on (x) group_left (y)`; a blank stands for a group that is not asked for. `before_paren`: the right operand begins with `(`, which
/// would otherwise be taken for the list of labels of `group_left`; Loki takes it for one.
pub(super) fn operator(
    out: &mut Text,
    operation: &BinaryOperation,
    matching: Option<&VectorMatching>,
    before_paren: bool,
    separator: &str,
) {
    out.push_str(operation.op.name());
    if operation.return_bool {
        out.push_str(" bool");
    }
    let is_exact = out.fidelity == Fidelity::Exact;
    let Some(matching) = matching.filter(|matching| is_exact || matching.on || !matching.labels.is_empty()) else { return };
    out.push_str(if matching.on { " on (" } else { " ignoring (" });
    out.push_str(&matching.labels.join(separator));
    out.push(')');
    let (name, include) = match &matching.group {
        None => return out.push(' '),
        Some(GroupSide::Left { include }) => (" group_left", include),
        Some(GroupSide::Right { include }) => (" group_right", include),
    };
    out.push_str(name);
    if !include.is_empty() || (before_paren && is_exact) {
        out.push_str(" (");
        out.push_str(&include.join(separator));
        out.push(')');
    }
}

fn label_replace(out: &mut Text, replace: &LabelReplace) {
    out.push_str("label_replace(");
    metric(out, &replace.inner);
    for argument in label_replace_arguments(replace) {
        out.push(',');
        out.push_str(&go_quote(argument));
    }
    out.push(')');
}

/// In the order in which they are written.
pub(super) fn label_replace_arguments(replace: &LabelReplace) -> [&str; 4] {
    [&replace.destination, &replace.replacement, &replace.source, &replace.regex]
}

fn separated<T>(out: &mut Text, items: &[T], separator: &str, write: impl Fn(&mut Text, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        write(out, item);
    }
}
