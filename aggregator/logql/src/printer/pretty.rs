//! The form of `format_query`: nodes whose compact text is too long are broken, two blanks a level.

use super::{Fidelity, LINE_LENGTH, compact};
use crate::ast::{BinaryOperation, Grouping, LabelReplace, LogExpr, LogRange, MetricExpr, RangeAggregation, Stage, VectorAggregation};
use crate::literal::{format_go_duration, format_prometheus_duration, go_quote};
use crate::template::shortest_float;

/// Writes nodes; every text begins with the blanks of its level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pretty(pub(super) Fidelity);

impl Pretty {
    fn compact(self, write: impl FnOnce(&mut compact::Text)) -> String {
        compact::text(self.0, write)
    }

    /// `Some(text)` if the node fits on a line.
    fn fitting(self, level: usize, write: impl FnOnce(&mut compact::Text)) -> Option<String> {
        let text = self.compact(write);
        (text.len() <= LINE_LENGTH).then(|| indent(level) + &text)
    }

    pub(super) fn log(self, log: &LogExpr, level: usize) -> String {
        if let Some(text) = self.fitting(level, |out| compact::log(out, log)) {
            return text;
        }
        let mut out = indent(level) + &self.compact(|out| compact::selector(out, &log.selector));
        // Line filters in a row stay on one line as long as they fit.
        let mut line_filters = 0;
        for stage in &log.stages {
            let text = self.compact(|out| compact::stage(out, stage));
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

    fn log_range(self, range: &LogRange, level: usize) -> String {
        let mut out = self.log(&range.log, level);
        if let Some(unwrap) = &range.unwrap {
            break_line(&mut out, level + 1);
            out.push_str("| ");
            out.push_str(&self.compact(|out| compact::unwrap(out, unwrap)));
            for filter in &unwrap.post_filters {
                break_line(&mut out, level + 1);
                out.push_str("| ");
                out.push_str(&self.compact(|out| compact::label_filter(out, filter)));
            }
        }
        out.push_str(&format!(" [{}]", format_prometheus_duration(range.range)));
        if range.offset != 0 {
            out.push_str(&format!(" offset {}", self.offset_text(range.offset)));
        }
        out
    }

    /// `1h30m`; what has parts below a millisecond as in the one-line form.
    fn offset_text(self, nanoseconds: i64) -> String {
        match self.0 {
            Fidelity::Exact if nanoseconds % 1_000_000 != 0 => format_go_duration(nanoseconds),
            _ => format_prometheus_duration(nanoseconds),
        }
    }

    pub(super) fn metric(self, metric: &MetricExpr, level: usize) -> String {
        if let Some(text) = self.fitting(level, |out| compact::metric(out, metric)) {
            return text;
        }
        match metric {
            MetricExpr::Range(aggregation) => self.range_aggregation(aggregation, level),
            MetricExpr::Vector(aggregation) => self.vector_aggregation(aggregation, level),
            MetricExpr::Binary(operation) => self.binary(operation, level),
            MetricExpr::LabelReplace(replace) => self.label_replace(replace, level),
            MetricExpr::Variants { metrics, of } => self.variants(metrics, of, level),
            MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => indent(level) + &self.compact(|out| compact::metric(out, metric)),
        }
    }

    fn range_aggregation(self, aggregation: &RangeAggregation, level: usize) -> String {
        let mut out = indent(level) + aggregation.op.name() + "(\n";
        if let Some(parameter) = aggregation.parameter {
            out.push_str(&indent(level + 1));
            out.push_str(&match self.0 {
                Fidelity::Exact => compact::number_text(parameter),
                Fidelity::Loki => shortest_float(parameter),
            });
            out.push_str(",\n");
        }
        out.push_str(&self.log_range(&aggregation.range, level + 1));
        break_line(&mut out, level);
        out.push(')');
        out.push_str(&self.grouping(aggregation.grouping.as_ref()));
        out
    }

    fn vector_aggregation(self, aggregation: &VectorAggregation, level: usize) -> String {
        let mut out = indent(level) + aggregation.op.name() + &self.grouping(aggregation.grouping.as_ref()) + "(\n";
        if let Some(parameter) = aggregation.parameter {
            out.push_str(&indent(level + 1));
            out.push_str(&parameter.to_string());
            out.push_str(",\n");
        }
        out.push_str(&self.metric(&aggregation.inner, level + 1));
        break_line(&mut out, level);
        out.push(')');
        out
    }

    /// Loki writes no empty brackets here.
    fn grouping(self, grouping: Option<&Grouping>) -> String {
        match grouping {
            Some(Grouping { without, labels }) if self.0 == Fidelity::Loki && labels.is_empty() => {
                if *without { " without" } else { "" }.to_owned()
            }
            _ => self.compact(|out| compact::separated_grouping(out, grouping, ", ")),
        }
    }

    fn binary(self, operation: &BinaryOperation, level: usize) -> String {
        let precedence = operation.op.precedence();
        let right_associative = operation.op.is_right_associative();
        let mut out = self.operand(&operation.left, level + 1, precedence, !right_associative);
        let right = self.operand(&operation.right, level + 1, precedence, right_associative);
        break_line(&mut out, level);
        // Loki writes no empty brackets here either.
        let matching = operation.matching.as_ref().filter(|matching| self.0 == Fidelity::Exact || !matching.labels.is_empty());
        let before_paren = right.trim_start().starts_with('(');
        out.push_str(&self.compact(|out| compact::operator(out, operation, matching, before_paren, ", ")));
        out.push('\n');
        out.push_str(&right);
        out
    }

    /// A leg of a broken binary operation. Broken operations lose their parentheses, so a leg that is one and does
    /// not bind tighter gets them back, unless Loki's text is asked for. `same_groups`: a leg of the same precedence may stay as it is.
    fn operand(self, leg: &MetricExpr, level: usize, precedence: u8, same_groups: bool) -> String {
        let MetricExpr::Binary(inner) = leg else { return self.metric(leg, level) };
        if let Some(text) = self.fitting(level, |out| compact::metric(out, leg)) {
            return text;
        }
        let inner_precedence = inner.op.precedence();
        let binds = inner_precedence > precedence || (inner_precedence == precedence && same_groups);
        if binds || self.0 == Fidelity::Loki {
            return self.binary(inner, level);
        }
        format!("{0}(\n{1}\n{0})", indent(level), self.binary(inner, level + 1))
    }

    fn label_replace(self, replace: &LabelReplace, level: usize) -> String {
        let mut out = indent(level) + "label_replace(\n" + &self.metric(&replace.inner, level + 1);
        for argument in compact::label_replace_arguments(replace) {
            out.push(',');
            break_line(&mut out, level + 1);
            out.push_str(&go_quote(argument));
        }
        break_line(&mut out, level);
        out.push(')');
        out
    }

    fn variants(self, metrics: &[MetricExpr], of: &LogRange, level: usize) -> String {
        let mut out = indent(level) + "variants(\n";
        for (index, each) in metrics.iter().enumerate() {
            out.push_str(if index > 0 { ",\n" } else { "" });
            out.push_str(&self.metric(each, level + 1));
        }
        break_line(&mut out, level);
        out.push_str(") of (\n");
        out.push_str(&self.log_range(of, level + 1));
        break_line(&mut out, level);
        out.push(')');
        out
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn break_line(out: &mut String, level: usize) {
    out.push('\n');
    out.push_str(&indent(level));
}

#[cfg(test)]
mod tests {
    use crate::{format_query, format_query_as_loki, parse};

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
    fn what_loki_loses_is_lost_where_its_text_is_asked_for() {
        for (query, expected) in [
            ("0/0", "NaN"),
            ("1e308*10", "+Inf"),
            ("-1e308*10", "-Inf"),
            ("vector(1.23456789)", "vector(1.234568)"),
            ("vector(1) * ignoring () vector(1)", "(vector(1.000000) * vector(1.000000))"),
            (
                "vector(1) * on (a) group_left () (vector(1)+vector(2))",
                "(vector(1.000000) * on (a) group_left (vector(1.000000) + vector(2.000000)))",
            ),
            (r#"{a="b"} | x>10KiB"#, r#"{a="b"} | x>10kB"#),
            (r#"{a="b"} | x>0kB"#, r#"{a="b"} | x>0B"#),
        ] {
            assert_eq!(format_query_as_loki(&parse(query).expect(query)), expected);
        }
        let long = |name: &str| format!("sum by (a)(rate({{app=\"{name}\", namespace=\"namespace\"}} |= \"some text\"[5m]))");
        let (a, b, c) = (long("first"), long("second"), long("third"));
        let tree = parse(&format!("({a} + on () {b}) * {c}")).expect("well formed");
        assert_eq!(format_query_as_loki(&tree), format!("    {a}\n  +\n    {b}\n*\n  {c}"));
        let tree =
            parse(&format!("sum without () (avg_over_time({{app=\"{}\"}} | unwrap x [5m]) by ())", "x".repeat(90))).expect("well formed");
        assert!(format_query_as_loki(&tree).starts_with("sum without(\n  avg_over_time("));
    }

    #[test]
    fn expressions_of_label_filters_stand_in_back_quotes() {
        for (filter, expected) in [
            (r#"a=~"[0-9]+""#, "a=~`[0-9]+`"),
            (r#"a=~"x\\d""#, r"a=~`x\d`"),
            (r#"a=~"[`]+x""#, r#"a=~"[`]+x""#),
            (r#"a!~"[0-9]+""#, r#"a!~"[0-9]+""#),
            (r#"a=~"warn|error""#, r#"a=~"warn|error""#),
            (r#"a=~".*err.*""#, r#"a=~".*err.*""#),
        ] {
            let query = format!("{{x=\"y\"}} | {filter}");
            let tree = parse(&query).expect(&query);
            assert_eq!(format_query(&tree), format!("{{x=\"y\"}} | {expected}"));
            assert_eq!(parse(&format_query(&tree)).as_ref(), Ok(&tree));
        }
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
