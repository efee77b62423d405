//! `| json`: every scalar of a line that is an object becomes a label.
//!
//! One pass over the bytes. Keys of nested objects are joined with `_`; arrays and nulls are skipped; of equal
//! names the first counts. What was found before an error stays, except what stood inside an object that is never
//! closed. Text behind the object is not looked at. Objects nested deeper than [`MAXIMUM_DEPTH`] are skipped.

use super::extraction::{Extraction, ParserScratch, Progress, Verdict};
use super::json_text::{JsonError, Kind, Value, block_end, skip_blanks, string_end, unescape, value_at};
use crate::pipeline::entry::Text;
use crate::pipeline::keys::{KeyIndex, ROOT};

/// The error label of all that read JSON.
pub(crate) const JSON_ERROR: &str = "JSONParserErr";

/// Bounds the length of joined names.
pub(crate) const MAXIMUM_DEPTH: usize = 128;

/// An object the parser is in.
#[derive(Debug)]
pub(crate) struct OpenObject {
    key: KeyIndex,
    start: usize,
    /// How many labels were set before it.
    mark: usize,
}

pub(crate) fn run(extraction: Extraction<'_>, scratch: &mut ParserScratch) -> Verdict {
    if extraction.labels.has_all_needed() {
        return Verdict::Keep;
    }
    scratch.keys.start_line();
    scratch.open_objects.clear();
    let mut walk = Walk { extraction, scratch };
    match walk.object() {
        Ok(verdict) => verdict,
        Err(error) => {
            let error = walk.forget_unclosed().unwrap_or(error);
            walk.extraction.labels.set_parser_error(JSON_ERROR, |details| details.push_str(&error.to_string()));
            Verdict::Keep
        }
    }
}

struct Walk<'e, 's> {
    extraction: Extraction<'e>,
    scratch: &'s mut ParserScratch,
}

impl Walk<'_, '_> {
    fn object(&mut self) -> Result<Verdict, JsonError> {
        let line = self.extraction.line;
        let start = skip_blanks(line, 0).filter(|at| line[*at] == b'{').ok_or(JsonError::Object)?;
        self.open(ROOT, start);
        let mut at = skip_blanks(line, start + 1).ok_or(JsonError::Malformed)?;
        loop {
            match line[at] {
                b'}' => {
                    self.scratch.open_objects.pop();
                    at += 1;
                }
                b'"' => match self.pair(at)? {
                    Step::Into(next) => {
                        at = next;
                        continue;
                    }
                    Step::Behind(next) => at = next,
                    Step::Done(verdict) => return Ok(verdict),
                },
                _ => return Err(JsonError::Object),
            }
            if self.scratch.open_objects.is_empty() {
                return Ok(Verdict::Keep);
            }
            at = behind_value(line, at)?;
        }
    }

    /// A key at `at` and its value.
    fn pair(&mut self, at: usize) -> Result<Step, JsonError> {
        let line = self.extraction.line;
        let parent = self.scratch.open_objects.last().map_or(ROOT, |object| object.key);
        let guessed = self.scratch.keys.guess(parent, &line[at + 1..], b'"');
        let (key_end, is_escaped) = match guessed {
            Some((_, length)) => (at + 1 + length, false),
            None => string_end(line, at + 1).ok_or(JsonError::Malformed)?,
        };
        let colon = skip_blanks(line, key_end + 1).filter(|at| line[*at] == b':').ok_or(JsonError::Malformed)?;
        let value_start = skip_blanks(line, colon + 1).ok_or(JsonError::Malformed)?;
        let key = match guessed {
            Some((key, _)) => key,
            None => self.key(parent, &line[at + 1..key_end], is_escaped)?,
        };
        if line[value_start] == b'{' && self.is_worth_entering(key) {
            self.open(key, value_start);
            return Ok(Step::Into(skip_blanks(line, value_start + 1).ok_or(JsonError::Object)?));
        }
        let value = value_at(line, value_start)?;
        if !matches!(value.kind, Kind::Null | Kind::Array | Kind::Object)
            && let Some(target) = self.extraction.target(&self.scratch.keys, key)
        {
            let text = value_text(&mut self.extraction, value);
            if let Progress::Done(verdict) = self.extraction.extract(target, text) {
                return Ok(Step::Done(verdict));
            }
        }
        Ok(Step::Behind(value.after))
    }

    fn key(&mut self, parent: KeyIndex, raw: &[u8], is_escaped: bool) -> Result<KeyIndex, JsonError> {
        if !is_escaped {
            return Ok(self.extraction.key(&mut self.scratch.keys, parent, raw, raw));
        }
        if let Some(known) = self.scratch.keys.find(parent, raw) {
            return Ok(known);
        }
        let mut unescaped = Vec::with_capacity(raw.len());
        unescape(raw, &mut unescaped)?;
        Ok(self.extraction.key(&mut self.scratch.keys, parent, raw, &unescaped))
    }

    fn is_worth_entering(&self, key: KeyIndex) -> bool {
        self.scratch.open_objects.len() < MAXIMUM_DEPTH && self.scratch.keys.get(key).is_parent_of_needed
    }

    fn open(&mut self, key: KeyIndex, start: usize) {
        let mark = self.extraction.labels.extracted_mark();
        self.scratch.open_objects.push(OpenObject { key, start, mark });
    }

    /// After an error: forgets what stood inside a nested object that is never closed.
    fn forget_unclosed(&mut self) -> Option<JsonError> {
        let line = self.extraction.line;
        let nested = self.scratch.open_objects.get(1..)?;
        let unclosed = nested.iter().find(|object| block_end(line, object.start).is_none())?;
        self.extraction.labels.forget_extracted(unclosed.mark);
        Some(JsonError::Object)
    }
}

/// How the text goes on after a key and what follows it.
enum Step {
    /// At the first key of the value, or at its end.
    Into(usize),
    /// Behind the value.
    Behind(usize),
    /// Nothing more is to be read.
    Done(Verdict),
}

/// From behind a value to the next key or the end of the object.
fn behind_value(line: &[u8], at: usize) -> Result<usize, JsonError> {
    let at = skip_blanks(line, at).ok_or(JsonError::Array)?;
    match line[at] {
        b'}' => Ok(at),
        b',' => skip_blanks(line, at + 1).ok_or(JsonError::Array),
        _ => Err(JsonError::Object),
    }
}

/// What a value says as a label: strings unescaped (a broken escape makes them empty) and cleaned, else the source.
pub(crate) fn value_text(extraction: &mut Extraction<'_>, value: Value) -> Text {
    match value.kind {
        Kind::String { is_escaped: false } => extraction.clean_range(value.start, value.end),
        Kind::String { is_escaped: true } => {
            let line = extraction.line;
            extraction.labels.store(|buffer| append_string(&line[value.start..value.end], buffer))
        }
        _ => extraction.range(value.start, value.end),
    }
}

/// Appends the text of a string that holds escapes.
pub(crate) fn append_string(raw: &[u8], buffer: &mut Vec<u8>) {
    let start = buffer.len();
    if unescape(raw, buffer).is_err() || super::extraction::is_clean(&buffer[start..]) {
        return;
    }
    let unclean = buffer.split_off(start);
    super::extraction::append_clean(&unclean, buffer);
}
