//! What a line says by itself: the labels that `| json` makes of it, or else those of `| logfmt`.
//!
//! For listing the fields that lines have (which asks for no pipeline), with the keys of the JSON object that each label came from.

use std::collections::BTreeMap;

use super::names::{ERROR_DETAILS_LABEL, ERROR_LABEL, PRESERVE_ERROR_LABEL};
use super::{Pipeline, PipelineOptions, StreamPipeline};
use crate::ast::Stage;
use crate::labels::LabelSet;
use crate::needed::{EXTRACTED_SUFFIX, NeededLabels};
use crate::stages::json_paths;

/// The parser that can read a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldParser {
    Json,
    Logfmt,
}

impl FieldParser {
    /// Its name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Logfmt => "logfmt",
        }
    }
}

/// The labels of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFields {
    pub parser: FieldParser,
    /// Without errors. Names that the stream has end in `_extracted`.
    pub labels: LabelSet,
    paths: BTreeMap<String, Vec<String>>,
}

impl LineFields {
    /// The keys of the JSON object that lead to a label's value.
    pub fn json_path(&self, label: &str) -> Option<&[String]> {
        let of = |name: &str| self.paths.get(name).map(Vec::as_slice);
        of(label).or_else(|| of(label.strip_suffix(EXTRACTED_SUFFIX)?))
    }
}

/// Reads lines. Cheap to keep.
#[derive(Debug)]
pub struct FieldReader {
    json: Pipeline,
    logfmt: Pipeline,
}

impl Default for FieldReader {
    fn default() -> Self {
        let pipeline = |stage: Stage| {
            let compiled = Pipeline::compile(&[stage], None, &NeededLabels::All, &PipelineOptions::default());
            compiled.expect("a parser without arguments compiles")
        };
        Self {
            json: pipeline(Stage::Json { extractions: Vec::new() }),
            logfmt: pipeline(Stage::Logfmt { strict: false, keep_empty: false, extractions: Vec::new() }),
        }
    }
}

impl FieldReader {
    /// The reader for lines of one stream.
    pub fn for_stream(&self, stream: &LabelSet) -> StreamFields<'_> {
        StreamFields { json: self.json.for_stream(stream), logfmt: self.logfmt.for_stream(stream) }
    }
}

/// See [`FieldReader::for_stream`].
#[derive(Debug)]
pub struct StreamFields<'r> {
    json: StreamPipeline<'r>,
    logfmt: StreamPipeline<'r>,
}

impl StreamFields<'_> {
    pub fn read(&mut self, line: &[u8]) -> LineFields {
        match parsed(&mut self.json, line) {
            Some(labels) => LineFields { parser: FieldParser::Json, labels, paths: json_paths::paths(line) },
            None => {
                let labels = parsed(&mut self.logfmt, line).unwrap_or_default();
                LineFields { parser: FieldParser::Logfmt, labels, paths: BTreeMap::new() }
            }
        }
    }
}

/// The parsed labels; `None` if the parser cannot read the line.
fn parsed(pipeline: &mut StreamPipeline<'_>, line: &[u8]) -> Option<LabelSet> {
    let processed = pipeline.process(0, line, &[])?;
    if processed.labels.error().is_some() {
        return None;
    }
    let parsed = processed.categorized().parsed;
    let is_error = |name: &str| matches!(name, ERROR_LABEL | ERROR_DETAILS_LABEL | PRESERVE_ERROR_LABEL);
    Some(LabelSet::from_pairs(parsed.iter().filter(|(name, _)| !is_error(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_json_and_else_as_logfmt() {
        let reader = FieldReader::default();
        let mut stream = reader.for_stream(&LabelSet::from_pairs([("app", "a")]));
        for (line, parser, labels) in [
            (r#"{"app":"x","n":{"m":1}}"#, FieldParser::Json, r#"{app_extracted="x", n_m="1"}"#),
            ("app=x n=1 empty=", FieldParser::Logfmt, r#"{app_extracted="x", n="1"}"#),
            (r#"{"a":1,"#, FieldParser::Logfmt, "{}"),
            (r#"{"__error__":"mine","x":"1"}"#, FieldParser::Json, r#"{x="1"}"#),
            ("", FieldParser::Logfmt, "{}"),
        ] {
            let fields = stream.read(line.as_bytes());
            assert_eq!((fields.parser, fields.labels.to_string().as_str()), (parser, labels), "{line}");
        }
        let fields = stream.read(br#"{"app":"x","n":{"m":1}}"#);
        assert_eq!(fields.json_path("app_extracted"), Some(["app".to_owned()].as_slice()));
        assert_eq!(fields.json_path("n_m"), Some(["n".to_owned(), "m".to_owned()].as_slice()));
        assert_eq!(fields.json_path("other"), None);
    }
}
