//! Checks that belong to the building of stages: `parse error : stage '<text>' : <reason>`.

use super::pattern::check_pattern_filter;
use crate::ast::{Expr, LabelFilter, LabelFormat, LineFilter, LineFilterArg, LineFilterOp, LogExpr, LogRange, MetricExpr, Stage, Unwrap};
use crate::error::ParseError;
use crate::printer::{format_label_filter, format_stages};
use crate::regex_dialect;
use crate::stages::ip::AddressRange;

/// Checks of single stages that belong to whoever runs them: template syntax, JSON paths, logfmt keys.
/// Answers with the reason alone, e.g. `invalid line template: template: line:1: unclosed action`.
pub trait StageCheck {
    fn check(&self, stage: &Stage) -> Result<(), String>;
}

impl<F: Fn(&Stage) -> Result<(), String>> StageCheck for F {
    fn check(&self, stage: &Stage) -> Result<(), String> {
        self(stage)
    }
}

/// Checks every stage of a query, left to right: first the rules of the language, then `runtime`'s.
pub fn check_stages(expression: &Expr, runtime: &impl StageCheck) -> Result<(), ParseError> {
    match expression {
        Expr::Log(log) => check_log(log, runtime),
        Expr::Metric(metric) => check_metric(metric, runtime),
    }
}

/// The stage as it stands in error texts. Line filters in a row count as one stage.
pub fn stage_text(stages: &[Stage], index: usize) -> String {
    let is_filter = |stage: &Stage| matches!(stage, Stage::LineFilter(_));
    if !stages.get(index).is_some_and(is_filter) {
        return format_stages(stages.get(index..=index).unwrap_or_default());
    }
    let start = stages[..index].iter().rposition(|stage| !is_filter(stage)).map_or(0, |before| before + 1);
    let end = stages[index..].iter().position(|stage| !is_filter(stage)).map_or(stages.len(), |after| index + after);
    format_stages(&stages[start..end])
}

fn check_metric(metric: &MetricExpr, runtime: &impl StageCheck) -> Result<(), ParseError> {
    match metric {
        MetricExpr::Range(aggregation) => check_range(&aggregation.range, runtime),
        MetricExpr::Vector(aggregation) => check_metric(&aggregation.inner, runtime),
        MetricExpr::Binary(operation) => {
            check_metric(&operation.left, runtime)?;
            check_metric(&operation.right, runtime)
        }
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => Ok(()),
        MetricExpr::LabelReplace(replace) => check_metric(&replace.inner, runtime),
        // The ranges inside of the variants are placeholders for the common one.
        MetricExpr::Variants { of, .. } => check_range(of, runtime),
    }
}

fn check_range(range: &LogRange, runtime: &impl StageCheck) -> Result<(), ParseError> {
    check_log(&range.log, runtime)?;
    range.unwrap.as_ref().map_or(Ok(()), check_unwrap)
}

fn check_log(log: &LogExpr, runtime: &impl StageCheck) -> Result<(), ParseError> {
    for (index, stage) in log.stages.iter().enumerate() {
        check_stage(stage)
            .and_then(|()| runtime.check(stage))
            .map_err(|reason| ParseError::in_stage(&stage_text(&log.stages, index), reason))?;
    }
    Ok(())
}

fn check_unwrap(unwrap: &Unwrap) -> Result<(), ParseError> {
    for filter in &unwrap.post_filters {
        check_label_filter(filter).map_err(|reason| ParseError::in_stage(&format!("| {}", format_label_filter(filter)), reason))?;
    }
    Ok(())
}

fn check_stage(stage: &Stage) -> Result<(), String> {
    match stage {
        Stage::LineFilter(filter) => check_line_filter(filter),
        Stage::LabelFilter(filter) => check_label_filter(filter),
        Stage::LabelFormat { formats } => check_label_formats(formats),
        _ => Ok(()),
    }
}

fn check_line_filter(filter: &LineFilter) -> Result<(), String> {
    for alternative in &filter.alternatives {
        match (filter.op, alternative) {
            (LineFilterOp::Contains | LineFilterOp::NotContains, LineFilterArg::Ip(pattern)) => check_ip(pattern)?,
            (_, LineFilterArg::Ip(_)) => return Err("ip: invalid operation".to_owned()),
            (LineFilterOp::Regex | LineFilterOp::NotRegex, LineFilterArg::Text(regex)) => {
                regex_dialect::translate(regex).map_err(|error| error.to_string())?;
            }
            (LineFilterOp::Pattern | LineFilterOp::NotPattern, LineFilterArg::Text(pattern)) => {
                check_pattern_filter(pattern).map_err(|error| error.to_string())?;
            }
            (LineFilterOp::Contains | LineFilterOp::NotContains, LineFilterArg::Text(_)) => {}
        }
    }
    Ok(())
}

fn check_label_filter(filter: &LabelFilter) -> Result<(), String> {
    match filter {
        LabelFilter::String(_) | LabelFilter::Compare { .. } => Ok(()),
        LabelFilter::Ip { pattern, .. } => check_ip(pattern),
        LabelFilter::And { left, right } | LabelFilter::Or { left, right } => {
            check_label_filter(left)?;
            check_label_filter(right)
        }
    }
}

fn check_ip(pattern: &str) -> Result<(), String> {
    AddressRange::parse(pattern).map(|_| ()).map_err(|error| error.to_string())
}

fn check_label_formats(formats: &[LabelFormat]) -> Result<(), String> {
    for (index, format) in formats.iter().enumerate() {
        if format.target == "__error__" {
            return Err("__error__ cannot be formatted".to_owned());
        }
        if formats[..index].iter().any(|earlier| earlier.target == format.target) {
            return Err(format!("multiple label name '{}' not allowed in a single format operation", format.target));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn nothing(_: &Stage) -> Result<(), String> {
        Ok(())
    }

    fn refused(query: &str) -> String {
        let expression = parse(query).expect(query);
        check_stages(&expression, &nothing).expect_err(query).to_string()
    }

    #[test]
    fn broken_stages_are_named_by_their_text() {
        for (query, text) in [
            (r#"{a="b"} |~ "(""#, r#"parse error : stage '|~ "("' : error parsing regexp: missing closing ): `(`"#),
            (r#"{a="b"} |= "x" |~ "[" | json"#, r#"parse error : stage '|= "x" |~ "["' : error parsing regexp: missing closing ]: `[`"#),
            (
                r#"rate({a="b"} | json | x=1 or y=ip("bad") [1m])"#,
                r#"parse error : stage '| ( x==1 or y=ip("bad") )' : ip: invalid pattern: "bad""#,
            ),
            (
                r#"sum_over_time({a="b"} | unwrap x | y=ip("1/2") [1m])"#,
                r#"parse error : stage '| y=ip("1/2")' : ip: invalid pattern: "1/2""#,
            ),
            (
                r#"{a="b"} | label_format x=y, x="z""#,
                "parse error : stage '| label_format x=y,x=\"z\"' : multiple label name 'x' not allowed in a single format operation",
            ),
        ] {
            assert_eq!(refused(query), text);
        }
    }

    #[test]
    fn the_runtime_checks_what_the_language_leaves_open() {
        let expression = parse(r#"1 + rate({a="b"} | line_format "{{" [1m])"#).expect("grammatical");
        let templates = |stage: &Stage| match stage {
            Stage::LineFormat { .. } => Err("unclosed".to_owned()),
            _ => Ok(()),
        };
        assert_eq!(check_stages(&expression, &nothing), Ok(()));
        let error = check_stages(&expression, &templates).expect_err("refused by the runtime");
        assert_eq!(error.to_string(), "parse error : stage '| line_format \"{{\"' : unclosed");
    }
}
