//! `| regexp "(?P<name>…)"`: the named groups of the first match become labels.
//!
//! A group that takes no part in the match gives an empty value; a line without a match is left as it is.

use regex::bytes::Regex;
use thiserror::Error;

use super::extraction::{Extraction, ParserScratch, Progress, Verdict, sanitized};
use super::regex::{cleaned, is_utf8};
use crate::pipeline::entry::Text;
use crate::pipeline::names::{NameId, PipelineNames};
use crate::regex_dialect::{ClassNames, RegexError, translate_with};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RegexpError {
    #[error(transparent)]
    Regex(#[from] RegexError),
    #[error("at least one named capture must be supplied")]
    NoCapture,
    #[error("duplicate extracted label name '{name}'")]
    Duplicate { name: String },
}

#[derive(Debug, Clone)]
pub(crate) struct Regexp {
    regex: Regex,
    /// Groups by number, and the labels they fill.
    groups: Vec<(usize, NameId)>,
}

impl Regexp {
    pub(crate) fn new(pattern: &str, names: &mut PipelineNames) -> Result<Regexp, RegexpError> {
        let translated = translate_with(pattern, ClassNames::Loose)?;
        let mut seen: Vec<&String> = Vec::new();
        let mut groups = Vec::new();
        let named = translated.group_names().iter().enumerate();
        for (group, name) in named.filter_map(|(group, name)| Some((group, name.as_ref()?))) {
            if seen.contains(&name) {
                return Err(RegexpError::Duplicate { name: name.clone() });
            }
            seen.push(name);
            groups.push((group, names.intern(&sanitized(name.as_bytes()))));
        }
        if groups.is_empty() {
            return Err(RegexpError::NoCapture);
        }
        Ok(Regexp { regex: translated.compile()?, groups })
    }

    pub(crate) fn run(&self, mut extraction: Extraction<'_>, scratch: &mut ParserScratch) -> Verdict {
        if extraction.labels.has_all_needed() {
            return Verdict::Keep;
        }
        if is_utf8(extraction.line) {
            self.run_on_text(&mut extraction, scratch)
        } else {
            let cleaned = cleaned(extraction.line);
            self.run_on_text(&mut extraction.with_line(&cleaned), scratch)
        }
    }

    fn run_on_text(&self, extraction: &mut Extraction<'_>, scratch: &mut ParserScratch) -> Verdict {
        let locations = scratch.captures.get_or_insert_with(|| self.regex.capture_locations());
        if self.regex.captures_read(locations, extraction.line).is_none() {
            return Verdict::Keep;
        }
        for (group, label) in &self.groups {
            let Some(target) = extraction.labels.extraction_target(*label) else {
                continue;
            };
            let text = locations.get(*group).map_or(Text::EMPTY, |(start, end)| extraction.range(start, end));
            if let Progress::Done(verdict) = extraction.extract(target, text) {
                return verdict;
            }
        }
        Verdict::Keep
    }
}
