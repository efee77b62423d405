//! Pipelines as a whole, from the syntax tree to labels.

mod filters;
mod formats;
mod labels;
mod parsers;
mod samples;

use super::*;
use crate::ast::{CompareOp, Extraction, FilterValue, LineFilterOp, MatchOp, Matcher, NameOrMatcher, Stage as Ast};
use crate::labels::CategorizedLabels;

fn stream() -> LabelSet {
    LabelSet::from_pairs([("app", "a"), ("pod", "p")])
}

fn pipeline(stages: &[Ast]) -> Pipeline {
    Pipeline::compile(stages, None, &NeededLabels::All, &PipelineOptions::default()).unwrap()
}

fn only(names: &[&str]) -> NeededLabels {
    NeededLabels::Only(names.iter().map(|name| name.to_string()).collect())
}

/// The labels beside the stream's, as text; `None` if the line is dropped.
fn run_with(stages: &[Ast], line: &str, metadata: &[(&str, &str)]) -> Option<String> {
    let pipeline = pipeline(stages);
    let mut pipeline = pipeline.for_stream(&stream());
    let processed = pipeline.process(0, line.as_bytes(), metadata)?;
    let labels = processed.labels();
    let beside = labels.iter().filter(|(name, value)| stream().get(name) != Some(value));
    Some(LabelSet::from_pairs(beside).to_string())
}

fn run(stages: &[Ast], line: &str) -> Option<String> {
    run_with(stages, line, &[])
}

fn json() -> Ast {
    Ast::Json { extractions: Vec::new() }
}

fn logfmt() -> Ast {
    Ast::Logfmt { strict: false, keep_empty: false, extractions: Vec::new() }
}

fn extractions(pairs: &[(&str, &str)]) -> Vec<Extraction> {
    pairs.iter().map(|(name, path)| Extraction { name: name.to_string(), path: path.to_string() }).collect()
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher { name: name.into(), op, value: value.into() }
}

fn text_filter(name: &str, op: MatchOp, value: &str) -> Ast {
    Ast::LabelFilter(ast::LabelFilter::String(matcher(name, op, value)))
}

fn greater(name: &str, value: FilterValue) -> ast::LabelFilter {
    ast::LabelFilter::Compare { name: name.into(), op: CompareOp::Greater, value }
}

fn check(stages: &[Ast], cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(run(stages, line).as_deref(), Some(*expected), "{line}");
    }
}

fn by(labels: &[&str]) -> Grouping {
    Grouping { without: false, labels: labels.iter().map(|label| label.to_string()).collect() }
}

fn line_format(template: &str) -> Ast {
    Ast::LineFormat { template: template.into() }
}

fn label_format(formats: &[(&str, &str)]) -> Ast {
    let format = |(target, source): &(&str, &str)| ast::LabelFormat {
        target: target.to_string(),
        source: match source.contains('{') || source.is_empty() {
            true => ast::LabelFormatSource::Template(source.to_string()),
            false => ast::LabelFormatSource::Label(source.to_string()),
        },
    };
    Ast::LabelFormat { formats: formats.iter().map(format).collect() }
}

const NO_OBJECT: &str = r#"{__error__="JSONParserErr", __error_details__="Value looks like object, but can't find closing '}' symbol"}"#;
