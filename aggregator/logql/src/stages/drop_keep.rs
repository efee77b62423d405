//! `| drop a, b="x"` and `| keep a, b="x"`: labels removed by name, or by name and value.
//!
//! Stream labels and metadata are removed like any other. The error labels are no labels here: `drop` clears the
//! entry's error, `keep` never removes them.

use crate::ast::NameOrMatcher;
use crate::matcher::{MatcherError, StreamMatcher};
use crate::pipeline::entry::{EntryLabels, Input};
use crate::pipeline::names::{ERROR_DETAILS_LABEL, ERROR_LABEL, NameId, PRESERVE_ERROR_LABEL, PipelineNames};

#[derive(Debug, Clone)]
pub(crate) struct Targets {
    targets: Vec<Target>,
}

#[derive(Debug, Clone)]
struct Target {
    name: NameId,
    special: Option<Special>,
    matcher: Option<StreamMatcher>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    Error,
    ErrorDetails,
}

impl Targets {
    pub(crate) fn new(targets: &[NameOrMatcher], names: &mut PipelineNames) -> Result<Targets, MatcherError> {
        let mut compiled = Vec::with_capacity(targets.len());
        for target in targets {
            let (name, matcher) = match target {
                NameOrMatcher::Name(name) => (name, None),
                NameOrMatcher::Matcher(matcher) => (&matcher.name, Some(StreamMatcher::new(matcher)?)),
            };
            let special = match name.as_str() {
                ERROR_LABEL => Some(Special::Error),
                ERROR_DETAILS_LABEL => Some(Special::ErrorDetails),
                _ => None,
            };
            compiled.push(Target { name: names.intern(name), special, matcher });
        }
        Ok(Targets { targets: compiled })
    }

    pub(crate) fn drop(&self, labels: &mut EntryLabels, input: Input<'_>) {
        for target in &self.targets {
            if !target.matches(labels, input) {
                continue;
            }
            match target.special {
                Some(Special::Error) => labels.clear_error(),
                Some(Special::ErrorDetails) => labels.clear_error_details(),
                None => labels.delete(target.name),
            }
        }
    }

    /// `condemned` is a buffer.
    pub(crate) fn keep(&self, labels: &mut EntryLabels, input: Input<'_>, condemned: &mut Vec<NameId>) {
        condemned.clear();
        condemned.extend(labels.shown_names().filter(|name| !self.keeps(*name, labels, input)));
        for name in condemned.drain(..) {
            labels.delete(name);
        }
    }

    fn keeps(&self, name: NameId, labels: &EntryLabels, input: Input<'_>) -> bool {
        matches!(labels.names.text(name), ERROR_LABEL | ERROR_DETAILS_LABEL | PRESERVE_ERROR_LABEL)
            || self.targets.iter().any(|target| target.name == name && target.matches(labels, input))
    }
}

impl Target {
    fn matches(&self, labels: &EntryLabels, input: Input<'_>) -> bool {
        let Some(matcher) = &self.matcher else {
            return true;
        };
        let value = match self.special {
            Some(Special::Error) => labels.error().unwrap_or_default().as_bytes(),
            Some(Special::ErrorDetails) => labels.error_details().as_bytes(),
            None => labels.get(self.name, input).unwrap_or_default(),
        };
        matcher.matches_bytes(value)
    }
}
