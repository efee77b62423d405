//! The one-line form. Every function appends to `out`.

use super::needs_quotes;
use crate::ast::{
    BinaryOperation, Extraction, FilterValue, GroupSide, Grouping, LabelFilter, LabelFormatSource, LabelReplace, LineFilter, LineFilterArg,
    LogExpr, LogRange, Matcher, MetricExpr, NameOrMatcher, RangeAggregation, Selector, Stage, Unwrap, VectorAggregation,
};
use crate::literal::{
    format_bytes_size, format_go_duration, format_go_float, format_prometheus_duration, go_quote, parse_bytes_size, parse_go_float,
};
use crate::template::shortest_float;

pub(super) fn text(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

pub(super) fn log(out: &mut String, log: &LogExpr) {
    selector(out, &log.selector);
    stages(out, &log.stages);
}

pub(super) fn selector(out: &mut String, selector: &Selector) {
    out.push('{');
    separated(out, &selector.matchers, ", ", matcher);
    out.push('}');
}

fn matcher(out: &mut String, matcher: &Matcher) {
    if needs_quotes(&matcher.name) {
        out.push_str(&go_quote(&matcher.name));
    } else {
        out.push_str(&matcher.name);
    }
    out.push_str(matcher.op.name());
    out.push_str(&go_quote(&matcher.value));
}

/// Each stage with a blank in front.
pub(super) fn stages(out: &mut String, stages: &[Stage]) {
    for each in stages {
        out.push(' ');
        stage(out, each);
    }
}

pub(super) fn stage(out: &mut String, stage: &Stage) {
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

fn line_filter(out: &mut String, filter: &LineFilter) {
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

fn extractions(out: &mut String, extractions: &[Extraction]) {
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

fn quoted_stage(out: &mut String, start: &str, argument: &str) {
    out.push_str(start);
    out.push_str(&go_quote(argument));
}

fn names_or_matchers(out: &mut String, start: &str, targets: &[NameOrMatcher]) {
    out.push_str(start);
    separated(out, targets, ",", |out, target| match target {
        NameOrMatcher::Name(name) => out.push_str(name),
        NameOrMatcher::Matcher(each) => matcher(out, each),
    });
}

pub(super) fn label_filter(out: &mut String, filter: &LabelFilter) {
    let pair = |out: &mut String, left, connective, right| {
        out.push_str("( ");
        label_filter(out, left);
        out.push_str(connective);
        label_filter(out, right);
        out.push_str(" )");
    };
    match filter {
        LabelFilter::String(each) => matcher(out, each),
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

fn filter_value(out: &mut String, value: FilterValue) {
    match value {
        FilterValue::Number(number) => out.push_str(&number_text(number)),
        FilterValue::Duration(nanoseconds) => out.push_str(&format_go_duration(nanoseconds)),
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

pub(super) fn metric(out: &mut String, metric: &MetricExpr) {
    match metric {
        MetricExpr::Range(aggregation) => range_aggregation(out, aggregation),
        MetricExpr::Vector(aggregation) => vector_aggregation(out, aggregation),
        MetricExpr::Binary(operation) => binary(out, operation),
        MetricExpr::Literal(value) => literal(out, *value),
        MetricExpr::VectorLiteral(value) => {
            let rounded = format!("{value:.6}");
            let exact = parse_go_float(&rounded).is_ok_and(|read| read == *value);
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
fn literal(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("(0 / 0)");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "(1e308 * 10)" } else { "(-1e308 * 10)" });
    } else if value == 0.0 {
        out.push_str(&number_text(value));
    } else {
        out.push_str(&shortest_float(value));
    }
}

fn range_aggregation(out: &mut String, aggregation: &RangeAggregation) {
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

fn log_range(out: &mut String, range: &LogRange) {
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
pub(super) fn unwrap(out: &mut String, unwrap: &Unwrap) {
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
pub(super) fn interval(out: &mut String, range: &LogRange) {
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

fn vector_aggregation(out: &mut String, aggregation: &VectorAggregation) {
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

fn grouping(out: &mut String, grouping: Option<&Grouping>) {
    separated_grouping(out, grouping, ",");
}

/// ` by (a,b)`, or nothing.
pub(super) fn separated_grouping(out: &mut String, grouping: Option<&Grouping>, separator: &str) {
    let Some(grouping) = grouping else { return };
    out.push_str(if grouping.without { " without (" } else { " by (" });
    out.push_str(&grouping.labels.join(separator));
    out.push(')');
}

fn binary(out: &mut String, operation: &BinaryOperation) {
    let right = text(|out| metric(out, &operation.right));
    out.push('(');
    metric(out, &operation.left);
    out.push(' ');
    operator(out, operation, right.starts_with('('), ",");
    out.push(' ');
    out.push_str(&right);
    out.push(')');
}

/// `/ on (x) group_left (y)`; a blank stands for a group that is not asked for. `before_paren`: the right operand begins with `(`, which
/// would otherwise be taken for the list of labels of `group_left`.
pub(super) fn operator(out: &mut String, operation: &BinaryOperation, before_paren: bool, separator: &str) {
    out.push_str(operation.op.name());
    if operation.return_bool {
        out.push_str(" bool");
    }
    let Some(matching) = &operation.matching else { return };
    out.push_str(if matching.on { " on (" } else { " ignoring (" });
    out.push_str(&matching.labels.join(separator));
    out.push(')');
    let (name, include) = match &matching.group {
        None => return out.push(' '),
        Some(GroupSide::Left { include }) => (" group_left", include),
        Some(GroupSide::Right { include }) => (" group_right", include),
    };
    out.push_str(name);
    if !include.is_empty() || before_paren {
        out.push_str(" (");
        out.push_str(&include.join(separator));
        out.push(')');
    }
}

fn label_replace(out: &mut String, replace: &LabelReplace) {
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

fn separated<T>(out: &mut String, items: &[T], separator: &str, write: impl Fn(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        write(out, item);
    }
}
