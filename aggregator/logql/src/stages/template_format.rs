//! `| line_format "…"` and `| label_format a=b, c="…"`: templates over the labels of an entry.
//!
//! A template that fails leaves line or label as they are and becomes the error of the entry. The templates of one
//! `label_format` see the labels as the first of them found them; renaming is done in the order it is written in.

use std::ops::Range;
use std::sync::Arc;

use crate::ast::{LabelFormat, LabelFormatSource};
use crate::pipeline::entry::{EntryLabels, Input, empty};
use crate::pipeline::names::{ERROR_DETAILS_LABEL, ERROR_LABEL, NameId, PRESERVE_ERROR_LABEL, PipelineNames};
use crate::template::functions::LOGQL;
use crate::template::{Environment, ExecutionError, Template};

/// The error of entries on which a template failed.
pub(crate) const TEMPLATE_ERROR: &str = "TemplateFormatErr";

/// What templates may look at besides labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'e> {
    pub(crate) input: Input<'e>,
    /// As the stages before left it.
    pub(crate) line: &'e [u8],
    /// Nanoseconds.
    pub(crate) timestamp: i64,
    /// Nanoseconds.
    pub(crate) now: i64,
}

/// Parses the template of a line or, with its label, of a label. `Err` is the reason as clients know it.
pub(crate) fn line_template(text: &str) -> Result<Template, String> {
    Template::parse("line", text, &LOGQL).map_err(|error| format!("invalid line template: {error}"))
}

pub(crate) fn label_template(label: &str, text: &str) -> Result<Template, String> {
    Template::parse("label", text, &LOGQL).map_err(|error| format!("invalid template for label '{label}': {error}"))
}

/// A template with the names of its fields.
#[derive(Debug, Clone)]
struct Formatter {
    template: Arc<Template>,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Label(NameId),
    Error(NameId),
    ErrorDetails(NameId),
    PreserveError(NameId),
}

impl Formatter {
    fn new(template: Template, names: &mut PipelineNames) -> Formatter {
        let fields = template.fields().iter().map(|field| {
            let name = names.intern(field);
            match &**field {
                ERROR_LABEL => Field::Error(name),
                ERROR_DETAILS_LABEL => Field::ErrorDetails(name),
                PRESERVE_ERROR_LABEL => Field::PreserveError(name),
                _ => Field::Label(name),
            }
        });
        Formatter { fields: fields.collect(), template: Arc::new(template) }
    }

    fn execute(&self, labels: &EntryLabels, surroundings: Surroundings<'_>, out: &mut Vec<u8>) -> Result<(), ExecutionError> {
        self.template.execute(&EntryEnvironment { labels, surroundings, fields: &self.fields }, out)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LineFormat {
    formatter: Formatter,
    /// The label if the template is nothing else: it is copied, and the entry's error is no label.
    copied: Option<NameId>,
}

impl LineFormat {
    pub(crate) fn new(text: &str, names: &mut PipelineNames) -> Result<LineFormat, String> {
        let template = line_template(text)?;
        let copied = template.single_field().map(|field| names.intern(&template.fields()[field]));
        Ok(LineFormat { formatter: Formatter::new(template, names), copied })
    }

    /// Writes the new line; false if the line stays.
    pub(crate) fn run(&self, labels: &mut EntryLabels, surroundings: Surroundings<'_>, line: &mut Vec<u8>) -> bool {
        line.clear();
        if let Some(label) = self.copied {
            line.extend_from_slice(labels.find(label, surroundings.input).unwrap_or_default());
            return true;
        }
        match self.formatter.execute(labels, surroundings, line) {
            Ok(()) => true,
            Err(error) => {
                set_error(labels, &error);
                false
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LabelFormats {
    formats: Vec<(NameId, Source)>,
}

#[derive(Debug, Clone)]
enum Source {
    Rename(NameId),
    Template(Formatter),
}

/// Buffers that are kept between entries.
#[derive(Debug, Default)]
pub(crate) struct FormatScratch {
    text: Vec<u8>,
    results: Vec<Result<Range<usize>, ExecutionError>>,
}

impl LabelFormats {
    pub(crate) fn new(formats: &[LabelFormat], names: &mut PipelineNames) -> Result<LabelFormats, String> {
        let mut compiled = Vec::with_capacity(formats.len());
        for format in formats {
            let target = names.intern(&format.target);
            let source = match &format.source {
                LabelFormatSource::Label(label) => Source::Rename(names.intern(label)),
                LabelFormatSource::Template(text) => Source::Template(Formatter::new(label_template(&format.target, text)?, names)),
            };
            compiled.push((target, source));
        }
        Ok(LabelFormats { formats: compiled })
    }

    /// Whether a template asks for the line.
    pub(crate) fn reads_line(&self) -> bool {
        let reads = |source: &Source| matches!(source, Source::Template(formatter) if formatter.template.calls("__line__"));
        self.formats.iter().any(|(_, source)| reads(source))
    }

    pub(crate) fn run(&self, labels: &mut EntryLabels, surroundings: Surroundings<'_>, scratch: &mut FormatScratch) {
        empty(&mut scratch.text);
        scratch.results.clear();
        let mut executed = 0;
        for (index, (target, source)) in self.formats.iter().enumerate() {
            let formatter = match source {
                Source::Rename(source) => {
                    rename(labels, surroundings.input, *source, *target, &mut scratch.text);
                    continue;
                }
                Source::Template(formatter) => formatter,
            };
            if executed == 0 {
                self.execute(formatter, index, labels, surroundings, scratch);
            }
            match &scratch.results[executed] {
                Ok(range) => {
                    let text = labels.store(|buffer| buffer.extend_from_slice(&scratch.text[range.clone()]));
                    labels.set_parsed(*target, text);
                }
                Err(error) => set_error(labels, error),
            }
            executed += 1;
        }
    }

    /// Executes the first template and those behind it.
    fn execute(&self, first: &Formatter, index: usize, labels: &EntryLabels, surroundings: Surroundings<'_>, scratch: &mut FormatScratch) {
        let others = self.formats[index + 1..].iter().filter_map(|(_, source)| match source {
            Source::Template(formatter) => Some(formatter),
            Source::Rename(_) => None,
        });
        for formatter in std::iter::once(first).chain(others) {
            let start = scratch.text.len();
            let result = formatter.execute(labels, surroundings, &mut scratch.text);
            scratch.results.push(result.map(|()| start..scratch.text.len()));
        }
    }
}

/// Moves a label that is there to another name. What stands in `text` stays.
fn rename(labels: &mut EntryLabels, input: Input<'_>, source: NameId, target: NameId, text: &mut Vec<u8>) {
    let start = text.len();
    let Some(value) = labels.find(source, input) else { return };
    text.extend_from_slice(value);
    let stored = labels.store(|buffer| buffer.extend_from_slice(&text[start..]));
    text.truncate(start);
    labels.set_parsed(target, stored);
    labels.delete(source);
}

fn set_error(labels: &mut EntryLabels, error: &ExecutionError) {
    labels.set_error(TEMPLATE_ERROR, |details| details.push_str(&error.to_string()));
}

struct EntryEnvironment<'e> {
    labels: &'e EntryLabels,
    surroundings: Surroundings<'e>,
    fields: &'e [Field],
}

impl EntryEnvironment<'_> {
    fn value(&self, field: Field) -> Option<&[u8]> {
        let (error, label) = match field {
            Field::Label(label) => (None, label),
            Field::Error(label) => (self.labels.error(), label),
            Field::ErrorDetails(label) => (Some(self.labels.error_details()).filter(|details| !details.is_empty()), label),
            Field::PreserveError(label) => (self.labels.is_error_preserved().then_some("true"), label),
        };
        error.map(str::as_bytes).or_else(|| self.labels.find(label, self.surroundings.input))
    }

    fn errors(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let errors = [
            (ERROR_LABEL, self.labels.error().unwrap_or_default()),
            (ERROR_DETAILS_LABEL, self.labels.error_details()),
            (PRESERVE_ERROR_LABEL, if self.labels.is_error_preserved() { "true" } else { "" }),
        ];
        errors.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.as_bytes()))
    }
}

impl Environment for EntryEnvironment<'_> {
    fn field(&self, index: usize) -> Option<&[u8]> {
        self.value(self.fields[index])
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        let error = self.errors().find(|(error, _)| *error == name).map(|(_, text)| text);
        error.or_else(|| self.labels.find(self.labels.names.known(name)?, self.surroundings.input))
    }

    fn pairs(&self) -> Vec<(&str, &[u8])> {
        let labels = self.labels.shown_names().filter_map(|name| {
            let text = self.labels.find(name, self.surroundings.input)?;
            Some((self.labels.names.text(name), text))
        });
        let mut pairs: Vec<(&str, &[u8])> = self.errors().collect();
        let errors = pairs.len();
        pairs.extend(labels);
        // A label of an error's name is hidden by it.
        let hidden: Vec<&str> = pairs[..errors].iter().map(|(name, _)| *name).collect();
        let mut index = 0;
        pairs.retain(|(name, _)| {
            index += 1;
            index <= errors || !hidden.contains(name)
        });
        pairs.sort_unstable_by_key(|(name, _)| *name);
        pairs
    }

    fn line(&self) -> &[u8] {
        self.surroundings.line
    }

    fn timestamp(&self) -> i64 {
        self.surroundings.timestamp
    }

    fn now(&self) -> i64 {
        self.surroundings.now
    }
}
