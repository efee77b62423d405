//! The form of `format_query`: nodes whose compact text is too long are broken, two blanks a level.

use super::{LINE_LENGTH, compact};
use crate::ast::{BinaryOperation, LabelReplace, LogExpr, LogRange, MetricExpr, RangeAggregation, Stage, VectorAggregation};
use crate::literal::{format_go_duration, format_prometheus_duration, go_quote};

/// `Some(text)` if the node fits on a line.
fn fitting(level: usize, write: impl FnOnce(&mut String)) -> Option<String> {
    let text = compact::text(write);
    (text.len() <= LINE_LENGTH).then(|| indent(level) + &text)
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

pub(super) fn log(log: &LogExpr, level: usize) -> String {
    if let Some(text) = fitting(level, |out| compact::log(out, log)) {
        return text;
    }
    let mut out = indent(level);
    compact::selector(&mut out, &log.selector);
    // Line filters in a row stay on one line as long as they fit.
    let mut line_filters = 0;
    for stage in &log.stages {
        let text = compact::text(|out| compact::stage(out, stage));
        let is_line_filter = matches!(stage, Stage::LineFilter(_));
        let room = LINE_LENGTH.saturating_sub(text.len() + 1);
        if is_line_filter && (1..=room).contains(&line_filters) {
            out.push(' ');
            line_filters += 1 + text.len();
        } else {
            // This stage is never indented.
            break_line(&mut out, if matches!(stage, Stage::Decolorize) { 0 } else { level + 1 });
            line_filters = match (is_line_filter, line_filters) {
                (false, _) => 0,
                (true, 0) => text.len(),
                // Once a row of them was broken, each has a line of its own.
                (true, _) => LINE_LENGTH,
            };
        }
        out.push_str(&text);
    }
    out
}

fn log_range(range: &LogRange, level: usize) -> String {
    let mut out = log(&range.log, level);
    if let Some(unwrap) = &range.unwrap {
        break_line(&mut out, level + 1);
        out.push_str("| ");
        compact::unwrap(&mut out, unwrap);
        for filter in &unwrap.post_filters {
            break_line(&mut out, level + 1);
            out.push_str("| ");
            compact::label_filter(&mut out, filter);
        }
    }
    out.push_str(&format!(" [{}]", format_prometheus_duration(range.range)));
    if range.offset != 0 {
        out.push_str(&format!(" offset {}", offset_text(range.offset)));
    }
    out
}

/// `1h30m`; what has parts below a millisecond as in the one-line form.
fn offset_text(nanoseconds: i64) -> String {
    if nanoseconds % 1_000_000 == 0 { format_prometheus_duration(nanoseconds) } else { format_go_duration(nanoseconds) }
}

pub(super) fn metric(metric: &MetricExpr, level: usize) -> String {
    if let Some(text) = fitting(level, |out| compact::metric(out, metric)) {
        return text;
    }
    match metric {
        MetricExpr::Range(aggregation) => range_aggregation(aggregation, level),
        MetricExpr::Vector(aggregation) => vector_aggregation(aggregation, level),
        MetricExpr::Binary(operation) => binary(operation, level),
        MetricExpr::LabelReplace(replace) => label_replace(replace, level),
        MetricExpr::Variants { metrics, of } => variants(metrics, of, level),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => indent(level) + &compact::text(|out| compact::metric(out, metric)),
    }
}

fn range_aggregation(aggregation: &RangeAggregation, level: usize) -> String {
    let mut out = indent(level) + aggregation.op.name() + "(\n";
    if let Some(parameter) = aggregation.parameter {
        out.push_str(&indent(level + 1));
        out.push_str(&compact::number_text(parameter));
        out.push_str(",\n");
    }
    out.push_str(&log_range(&aggregation.range, level + 1));
    break_line(&mut out, level);
    out.push(')');
    compact::separated_grouping(&mut out, aggregation.grouping.as_ref(), ", ");
    out
}

fn vector_aggregation(aggregation: &VectorAggregation, level: usize) -> String {
    let mut out = indent(level) + aggregation.op.name();
    compact::separated_grouping(&mut out, aggregation.grouping.as_ref(), ", ");
    out.push_str("(\n");
    if let Some(parameter) = aggregation.parameter {
        out.push_str(&indent(level + 1));
        out.push_str(&parameter.to_string());
        out.push_str(",\n");
    }
    out.push_str(&metric(&aggregation.inner, level + 1));
    break_line(&mut out, level);
    out.push(')');
    out
}

fn binary(operation: &BinaryOperation, level: usize) -> String {
    let precedence = operation.op.precedence();
    let right_associative = operation.op.is_right_associative();
    let mut out = operand(&operation.left, level + 1, precedence, !right_associative);
    let right = operand(&operation.right, level + 1, precedence, right_associative);
    break_line(&mut out, level);
    compact::operator(&mut out, operation, right.trim_start().starts_with('('), ", ");
    out.push('\n');
    out.push_str(&right);
    out
}

/// A leg of a broken binary operation. Broken operations lose their parentheses, so a leg that is one and does
/// not bind tighter gets them back. `same_groups`: a leg of the same precedence may stay as it is.
fn operand(leg: &MetricExpr, level: usize, precedence: u8, same_groups: bool) -> String {
    let MetricExpr::Binary(inner) = leg else { return metric(leg, level) };
    if let Some(text) = fitting(level, |out| compact::metric(out, leg)) {
        return text;
    }
    let inner_precedence = inner.op.precedence();
    if inner_precedence > precedence || (inner_precedence == precedence && same_groups) {
        return binary(inner, level);
    }
    format!("{0}(\n{1}\n{0})", indent(level), binary(inner, level + 1))
}

fn label_replace(replace: &LabelReplace, level: usize) -> String {
    let mut out = indent(level) + "label_replace(\n" + &metric(&replace.inner, level + 1);
    for argument in compact::label_replace_arguments(replace) {
        out.push(',');
        break_line(&mut out, level + 1);
        out.push_str(&go_quote(argument));
    }
    break_line(&mut out, level);
    out.push(')');
    out
}

fn variants(metrics: &[MetricExpr], of: &LogRange, level: usize) -> String {
    let mut out = indent(level) + "variants(\n";
    for (index, each) in metrics.iter().enumerate() {
        out.push_str(if index > 0 { ",\n" } else { "" });
        out.push_str(&metric(each, level + 1));
    }
    break_line(&mut out, level);
    out.push_str(") of (\n");
    out.push_str(&log_range(of, level + 1));
    break_line(&mut out, level);
    out.push(')');
    out
}

fn break_line(out: &mut String, level: usize) {
    out.push('\n');
    out.push_str(&indent(level));
}

#[cfg(test)]
mod tests {
    use crate::{format_query, parse};

    #[test]
    fn broken_operations_keep_their_meaning() {
        let long = |name: &str| format!("sum by (a)(rate({{app=\"{name}\", namespace=\"namespace\"}} |= \"some text\"[5m]))");
        let (a, b, c) = (long("first"), long("second"), long("third"));
        let query = format!("({a} + {b}) * {c}");
        let tree = parse(&query).expect("well formed");
        let printed = format_query(&tree);
        assert_eq!(printed, format!("  (\n      {a}\n    +\n      {b}\n  )\n*\n  {c}"));
        assert_eq!(parse(&printed).expect("printed form is well formed"), tree);
        let plain = parse(&format!("{a} + {b} * {c}")).expect("well formed");
        assert_eq!(format_query(&plain), format!("  {a}\n+\n    {b}\n  *\n    {c}"));
    }

    #[test]
    fn rows_of_line_filters_are_broken_where_they_are_too_long() {
        let text = |letter: &str, count: usize| format!("|= \"{}\"", letter.repeat(count));
        let (a, b, c, d) = (text("a", 40), text("b", 40), text("c", 40), text("d", 2));
        let query = format!("{{app=\"a\"}} {a} {b} {c} {d} | json {d} | decolorize");
        let tree = parse(&query).expect("well formed");
        let printed = format_query(&tree);
        assert_eq!(printed, format!("{{app=\"a\"}}\n  {a} {b}\n  {c}\n  {d}\n  | json\n  {d}\n| decolorize"));
        assert_eq!(parse(&printed).expect("printed form is well formed"), tree);
        let long = text("x", 120);
        let tree = parse(&format!("{{app=\"a\"}} {long} {d} {d}")).expect("well formed");
        assert_eq!(format_query(&tree), format!("{{app=\"a\"}}\n  {long}\n  {d}\n  {d}"));
    }

    #[test]
    fn offsets_of_broken_ranges_are_printed_as_ranges() {
        let line = "x".repeat(90);
        for (offset, expected) in [("1h30m", "1h30m"), ("60s", "1m"), ("-5m", "-5m"), ("1d", "1d"), ("1.5ms", "1.5ms"), ("-3ns", "-3ns")] {
            let tree = parse(&format!("count_over_time({{app=\"a\"}} |= \"{line}\" [5m] offset {offset})")).expect(offset);
            let printed = format_query(&tree);
            let broken = format!("count_over_time(\n  {{app=\"a\"}}\n    |= \"{line}\" [5m] offset {expected}\n)");
            assert_eq!(printed, broken);
            assert_eq!(parse(&printed).expect("printed form is well formed"), tree);
        }
    }

    #[test]
    fn what_no_number_is_written_for_is_written_as_arithmetic_that_gives_it() {
        for (query, expected) in
            [("0/0", "(0 / 0)"), ("1e308*10", "(1e308 * 10)"), ("-1e308*10", "(-1e308 * 10)"), ("1 + 5 % 0", "(0 / 0)")]
        {
            let printed = format_query(&parse(query).expect(query));
            assert_eq!(printed, expected);
            assert_eq!(format_query(&parse(&printed).expect("printed form is well formed")), expected);
        }
    }

    #[test]
    fn numbers_and_matchings_are_printed_as_clients_know_them() {
        for (query, expected) in [
            ("123456789*1000", "1.23456789e+11"),
            ("1e-7", "1e-07"),
            ("1_000", "1000"),
            ("vector(1) == on() vector(2)", "(vector(1.000000) == on ()  vector(2.000000))"),
            ("sort by () (vector(1))", "sort(vector(1.000000))"),
            ("sum by () (vector(1)) + sum without () (vector(1))", "(sum(vector(1.000000)) + sum without ()(vector(1.000000)))"),
            ("vector(1) + ignoring(a,b) group_left(c) vector(2)", "(vector(1.000000) + ignoring (a,b) group_left (c) vector(2.000000))"),
        ] {
            assert_eq!(format_query(&parse(query).expect(query)), expected);
        }
        let long = format!("sum by (a,b)(rate({{app=\"{}\"}}[5m]))", "x".repeat(90));
        assert!(format_query(&parse(&long).expect("well formed")).starts_with("sum by (a, b)(\n"));
    }

    #[test]
    fn group_left_without_labels_stays_apart_from_a_parenthesis() {
        for query in [
            r#"rate({a="b"}[1m]) / on (x) group_left rate({a="c"}[1m])"#,
            r#"rate({a="b"}[1m]) / on (x) group_left () (rate({a="c"}[1m]) + 1)"#,
        ] {
            let tree = parse(query).expect(query);
            assert_eq!(parse(&format_query(&tree)).as_ref(), Ok(&tree), "{query}");
        }
    }
}
