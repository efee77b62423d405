//! Pipelines: the stages of a query, compiled once and run over single entries.
//!
//! ```text
//! Pipeline ──for_stream──→ StreamPipeline ──process(entry)──→ Processed: line, labels, value
//!  (per query)              (per stream: names, buffers)       (views, until the next entry)
//! ```
//! A [`Pipeline`] is shared by all threads of a query. A [`StreamPipeline`] belongs to one thread and one stream;
//! its buffers grow with the longest entry; they are bounded by the limits on lines and, where templates make text of
//! text, by bounds of their own. Running a stage never fails: what goes wrong with an entry becomes its `__error__`.

mod compile;
pub(crate) mod entry;
mod fields;
pub(crate) mod keys;
pub(crate) mod names;
mod processed;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::ast::{self, Grouping};
use crate::labels::LabelSet;
use crate::needed::NeededLabels;
use crate::stages::decolorize;
use crate::stages::drop_keep::Targets;
use crate::stages::extraction::{Extraction, ParserScratch, Verdict};
use crate::stages::json;
use crate::stages::json_expression::JsonExpression;
use crate::stages::label_filter::LabelFilter;
use crate::stages::logfmt::Logfmt;
use crate::stages::logfmt_expression::LogfmtExpression;
use crate::stages::pattern::Pattern;
use crate::stages::regexp::Regexp;
use crate::stages::template_format::{LabelFormats, LineFormat, Surroundings};
use crate::stages::unpack;
use crate::stages::unwrap::Unwrap;

pub use crate::stages::line_filter::LineMatcher;
pub use compile::CompileError;
pub use fields::{FieldParser, FieldReader, LineFields, StreamFields};
pub use processed::Processed;

use entry::{EntryLabels, Input, empty};
use names::{NameId, NameTable, PipelineNames};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PipelineOptions {
    /// Behave as Loki does even where its own users call that a bug.
    pub strict_loki: bool,
}

/// The stages of a query. `Send + Sync`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    line_filters: Vec<LineMatcher>,
    stages: Vec<Stage>,
    unwrap: Option<Unwrap>,
    names: PipelineNames,
    /// By name; see [`crate::stages::extraction::EarlyFilters`].
    early_filters: Vec<Option<LabelFilter>>,
    grouping: SeriesGrouping,
    strict_loki: bool,
    reads_metadata: bool,
    /// What templates take for the present, in nanoseconds.
    now: i64,
}

/// How samples are put into series.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SeriesGrouping {
    By(Vec<NameId>),
    /// Also without any grouping; the unwrapped label is among these.
    Without(Vec<NameId>),
}

#[derive(Debug, Clone)]
enum Stage {
    LineFilter(LineMatcher),
    Json,
    JsonExpression(JsonExpression),
    Logfmt(Logfmt),
    LogfmtExpression(LogfmtExpression),
    Regexp(Regexp),
    Pattern(Pattern),
    Unpack,
    LabelFilter(LabelFilter),
    LineFormat(LineFormat),
    LabelFormat(LabelFormats),
    Decolorize,
    Drop(Targets),
    Keep(Targets),
}

impl Pipeline {
    /// Compiles the stages. `needed` says what parsers have to extract: [`NeededLabels::All`] for log queries,
    /// [`crate::needed::needed_labels`] for metric queries.
    pub fn compile(
        stages: &[ast::Stage],
        unwrap: Option<&ast::Unwrap>,
        needed: &NeededLabels,
        options: &PipelineOptions,
    ) -> Result<Pipeline, CompileError> {
        compile::compile(stages, unwrap, needed, options)
    }

    /// Sets how [`Processed::series_labels`] and [`Processed::write_series_key`] group samples; pass what
    /// [`crate::needed::sample_grouping`] says. Without this call: by all labels.
    ///
    /// Samples grouped by labels are filtered where the filter stands, as in Loki: what a stage before it drops or sets is not tested as it
    /// was found.
    pub fn with_grouping(mut self, grouping: Option<&Grouping>) -> Pipeline {
        let names = |names: &mut PipelineNames, grouping: &Grouping| -> Vec<NameId> {
            grouping.labels.iter().map(|label| names.intern(label)).collect()
        };
        self.grouping = match grouping {
            Some(grouping) if !grouping.without => SeriesGrouping::By(names(&mut self.names, grouping)),
            _ => {
                let mut without = grouping.map(|grouping| names(&mut self.names, grouping)).unwrap_or_default();
                without.extend(self.unwrap.as_ref().map(|unwrap| unwrap.label));
                SeriesGrouping::Without(without)
            }
        };
        let changes_labels = |stage: &Stage| matches!(stage, Stage::Drop(_) | Stage::Keep(_) | Stage::LabelFormat(_));
        if matches!(&self.grouping, SeriesGrouping::By(names) if !names.is_empty()) && self.stages.iter().any(changes_labels) {
            self.early_filters.clear();
        }
        self
    }

    /// Sets what `now` means in templates, in nanoseconds: the time of the query. Without this call it is 1970.
    pub fn with_now(mut self, now: i64) -> Pipeline {
        self.now = now;
        self
    }

    /// Whether every entry passes as it is.
    pub fn is_noop(&self) -> bool {
        self.line_filters.is_empty() && self.stages.is_empty() && self.unwrap.is_none()
    }

    /// Whether a stage reads the line. (Queries that return lines, or count bytes, need it besides.)
    pub fn reads_line(&self) -> bool {
        !self.line_filters.is_empty() || self.stages_read_line()
    }

    /// Whether a stage reads the line of an entry that is known to pass [`Pipeline::line_filters`].
    pub fn stages_read_line(&self) -> bool {
        let reads = |stage: &Stage| match stage {
            Stage::LabelFilter(_) | Stage::Drop(_) | Stage::Keep(_) => false,
            Stage::LabelFormat(formats) => formats.reads_line(),
            _ => true,
        };
        self.stages.iter().any(reads)
    }

    /// Whether structured metadata can show in the result: in labels, in what stages do, or in names (a parsed label
    /// gets another name where metadata has its own).
    pub fn reads_metadata(&self) -> bool {
        self.reads_metadata
    }

    /// Line filters that every entry has to pass and that see the line as it came in: they stand before any stage
    /// that changes it. Whole pages can be searched with them.
    pub fn line_filters(&self) -> &[LineMatcher] {
        &self.line_filters
    }

    /// The pipeline for the entries of one stream.
    pub fn for_stream(&self, stream: &LabelSet) -> StreamPipeline<'_> {
        let mut scratches = Vec::new();
        scratches.resize_with(self.stages.len(), ParserScratch::default);
        StreamPipeline {
            pipeline: self,
            labels: EntryLabels::new(NameTable::new(&self.names, stream)),
            scratches,
            metadata_names: Vec::new(),
            condemned: Vec::new(),
            replaced: Vec::new(),
            spare: Vec::new(),
        }
    }
}

/// A pipeline with the names and buffers of one stream.
#[derive(Debug)]
pub struct StreamPipeline<'p> {
    pipeline: &'p Pipeline,
    labels: EntryLabels,
    /// One for each stage.
    scratches: Vec<ParserScratch>,
    metadata_names: Vec<NameId>,
    condemned: Vec<NameId>,
    /// The line once a stage replaced it.
    replaced: Vec<u8>,
    spare: Vec<u8>,
}

impl StreamPipeline<'_> {
    /// Runs every stage over one entry; `None` if it is dropped. `timestamp` is in nanoseconds.
    pub fn process<'a>(&'a mut self, timestamp: i64, line: &'a [u8], metadata: &'a [(&'a str, &'a str)]) -> Option<Processed<'a>> {
        if !self.pipeline.line_filters.iter().all(|filter| filter.matches(line)) {
            return None;
        }
        self.process_filtered(timestamp, line, metadata)
    }

    /// The same for an entry that is known to pass [`Pipeline::line_filters`].
    pub fn process_filtered<'a>(&'a mut self, timestamp: i64, line: &'a [u8], metadata: &'a [(&'a str, &'a str)]) -> Option<Processed<'a>> {
        let input = Input { line, metadata };
        empty(&mut self.replaced);
        empty(&mut self.spare);
        if self.labels.start(input, &mut self.metadata_names) {
            for scratch in &mut self.scratches {
                scratch.keys.clear();
            }
        }
        let is_original = self.run_stages(timestamp, input)?;
        let value = match &self.pipeline.unwrap {
            Some(unwrap) => Some(unwrap.run(&mut self.labels, input)?),
            None => None,
        };
        let line = if is_original { line } else { &self.replaced };
        let Pipeline { grouping, strict_loki, .. } = self.pipeline;
        Some(Processed { timestamp, line, input, labels: &self.labels, grouping, strict_loki: *strict_loki, value })
    }

    /// Whether the line is still the one that came in; `None` if the entry is dropped.
    fn run_stages(&mut self, timestamp: i64, input: Input<'_>) -> Option<bool> {
        let mut is_original = true;
        let early_filters = &self.pipeline.early_filters;
        let now = self.pipeline.now;
        for (stage, scratch) in self.pipeline.stages.iter().zip(&mut self.scratches) {
            let replaced = (!is_original).then_some(self.replaced.as_slice());
            let line = replaced.unwrap_or(input.line);
            let labels = &mut self.labels;
            let (verdict, is_replaced) = match stage {
                Stage::LineFilter(filter) => (verdict(filter.matches(line)), false),
                Stage::LabelFilter(filter) => (verdict(filter.keeps(labels, input)), false),
                Stage::Drop(targets) => {
                    targets.drop(labels, input);
                    (Verdict::Keep, false)
                }
                Stage::Keep(targets) => {
                    targets.keep(labels, input, &mut self.condemned);
                    (Verdict::Keep, false)
                }
                Stage::LineFormat(format) => {
                    let surroundings = Surroundings { input, line, timestamp, now };
                    (Verdict::Keep, format.run(labels, surroundings, &mut self.spare))
                }
                Stage::LabelFormat(formats) => {
                    formats.run(labels, Surroundings { input, line, timestamp, now }, &mut scratch.formats);
                    (Verdict::Keep, false)
                }
                Stage::Decolorize => (Verdict::Keep, decolorize::run(line, &mut self.spare)),
                Stage::Unpack => {
                    let extraction = Extraction::new(labels, replaced, input, early_filters);
                    unpack::run(extraction, scratch, &mut self.spare)
                }
                parser => {
                    let extraction = Extraction::new(labels, replaced, input, early_filters);
                    (parser.parse(extraction, scratch, input), false)
                }
            };
            if verdict == Verdict::Drop {
                return None;
            }
            if is_replaced {
                std::mem::swap(&mut self.replaced, &mut self.spare);
                is_original = false;
            }
        }
        Some(is_original)
    }
}

fn verdict(is_kept: bool) -> Verdict {
    if is_kept { Verdict::Keep } else { Verdict::Drop }
}

impl Stage {
    /// Runs the parsers that leave the line as it is.
    fn parse(&self, extraction: Extraction<'_>, scratch: &mut ParserScratch, input: Input<'_>) -> Verdict {
        match self {
            Stage::Json => return json::run(extraction, scratch),
            Stage::Logfmt(stage) => return stage.run(extraction, scratch),
            Stage::Regexp(stage) => return stage.run(extraction, scratch),
            Stage::Pattern(stage) => return stage.run(extraction),
            Stage::JsonExpression(stage) => stage.run(extraction, scratch, input),
            Stage::LogfmtExpression(stage) => stage.run(extraction, scratch),
            _ => {}
        }
        Verdict::Keep
    }
}
