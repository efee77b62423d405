//! Runs stages over one entry, in their order.

use tailwater_logql::ast::{Conversion, LabelFormatSource, NameOrMatcher, Selector, Stage, Unwrap};

use super::data::Record;
use super::entry::{Entry, Needs};
use super::filters;
use super::parsers::{self, Outcome};
use super::template;

pub(crate) fn selects(selector: &Selector, record: &Record) -> bool {
    selector.matchers.iter().all(|matcher| {
        let label = record.labels().iter().find(|(name, _)| *name == matcher.name);
        filters::matches(matcher, label.map_or("", |(_, value)| value))
    })
}

/// The stages in the order in which they run: a line filter goes ahead of what stands between it and the last label filter, `line_format` or
/// `unpack`. That shows where it goes ahead of `decolorize`.
pub(crate) fn as_run(stages: &[Stage]) -> Vec<Stage> {
    let (mut ordered, mut begin) = (Vec::new(), 0);
    for stage in stages {
        match stage {
            Stage::LineFilter(_) => {
                ordered.insert(begin, stage.clone());
                begin += 1;
            }
            _ => ordered.push(stage.clone()),
        }
        if matches!(stage, Stage::LabelFilter(_) | Stage::LineFormat { .. } | Stage::Unpack) {
            begin = ordered.len();
        }
    }
    ordered
}

/// The entry as the stages leave it, if they keep it; the stages in the order of [`as_run`].
pub(crate) fn run<'n>(stages: &[Stage], record: &Record, needs: &'n Needs) -> Option<Entry<'n>> {
    let mut entry = Entry::new(record, needs);
    for stage in stages {
        if !step(stage, &mut entry) {
            return None;
        }
    }
    Some(entry)
}

/// One stage; whether the entry stays.
fn step(stage: &Stage, entry: &mut Entry<'_>) -> bool {
    match stage {
        Stage::LineFilter(filter) => filters::keeps_line(filter, &entry.line),
        Stage::LabelFilter(filter) => filters::keeps(filter, entry),
        Stage::LineFormat { template } => {
            entry.line = template::execute(template, entry);
            true
        }
        Stage::LabelFormat { formats } => {
            let mut before = None;
            for format in formats {
                match &format.source {
                    LabelFormatSource::Label(source) => {
                        if let Some(value) = entry.find(source).map(str::to_owned) {
                            entry.set(&format.target, &value);
                            entry.remove(source);
                        }
                    }
                    LabelFormatSource::Template(text) => {
                        let before = before.get_or_insert_with(|| entry.clone());
                        entry.set(&format.target, &template::execute(text, before));
                    }
                }
            }
            true
        }
        Stage::Decolorize => {
            entry.line = filters::regex("\u{1b}\\[[0-9;]*m").replace_all(&entry.line, "").into_owned();
            true
        }
        Stage::Drop { targets } => {
            for target in targets.iter().filter(|target| is_meant(target, name_of(target), entry)).collect::<Vec<_>>() {
                match name_of(target) {
                    "__error__" => entry.error = None,
                    "__error_details__" => entry.error_details.clear(),
                    name => entry.remove(name),
                }
            }
            true
        }
        Stage::Keep { targets } => {
            for name in entry.names() {
                if !targets.iter().any(|target| is_meant(target, &name, entry)) {
                    entry.remove(&name);
                }
            }
            true
        }
        parser => parse(parser, entry),
    }
}

fn name_of(target: &NameOrMatcher) -> &str {
    match target {
        NameOrMatcher::Name(name) => name,
        NameOrMatcher::Matcher(matcher) => &matcher.name,
    }
}

fn is_meant(target: &NameOrMatcher, name: &str, entry: &Entry<'_>) -> bool {
    let fits = match target {
        NameOrMatcher::Name(_) => true,
        NameOrMatcher::Matcher(matcher) => filters::matches(matcher, entry.get(name)),
    };
    name_of(target) == name && fits
}

fn parse(stage: &Stage, entry: &mut Entry<'_>) -> bool {
    // A parser of which nothing is needed does not run, and cannot fail.
    if entry.has_enough() {
        return true;
    }
    let extracted = match stage {
        Stage::Json { extractions } if extractions.is_empty() => parsers::json(entry),
        Stage::Json { extractions } => parsers::json_paths(entry, extractions),
        Stage::Logfmt { strict, keep_empty, extractions } if extractions.is_empty() => parsers::logfmt(entry, *strict, *keep_empty),
        Stage::Logfmt { strict, extractions, .. } => parsers::logfmt_keys(entry, *strict, extractions),
        Stage::Regexp { pattern } => parsers::regexp(entry, pattern),
        Stage::Pattern { pattern } => parsers::pattern(entry, pattern),
        Stage::Unpack => parsers::unpack(entry),
        other => panic!("no parser: {other:?}"),
    };
    match extracted {
        Err(Outcome::Failed(error, details)) => {
            let before = std::mem::take(&mut entry.error_details);
            entry.fail(error, if details.is_empty() { before } else { details });
            entry.is_unparsed = true;
            true
        }
        Err(Outcome::Dropped) => false,
        Ok(()) | Err(Outcome::Done) => true,
    }
}

/// The value of an entry; `None` where it has no such label or a filter drops it.
pub(crate) fn unwrapped(unwrap: &Unwrap, entry: &mut Entry<'_>) -> Option<f64> {
    let text = entry.get(&unwrap.label).to_owned();
    if text.is_empty() {
        return None;
    }
    let value = match unwrap.conversion {
        None => text.parse().ok(),
        Some(Conversion::Bytes) => filters::bytes(&text),
        Some(Conversion::Duration | Conversion::DurationSeconds) => filters::seconds(&text),
    };
    if value.is_none() {
        entry.fail("SampleExtractionErr", text);
    }
    let keeps = unwrap.post_filters.iter().all(|filter| filters::keeps(filter, entry));
    keeps.then_some(value.unwrap_or(0.0))
}
