//! One entry on its way through the stages.

use std::collections::{BTreeMap, BTreeSet};

use tailwater_logql::ast::LabelFilter;

use super::data::Record;
use super::filters;

/// Values may be empty: such labels tell series apart, and are not shown everywhere.
pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Stream,
    Metadata,
    Parsed,
}

/// What a query needs of the parsers; see [`super::needs`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    /// `None`: everything.
    pub(crate) names: Option<BTreeSet<String>>,
    /// Filters that test a label when a parser sets it.
    pub(crate) early: BTreeMap<String, LabelFilter>,
}

/// Why a parser does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It found all that is needed.
    Enough,
    /// The entry is dropped.
    Dropped,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry<'n> {
    pub(crate) timestamp: i64,
    pub(crate) line: String,
    pub(crate) error: Option<&'static str>,
    /// Not the words that are shown, but equal where those are equal.
    pub(crate) error_details: String,
    /// A parser failed: of such an entry, a query that asks for errors keeps the error.
    pub(crate) is_unparsed: bool,
    labels: BTreeMap<String, (Origin, String)>,
    stream_names: BTreeSet<String>,
    extracted: BTreeSet<String>,
    needs: &'n Needs,
}

impl<'n> Entry<'n> {
    pub(crate) fn new(record: &Record, needs: &'n Needs) -> Self {
        let stream_names: BTreeSet<String> = record.labels().iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut labels: BTreeMap<_, _> =
            record.labels().iter().map(|(name, value)| ((*name).to_owned(), (Origin::Stream, (*value).to_owned()))).collect();
        for (name, value) in record.metadata() {
            let name = if stream_names.contains(*name) { format!("{name}_extracted") } else { (*name).to_owned() };
            labels.insert(name, (Origin::Metadata, (*value).to_owned()));
        }
        let (timestamp, line) = (record.timestamp, record.line.clone());
        let (error, error_details, extracted) = (None, String::new(), BTreeSet::new());
        Self { timestamp, line, error, error_details, is_unparsed: false, labels, stream_names, extracted, needs }
    }

    /// The value as it is; `None` if there is no such label.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(|(_, value)| value.as_str())
    }

    /// The value, empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        if name == "__error__" {
            return self.error.unwrap_or_default();
        }
        self.find(name).unwrap_or_default()
    }

    /// Sets a label. No parser behind it sets it again.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.extracted.insert(name.to_owned());
        self.labels.insert(name.to_owned(), (Origin::Parsed, value.to_owned()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.labels.remove(name);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.labels.keys().cloned().collect()
    }

    /// The name that a parsed label gets: another one where the stream or the metadata has it.
    pub(crate) fn parsed_name(&self, name: &str) -> String {
        let is_metadata = self.labels.get(name).is_some_and(|(origin, _)| *origin == Origin::Metadata);
        if is_metadata || self.stream_names.contains(name) { format!("{name}_extracted") } else { name.to_owned() }
    }

    /// Sets a label that a parser found, unless it did before or nobody needs it.
    pub(crate) fn extract(&mut self, name: &str, value: &str) -> Result<(), Stop> {
        let name = self.parsed_name(name);
        if self.extracted.contains(&name) || self.needs.names.as_ref().is_some_and(|names| !names.contains(&name)) {
            return Ok(());
        }
        self.set(&name, value);
        if self.needs.early.get(&name).is_some_and(|filter| !filters::keeps(filter, &mut self.clone())) {
            return Err(Stop::Dropped);
        }
        if self.has_enough() { Err(Stop::Enough) } else { Ok(()) }
    }

    pub(crate) fn fail(&mut self, error: &'static str, details: String) {
        self.error = Some(error);
        self.error_details = details;
    }

    /// Whether parsers found all that is needed of them.
    pub(crate) fn has_enough(&self) -> bool {
        self.needs.names.as_ref().is_some_and(|names| names.is_subset(&self.extracted))
    }

    /// Whether a query that asks for errors gets that of this entry, instead of failing for it.
    pub(crate) fn is_error_preserved(&self) -> bool {
        self.is_unparsed && self.needs.names.as_ref().is_some_and(|names| names.contains("__error__"))
    }

    /// All labels, with the error.
    pub(crate) fn labels(&self) -> Labels {
        let mut labels: Labels = self.labels.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
        let mut set = |name: &str, value: &str| drop(labels.insert(name.to_owned(), value.to_owned()));
        self.error.into_iter().for_each(|error| set("__error__", error));
        if !self.error_details.is_empty() {
            set("__error_details__", &self.error_details);
        }
        if self.is_error_preserved() {
            set("__preserve_error__", "true");
        }
        labels
    }
}
