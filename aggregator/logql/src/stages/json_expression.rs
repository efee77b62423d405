//! `| json label="path", …`: the values at given paths.
//!
//! The line only has to begin like JSON, and is not read as a tree: keys are strings with a colon behind them, and how deep they stand follows
//! from the brackets before them. So what is broken elsewhere does not hide a value, and text behind the first object is looked at too.
//! The first value at a path counts; of several paths for one label, the one found last in the line. A value at the end of a path that is no
//! JSON is an error, as is a key outside of any object. A label whose path leads nowhere is set to nothing, unless the entry has a label of
//! that name.

use super::extraction::{Extraction, ParserScratch};
use super::json::{JSON_ERROR, value_text};
use super::json_path::{PathError, PathIndex, PathTree, ROOT, parse_path};
use super::json_text::{JsonError, Kind, Value, block_end, skip_blanks, string_end, unescape, value_at};
use crate::ast;
use crate::pipeline::entry::{Input, Text};
use crate::pipeline::names::{NameId, PipelineNames};

#[derive(Debug, Clone)]
pub(crate) struct JsonExpression {
    labels: Vec<NameId>,
    paths: PathTree,
}

/// Buffers that are kept between lines.
#[derive(Debug, Default)]
pub(crate) struct PathScratch {
    /// By level, where the keys of the line lead to; `None`: off every path.
    places: Vec<Option<PathIndex>>,
    /// By extraction, whether its path was met.
    met: Vec<bool>,
    key: Vec<u8>,
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
            extraction.labels.set_bare_parser_error(JSON_ERROR);
            return;
        }
        let PathScratch { places, met, key } = &mut scratch.paths;
        places.clear();
        places.resize(self.paths.depth() + 1, None);
        places[0] = Some(ROOT);
        met.clear();
        met.resize(self.labels.len(), false);
        let mut walk = Walk { stage: self, extraction, places, met, key, set: 0, level: 0 };
        walk.line();
        let Walk { extraction, set, .. } = walk;
        if set == self.labels.len() {
            return;
        }
        for label in &self.labels {
            if extraction.labels.find(*label, input).is_none() {
                extraction.labels.set_parsed(*label, Text::EMPTY);
            }
        }
    }
}

/// The end of a walk: nothing behind can be of interest.
struct End;

struct Walk<'w, 'e> {
    stage: &'w JsonExpression,
    extraction: Extraction<'e>,
    places: &'w mut [Option<PathIndex>],
    met: &'w mut [bool],
    key: &'w mut Vec<u8>,
    /// How many values were found.
    set: usize,
    /// How many brackets are open; below 0 where the line closes more than it opened.
    level: isize,
}

impl Walk<'_, '_> {
    fn line(&mut self) {
        let line = self.extraction.line;
        let mut at = 0;
        while let Some(byte) = line.get(at) {
            let next = match byte {
                b'"' => self.string(at),
                b'[' => self.array(at),
                b'{' => {
                    self.level += 1;
                    Ok(at + 1)
                }
                b'}' | b']' => {
                    self.level -= 1;
                    Ok(at + 1)
                }
                _ => Ok(at + 1),
            };
            match next {
                Ok(next) => at = next,
                Err(End) => return,
            }
        }
    }

    /// A key, or a value; gives where to go on.
    fn string(&mut self, at: usize) -> Result<usize, End> {
        let line = self.extraction.line;
        let (end, is_escaped) = string_end(line, at + 1).ok_or(End)?;
        let next = skip_blanks(line, end + 1).ok_or(End)?;
        if line[next] != b':' {
            return Ok(next);
        }
        let behind = next + 1;
        let place = self.follow_key(&line[at + 1..end], is_escaped)?;
        let Some(place) = place else {
            return Ok(behind_plain_object(line, behind).unwrap_or(behind));
        };
        for index in 0..self.stage.paths.node(place).ends.len() {
            let extraction = self.stage.paths.node(place).ends[index];
            if self.met[extraction] {
                continue;
            }
            self.met[extraction] = true;
            let value = skip_blanks(line, behind).ok_or(JsonError::Malformed).and_then(|start| value_at(line, start));
            self.take(extraction, value);
        }
        if self.met.iter().all(|is_met| *is_met) { Err(End) } else { Ok(behind) }
    }

    /// Where a key on the present level leads to; `None` if no path goes there.
    fn follow_key(&mut self, raw: &[u8], is_escaped: bool) -> Result<Option<PathIndex>, End> {
        self.key.clear();
        let key = if is_escaped {
            unescape(raw, self.key).map_err(|_| End)?;
            self.key.as_slice()
        } else {
            raw
        };
        let Ok(level @ 1..) = usize::try_from(self.level) else {
            self.refuse(JsonError::Malformed);
            return Err(End);
        };
        if level >= self.places.len() {
            return Ok(None);
        }
        let paths = &self.stage.paths;
        let place = self.places[level - 1].and_then(|parent| paths.node(parent).fields.iter().find(|(name, _)| name == key));
        self.places[level] = place.map(|(_, child)| *child);
        Ok(self.places[level])
    }

    /// An array: only elements that a path leads to are looked at.
    fn array(&mut self, at: usize) -> Result<usize, End> {
        let line = self.extraction.line;
        let Ok(level) = usize::try_from(self.level) else {
            self.refuse(JsonError::Malformed);
            return Err(End);
        };
        let place = self.places.get(level).copied().flatten();
        let Some(place) = place.filter(|place| self.stage.paths.node(*place).indexes.iter().any(|(_, child)| self.is_open(*child))) else {
            return block_end(line, at).ok_or(End);
        };
        self.level += 1;
        let behind = self.elements(place, at + 1);
        if self.met.iter().all(|is_met| *is_met) { Err(End) } else { Ok(behind) }
    }

    /// Whether a path through a node was not met yet.
    fn is_open(&self, node: PathIndex) -> bool {
        let mut is_open = false;
        self.stage.paths.each_end(node, &mut |extraction| is_open |= !self.met[extraction]);
        is_open
    }

    /// The elements from `at` on; gives where the closing bracket is, or what is no element.
    fn elements(&mut self, place: PathIndex, mut at: usize) -> usize {
        let line = self.extraction.line;
        for index in 0.. {
            let Some(start) = skip_blanks(line, at).filter(|start| index > 0 || line[*start] != b']') else {
                return skip_blanks(line, at).unwrap_or(line.len());
            };
            let Ok(value) = value_at(line, start) else {
                return at;
            };
            let indexes = &self.stage.paths.node(place).indexes;
            if let Some((_, child)) = indexes.iter().find(|(wanted, _)| *wanted == index) {
                self.descend(*child, start, value);
                self.stage.paths.each_end(*child, &mut |extraction| self.met[extraction] = true);
            }
            match skip_blanks(line, value.after) {
                Some(comma) if line[comma] == b',' => at = comma + 1,
                Some(other) => return other,
                None => return line.len(),
            }
        }
        at
    }

    /// A whole value below an array that a path leads to or through.
    fn descend(&mut self, place: PathIndex, start: usize, value: Value) {
        let node = self.stage.paths.node(place);
        for extraction in &node.ends {
            if !std::mem::replace(&mut self.met[*extraction], true) {
                self.take(*extraction, Ok(value));
            }
        }
        match value.kind {
            Kind::Object if !node.fields.is_empty() => self.pairs(place, start + 1),
            Kind::Array if !node.indexes.is_empty() => drop(self.elements(place, start + 1)),
            _ => {}
        }
    }

    fn pairs(&mut self, place: PathIndex, mut at: usize) {
        let line = self.extraction.line;
        let paths = &self.stage.paths;
        while let Some(((raw, is_escaped), start)) = key_at(line, at) {
            let Ok(value) = value_at(line, start) else {
                return;
            };
            if let Some((_, child)) = paths.node(place).fields.iter().find(|(name, _)| is_key(name, raw, is_escaped)) {
                self.descend(*child, start, value);
            }
            let Some(comma) = skip_blanks(line, value.after).filter(|at| line[*at] == b',') else {
                return;
            };
            at = comma + 1;
        }
    }

    fn take(&mut self, extraction: usize, value: Result<Value, JsonError>) {
        let value = match value {
            Ok(value) => value,
            Err(error) => return self.refuse(error),
        };
        self.set += 1;
        let target = self.extraction.labels.unsuffixed_or_suffixed(self.stage.labels[extraction]);
        let text = match value.kind {
            Kind::Null => Text::EMPTY,
            // Escapes in the strings of an array are undone with the array as a whole, those in an object stay.
            Kind::Array => value_text(&mut self.extraction, Value { kind: Kind::String { is_escaped: true }, ..value }),
            _ => value_text(&mut self.extraction, value),
        };
        self.extraction.labels.set_parsed(target, text);
    }

    fn refuse(&mut self, error: JsonError) {
        self.extraction.labels.set_parser_error(JSON_ERROR, |details| details.push_str(&error.to_string()));
    }
}

/// Where the text goes on behind an object in which nothing is found: one without arrays and escapes, of which the walk would take no more
/// than that it ends.
fn behind_plain_object(line: &[u8], at: usize) -> Option<usize> {
    let start = skip_blanks(line, at).filter(|start| line[*start] == b'{')?;
    let end = block_end(line, start)?;
    memchr::memchr3(b'[', b']', b'\\', &line[start..end]).is_none().then_some(end)
}

/// The key at or behind `at` with whether it is escaped, and where its value begins.
fn key_at(line: &[u8], at: usize) -> Option<((&[u8], bool), usize)> {
    let quote = skip_blanks(line, at).filter(|at| line[*at] == b'"')?;
    let (end, is_escaped) = string_end(line, quote + 1)?;
    let colon = skip_blanks(line, end + 1).filter(|at| line[*at] == b':')?;
    Some(((&line[quote + 1..end], is_escaped), skip_blanks(line, colon + 1)?))
}

fn is_key(name: &[u8], key: &[u8], is_escaped: bool) -> bool {
    if !is_escaped {
        return name == key;
    }
    let mut unescaped = Vec::with_capacity(key.len());
    unescape(key, &mut unescaped).is_ok() && unescaped == name
}
