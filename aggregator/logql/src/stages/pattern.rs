//! `| pattern "<ip> - <user> <_>"`: captures between literals become labels, named as written.
//!
//! A literal at the start must begin the line. A capture takes the text up to the first occurrence of the literal
//! behind it; if that is missing, it takes the rest and the stage ends.

use memchr::memmem::Finder;

use super::extraction::{Extraction, Progress, Verdict};
use crate::pipeline::names::{NameId, PipelineNames};
use crate::validate::{PatternError, PatternPart, parse_pattern};

#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    leading: Vec<u8>,
    captures: Vec<Capture>,
}

#[derive(Debug, Clone)]
struct Capture {
    /// `None` for `<_>`.
    label: Option<NameId>,
    /// The literal behind; `None` at the end of the pattern.
    until: Option<Finder<'static>>,
}

impl Pattern {
    pub(crate) fn new(pattern: &str, names: &mut PipelineNames) -> Result<Pattern, PatternError> {
        let parts = parse_pattern(pattern)?;
        if parts.is_empty() {
            return Err(PatternError::Empty);
        }
        let mut stage = Pattern { leading: Vec::new(), captures: Vec::new() };
        let mut seen: Vec<&str> = Vec::new();
        for part in &parts {
            match (part, stage.captures.last_mut()) {
                (PatternPart::Literal(text), None) => stage.leading = text.as_bytes().to_vec(),
                (PatternPart::Literal(text), Some(capture)) => capture.until = Some(Finder::new(text).into_owned()),
                (PatternPart::Capture(name), _) => {
                    if name != "_" && seen.contains(&name.as_str()) {
                        return Err(PatternError::Duplicate(name.clone()));
                    }
                    seen.push(name);
                    let label = (name != "_").then(|| names.intern(name));
                    stage.captures.push(Capture { label, until: None });
                }
            }
        }
        if stage.captures.iter().all(|capture| capture.label.is_none()) {
            return Err(PatternError::NoCapture);
        }
        Ok(stage)
    }

    pub(crate) fn run(&self, mut extraction: Extraction<'_>) -> Verdict {
        let line = extraction.line;
        if line.is_empty() || !line.starts_with(&self.leading) || extraction.labels.has_all_needed() {
            return Verdict::Keep;
        }
        let mut start = self.leading.len();
        for capture in &self.captures {
            let found = capture.until.as_ref().and_then(|literal| Some((literal, literal.find(&line[start..])?)));
            let end = found.map_or(line.len(), |(_, length)| start + length);
            if let Some(target) = capture.label.and_then(|label| extraction.labels.extraction_target(label)) {
                let text = extraction.range(start, end);
                if let Progress::Done(verdict) = extraction.extract(target, text) {
                    return verdict;
                }
            }
            let Some((literal, _)) = found else {
                break;
            };
            start = end + literal.needle().len();
        }
        Verdict::Keep
    }
}
