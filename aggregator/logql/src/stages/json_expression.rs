//! `| json label="path", …`: the values at given paths.
//!
//! The line only has to begin like JSON; what no path leads to is not checked. The first value at a path counts;
//! of several paths for one label, the one found last in the line. A label whose path leads nowhere is set to
//! nothing, unless the entry has a label of that name.

use super::extraction::{Extraction, ParserScratch};
use super::json::{JSON_ERROR, value_text};
use super::json_path::{PathError, PathTree, parse_path};
use super::json_text::{JsonError, Kind, Value, skip_blanks, string_end, unescape, value_at};
use crate::ast;
use crate::pipeline::entry::{Input, Text};
use crate::pipeline::names::{NameId, PipelineNames};

#[derive(Debug, Clone)]
pub(crate) struct JsonExpression {
    labels: Vec<NameId>,
    paths: PathTree,
}

impl JsonExpression {
    pub(crate) fn new(extractions: &[ast::Extraction], names: &mut PipelineNames) -> Result<JsonExpression, PathError> {
        let mut stage = JsonExpression { labels: Vec::new(), paths: PathTree::default() };
        for (index, extraction) in extractions.iter().enumerate() {
            stage.paths.insert(&parse_path(&extraction.path)?, index);
            stage.labels.push(names.intern(&extraction.name));
        }
        Ok(stage)
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = NameId> {
        self.labels.iter().copied()
    }

    pub(crate) fn run(&self, extraction: Extraction<'_>, scratch: &mut ParserScratch, input: Input<'_>) {
        let Some(first) = extraction.line.first().filter(|_| !extraction.labels.has_all_needed()) else {
            return;
        };
        if !matches!(first, b'{' | b'[' | b'"') {
            extraction.labels.set_parser_error(JSON_ERROR, |_| {});
            return;
        }
        scratch.found.clear();
        scratch.found.resize(self.labels.len(), false);
        let mut walk = Walk { stage: self, extraction, found: &mut scratch.found };
        if let Err(error) = walk.value(&self.paths, 0) {
            walk.extraction.labels.set_parser_error(JSON_ERROR, |details| details.push_str(&error.to_string()));
        }
        let Walk { extraction, found, .. } = walk;
        for (label, _) in self.labels.iter().zip(found).filter(|(_, found)| !**found) {
            if extraction.labels.get(*label, input).is_none() {
                extraction.labels.set_parsed(*label, Text::EMPTY);
            }
        }
    }
}

struct Walk<'w, 'e> {
    stage: &'w JsonExpression,
    extraction: Extraction<'e>,
    found: &'w mut [bool],
}

impl Walk<'_, '_> {
    /// Follows the paths below a value. Only a broken value at the end of a path is an error.
    fn value(&mut self, paths: &PathTree, start: usize) -> Result<(), JsonError> {
        match self.extraction.line[start] {
            b'{' if !paths.fields.is_empty() => self.object(paths, start + 1),
            b'[' if !paths.indexes.is_empty() => self.array(paths, start + 1),
            _ => Ok(()),
        }
    }

    fn object(&mut self, paths: &PathTree, mut at: usize) -> Result<(), JsonError> {
        let line = self.extraction.line;
        while let Some((key, value_start)) = self.key(at) {
            if let Some((_, below)) = paths.fields.iter().find(|(name, _)| is_key(name, key)) {
                self.at_path(below, value_start)?;
            }
            let Ok(value) = value_at(line, value_start) else {
                return Ok(());
            };
            let Some(comma) = skip_blanks(line, value.after).filter(|at| line[*at] == b',') else {
                return Ok(());
            };
            at = comma + 1;
        }
        Ok(())
    }

    /// The key at or behind `at` with whether it is escaped, and where its value begins.
    fn key(&self, at: usize) -> Option<((&[u8], bool), usize)> {
        let line = self.extraction.line;
        let quote = skip_blanks(line, at).filter(|at| line[*at] == b'"')?;
        let (end, is_escaped) = string_end(line, quote + 1)?;
        let colon = skip_blanks(line, end + 1).filter(|at| line[*at] == b':')?;
        Some(((&line[quote + 1..end], is_escaped), skip_blanks(line, colon + 1)?))
    }

    fn array(&mut self, paths: &PathTree, mut at: usize) -> Result<(), JsonError> {
        let line = self.extraction.line;
        for index in 0.. {
            let Some(start) = skip_blanks(line, at).filter(|at| line[*at] != b']') else {
                return Ok(());
            };
            if let Some((_, below)) = paths.indexes.iter().find(|(wanted, _)| *wanted == index) {
                self.at_path(below, start)?;
            }
            let Ok(value) = value_at(line, start) else {
                return Ok(());
            };
            let Some(comma) = skip_blanks(line, value.after).filter(|at| line[*at] == b',') else {
                return Ok(());
            };
            at = comma + 1;
        }
        Ok(())
    }

    /// A value that a path leads to, or through.
    fn at_path(&mut self, paths: &PathTree, start: usize) -> Result<(), JsonError> {
        if !paths.ends.is_empty() {
            let value = value_at(self.extraction.line, start)?;
            for extraction in &paths.ends {
                self.set(*extraction, value);
            }
        }
        self.value(paths, start)
    }

    fn set(&mut self, index: usize, value: Value) {
        if std::mem::replace(&mut self.found[index], true) {
            return;
        }
        let target = self.extraction.labels.unsuffixed_or_suffixed(self.stage.labels[index]);
        let text = match value.kind {
            Kind::Null => Text::EMPTY,
            // Escapes in the strings of an array are undone with the array as a whole, those in an object stay.
            Kind::Array => value_text(&mut self.extraction, Value { kind: Kind::String { is_escaped: true }, ..value }),
            _ => value_text(&mut self.extraction, value),
        };
        self.extraction.labels.set_parsed(target, text);
    }
}

fn is_key(name: &[u8], (key, is_escaped): (&[u8], bool)) -> bool {
    if !is_escaped {
        return name == key;
    }
    let mut unescaped = Vec::with_capacity(key.len());
    unescape(key, &mut unescaped).is_ok() && unescaped == name
}
