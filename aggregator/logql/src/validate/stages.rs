//! Checks that belong to the building of stages: `parse error : stage '<text>' : <reason>`.

use super::pattern::check_pattern_filter;
use crate::ast::{
    Expr, Extraction, LabelFilter, LabelFormat, LabelFormatSource, LineFilter, LineFilterArg, LineFilterOp, LogRange, MetricExpr, Stage,
    Unwrap,
};
use crate::error::ParseError;
use crate::needed::{NeededLabels, range_stages};
use crate::pipeline::names::PipelineNames;
use crate::printer::{format_label_filter, format_stages};
use crate::regex_dialect;
use crate::stages::FilterOptions;
use crate::stages::ip::AddressRange;
use crate::stages::json_expression::JsonExpression;
use crate::stages::logfmt_expression::LogfmtExpression;
use crate::stages::template_format::{label_template, line_template};

/// Checks of single stages that belong to whoever runs them. Answers with the reason alone.
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
        Expr::Log(log) => check_all(&log.stages, runtime),
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
        MetricExpr::Range(aggregation) => check_range(&aggregation.range, &range_stages(aggregation), runtime),
        MetricExpr::Vector(aggregation) => check_metric(&aggregation.inner, runtime),
        MetricExpr::Binary(operation) => {
            check_metric(&operation.left, runtime)?;
            check_metric(&operation.right, runtime)
        }
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => Ok(()),
        MetricExpr::LabelReplace(replace) => check_metric(&replace.inner, runtime),
        // The ranges inside of the variants are placeholders for the common one.
        MetricExpr::Variants { of, .. } => check_range(of, &of.log.stages, runtime),
    }
}

fn check_range(range: &LogRange, stages: &[Stage], runtime: &impl StageCheck) -> Result<(), ParseError> {
    check_all(stages, runtime)?;
    range.unwrap.as_ref().map_or(Ok(()), check_unwrap)
}

fn check_all(stages: &[Stage], runtime: &impl StageCheck) -> Result<(), ParseError> {
    for (index, stage) in stages.iter().enumerate() {
        check_stage(stage)
            .and_then(|()| runtime.check(stage))
            .map_err(|reason| ParseError::in_stage(&stage_text(stages, index), reason))?;
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
        Stage::LineFormat { template } => line_template(template).map(|_| ()),
        Stage::Json { extractions } if !extractions.is_empty() => check_json_paths(extractions),
        Stage::Logfmt { strict, extractions, .. } if !extractions.is_empty() => check_logfmt_keys(*strict, extractions),
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

fn check_json_paths(extractions: &[Extraction]) -> Result<(), String> {
    let mut names = PipelineNames::new(&NeededLabels::All);
    JsonExpression::new(extractions, &mut names).map(|_| ()).map_err(|error| error.to_string())
}

fn check_logfmt_keys(strict: bool, extractions: &[Extraction]) -> Result<(), String> {
    let mut names = PipelineNames::new(&NeededLabels::All);
    LogfmtExpression::new(strict, extractions, &mut names, FilterOptions::default()).map(|_| ()).map_err(|error| error.to_string())
}

fn check_label_formats(formats: &[LabelFormat]) -> Result<(), String> {
    for (index, format) in formats.iter().enumerate() {
        if format.target == "__error__" {
            return Err("__error__ cannot be formatted".to_owned());
        }
        if let LabelFormatSource::Template(text) = &format.source {
            label_template(&format.target, text)?;
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
        let expression = parse(r#"1 + rate({a="b"} | unpack [1m])"#).expect("grammatical");
        let unpacking = |stage: &Stage| match stage {
            Stage::Unpack => Err("not here".to_owned()),
            _ => Ok(()),
        };
        assert_eq!(check_stages(&expression, &nothing), Ok(()));
        let error = check_stages(&expression, &unpacking).expect_err("refused by the runtime");
        assert_eq!(error.to_string(), "parse error : stage '| unpack' : not here");
    }
}
