//! From the syntax tree of a pipeline to its compiled stages.
//!
//! Line filters move ahead of the stages before them, up to a label filter or a stage that makes another line; those
//! that see the line as it came in are taken out and run first. Parsers are left out, once checked, where no label
//! is needed.

use thiserror::Error;

use super::names::PipelineNames;
use super::{Pipeline, PipelineOptions, SeriesGrouping, Stage};
use crate::ast;
use crate::matcher::MatcherError;
use crate::needed::NeededLabels;
use crate::regex_dialect::{EXPRESSIONS_LIMIT, SIZE_LIMIT};
use crate::stages::FilterOptions;
use crate::stages::drop_keep::Targets;
use crate::stages::json_expression::JsonExpression;
use crate::stages::label_filter::{LabelFilter, LabelFilterError};
use crate::stages::line_filter::LineMatcher;
use crate::stages::logfmt::Logfmt;
use crate::stages::logfmt_expression::LogfmtExpression;
use crate::stages::pattern::Pattern;
use crate::stages::regexp::Regexp;
use crate::stages::template_format::{LabelFormats, LineFormat};
use crate::stages::unwrap::Unwrap;
use crate::validate::stage_text;

/// A stage that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompileError {
    /// `stage` is the stage as the printer writes it.
    #[error("parse error : stage '{stage}' : {reason}")]
    Stage { stage: String, reason: String },
    /// Refused with the whole query.
    #[error("parse error : {reason}")]
    Query { reason: String },
}

impl From<MatcherError> for CompileError {
    fn from(error: MatcherError) -> CompileError {
        CompileError::Query { reason: error.source.to_string() }
    }
}

pub(super) fn compile(
    stages: &[ast::Stage],
    unwrap: Option<&ast::Unwrap>,
    needed: &NeededLabels,
    options: &PipelineOptions,
) -> Result<Pipeline, CompileError> {
    let mut compiler = Compiler {
        names: PipelineNames::new(needed),
        options: FilterOptions { strict_loki: options.strict_loki, expression_bytes: expression_bytes(stages) },
        line_filters: Vec::new(),
        stages: Vec::new(),
        segment: 0,
        is_changed_before_segment: false,
    };
    for index in 0..stages.len() {
        compiler.add(stages, index)?;
    }
    let Compiler { mut names, options, line_filters, mut stages, .. } = compiler;
    let unwrap = match unwrap {
        Some(unwrap) => Some(
            Unwrap::new(unwrap, &mut names, options)
                .map_err(|(index, error)| label_filter_error(&[ast::Stage::LabelFilter(unwrap.post_filters[index].clone())], 0, error))?,
        ),
        None => None,
    };
    let reads = |stage: &Stage| matches!(stage, Stage::LabelFilter(_) | Stage::LineFormat(_) | Stage::LabelFormat(_));
    let reads_labels = unwrap.is_some() || stages.iter().any(reads);
    if *needed == NeededLabels::None {
        stages.retain(|stage| !is_parser(stage));
    }
    let early_filters = early_filters(&stages, &names);
    let without = unwrap.iter().map(|unwrap| unwrap.label).collect();
    Ok(Pipeline {
        line_filters,
        reads_metadata: *needed != NeededLabels::None || reads_labels,
        stages,
        unwrap,
        names,
        early_filters,
        grouping: SeriesGrouping::Without(without),
        strict_loki: options.strict_loki,
        now: 0,
    })
}

/// What each regular expression of a query may take, so that all its filters together stay bounded.
fn expression_bytes(stages: &[ast::Stage]) -> usize {
    let count = stages.iter().map(|stage| match stage {
        ast::Stage::LineFilter(filter) if matches!(filter.op, ast::LineFilterOp::Regex | ast::LineFilterOp::NotRegex) => {
            filter.alternatives.len()
        }
        ast::Stage::LabelFilter(filter) => expressions_of(filter),
        _ => 0,
    });
    (EXPRESSIONS_LIMIT / count.sum::<usize>().max(1)).min(SIZE_LIMIT)
}

fn expressions_of(filter: &ast::LabelFilter) -> usize {
    match filter {
        ast::LabelFilter::String(matcher) => usize::from(matches!(matcher.op, ast::MatchOp::Regex | ast::MatchOp::NotRegex)),
        ast::LabelFilter::Compare { .. } | ast::LabelFilter::Ip { .. } => 0,
        ast::LabelFilter::And { left, right } | ast::LabelFilter::Or { left, right } => expressions_of(left) + expressions_of(right),
    }
}

struct Compiler {
    names: PipelineNames,
    options: FilterOptions,
    line_filters: Vec<LineMatcher>,
    stages: Vec<Stage>,
    /// Where the stages begin that a line filter is moved ahead of: behind the last label filter, or the last stage
    /// that makes another line. (`decolorize` does not count: filters behind it see the colours, as in Loki.)
    segment: usize,
    /// Whether the line at the segment is not the one that came in.
    is_changed_before_segment: bool,
}

impl Compiler {
    fn add(&mut self, stages: &[ast::Stage], index: usize) -> Result<(), CompileError> {
        let names = &mut self.names;
        let in_stage = |reason: &dyn std::fmt::Display| in_stage(stages, index, reason);
        let compiled = match &stages[index] {
            ast::Stage::LineFilter(filter) => {
                let matcher = LineMatcher::new(filter, self.options).map_err(|error| in_stage(&error))?;
                if self.is_changed_before_segment {
                    self.stages.insert(self.segment, Stage::LineFilter(matcher));
                    self.segment += 1;
                } else {
                    #[cfg(feature = "planted-faults")]
                    if tailwater_planted::Fault::LastFilterOnly.is_planted() {
                        self.line_filters.clear();
                    }
                    self.line_filters.push(matcher);
                }
                return Ok(());
            }
            ast::Stage::Json { extractions } if extractions.is_empty() => Stage::Json,
            ast::Stage::Json { extractions } => {
                let stage = JsonExpression::new(extractions, names).map_err(|error| in_stage(&error))?;
                Stage::JsonExpression(stage)
            }
            ast::Stage::Logfmt { strict, keep_empty, extractions } if extractions.is_empty() => {
                Stage::Logfmt(Logfmt { strict: *strict, keep_empty: *keep_empty })
            }
            ast::Stage::Logfmt { strict, extractions, .. } => {
                let compiled = LogfmtExpression::new(*strict, extractions, names, self.options);
                Stage::LogfmtExpression(compiled.map_err(|error| in_stage(&error))?)
            }
            ast::Stage::Regexp { pattern } => {
                let compiled = Regexp::new(pattern, names);
                Stage::Regexp(compiled.map_err(|error| in_query(format!("invalid regexp parser: {error}")))?)
            }
            ast::Stage::Pattern { pattern } => {
                let compiled = Pattern::new(pattern, names);
                Stage::Pattern(compiled.map_err(|error| in_query(format!("invalid pattern parser: {error}")))?)
            }
            ast::Stage::Unpack => Stage::Unpack,
            ast::Stage::LabelFilter(filter) => {
                let compiled = LabelFilter::new(filter, names, self.options);
                Stage::LabelFilter(compiled.map_err(|error| label_filter_error(stages, index, error))?)
            }
            ast::Stage::LineFormat { template } => Stage::LineFormat(LineFormat::new(template, names).map_err(|error| in_stage(&error))?),
            ast::Stage::LabelFormat { formats } => Stage::LabelFormat(LabelFormats::new(formats, names).map_err(|error| in_stage(&error))?),
            ast::Stage::Decolorize => Stage::Decolorize,
            ast::Stage::Drop { targets } => Stage::Drop(Targets::new(targets, names)?),
            ast::Stage::Keep { targets } => Stage::Keep(Targets::new(targets, names)?),
        };
        let ends_segment = matches!(compiled, Stage::LabelFilter(_) | Stage::Unpack | Stage::LineFormat(_));
        self.stages.push(compiled);
        if ends_segment {
            let changes = |stage: &Stage| matches!(stage, Stage::Unpack | Stage::Decolorize | Stage::LineFormat(_));
            self.is_changed_before_segment |= self.stages[self.segment..].iter().any(changes);
            self.segment = self.stages.len();
        }
        Ok(())
    }
}

/// Filters on a single label, the first of each name, to be tested when a parser sets the label. Not for labels that
/// expressions set, as those may overwrite what is tested (those that `label_format` sets are tested as found, though,
/// as in Loki). This shows where a label is dropped between the parser and
/// the filter: the filter tests what the parser found, as in Loki. (Where samples are grouped by labels, that is
/// undone by `with_grouping`.)
fn early_filters(stages: &[Stage], names: &PipelineNames) -> Vec<Option<LabelFilter>> {
    let mut filters = vec![None; names.len()];
    for filter in stages.iter().filter_map(|stage| if let Stage::LabelFilter(filter) = stage { Some(filter) } else { None }) {
        if let Some(name) = filter.single_name()
            && filters[name.index()].is_none()
        {
            filters[name.index()] = Some(filter.clone());
        }
    }
    for stage in stages {
        let overwritten: Vec<_> = match stage {
            Stage::JsonExpression(stage) => stage.labels().collect(),
            Stage::LogfmtExpression(stage) => stage.labels().collect(),
            _ => continue,
        };
        for name in overwritten {
            filters[name.index()] = None;
        }
    }
    filters
}

fn is_parser(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::Json
            | Stage::JsonExpression(_)
            | Stage::Logfmt(_)
            | Stage::LogfmtExpression(_)
            | Stage::Regexp(_)
            | Stage::Pattern(_)
            | Stage::Unpack
    )
}

fn in_stage(stages: &[ast::Stage], index: usize, reason: &dyn std::fmt::Display) -> CompileError {
    CompileError::Stage { stage: stage_text(stages, index), reason: reason.to_string() }
}

fn in_query(reason: String) -> CompileError {
    CompileError::Query { reason }
}

/// Broken regular expressions are refused with the query, the rest with the stage.
fn label_filter_error(stages: &[ast::Stage], index: usize, error: LabelFilterError) -> CompileError {
    match error {
        LabelFilterError::Regex(error) => in_query(error.to_string()),
        LabelFilterError::Ip(error) => in_stage(stages, index, &error),
    }
}
