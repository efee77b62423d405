//! What the stages of a pipeline see of one line.

use std::borrow::Cow;
use std::sync::Arc;

use crate::relabel::Labels;

/// A value a stage extracted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// JSON's null: the key is there, and has no text.
    Null,
    Text(String),
    Number(f64),
    Bool(bool),
}

impl Value {
    /// As text; numbers without exponent. A null has none.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        }
    }
}

/// Values by name: the labels the entry had when it entered the pipeline, and what stages put over them.
#[derive(Debug, Clone)]
pub(crate) struct Extracted {
    base: Arc<Labels>,
    /// `None`: removed.
    own: Vec<(String, Option<Value>)>,
}

impl Extracted {
    pub(crate) fn of(labels: &Arc<Labels>) -> Self {
        Self { base: Arc::clone(labels), own: Vec::new() }
    }

    /// The labels enter again, over values of their names.
    pub(crate) fn enter_again(&mut self, labels: &Arc<Labels>) {
        if Arc::ptr_eq(&self.base, labels) {
            self.own.retain(|(name, _)| !labels.contains_key(name));
            return;
        }
        let before = std::mem::replace(&mut self.base, Arc::clone(labels));
        self.own.retain(|(name, _)| !labels.contains_key(name));
        for (name, value) in before.iter() {
            if !labels.contains_key(name) && !self.own.iter().any(|(own, _)| own == name) {
                self.own.push((name.clone(), Some(Value::Text(value.clone()))));
            }
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        match self.own.iter().find(|(own, _)| own == name) {
            Some((_, value)) => value.is_some(),
            None => self.base.contains_key(name),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Cow<'_, Value>> {
        match self.own.iter().find(|(own, _)| own == name) {
            Some((_, value)) => value.as_ref().map(Cow::Borrowed),
            None => self.base.get(name).map(|text| Cow::Owned(Value::Text(text.clone()))),
        }
    }

    /// The text of a value; none for a null.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.own.iter().find(|(own, _)| own == name) {
            Some((_, value)) => value.as_ref()?.text(),
            None => self.base.get(name).map(|text| Cow::Borrowed(text.as_str())),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.put(name, Some(value));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.put(name, None);
    }

    fn put(&mut self, name: &str, value: Option<Value>) {
        match self.own.iter_mut().find(|(own, _)| own == name) {
            Some(slot) => slot.1 = value,
            None => self.own.push((name.to_owned(), value)),
        }
    }

    /// All values that have a text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let own = self.own.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?.text()?)));
        let is_own = |name: &str| self.own.iter().any(|(own, _)| own == name);
        let base = self.base.iter().filter(move |(name, _)| !is_own(name));
        own.chain(base.map(|(name, text)| (name.as_str(), Cow::Borrowed(text.as_str()))))
    }
}

/// Where in its file an entry comes from: the offsets of the first and the last record that are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) first: Place,
    pub(crate) last: Place,
}

/// A record's place in the order in which an instance's records are read, files before theirs included.
pub(crate) type Place = u64;

/// One line on its way through the stages.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) labels: Arc<Labels>,
    pub(crate) extracted: Extracted,
    /// Nanoseconds since the epoch; `None`: the time of reading, not asked for yet.
    pub(crate) timestamp: Option<i64>,
    pub(crate) line: String,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) origin: Origin,
    /// Its stamp is one that a container runtime gave, made to increase.
    pub(crate) is_stamped: bool,
}

impl Entry {
    pub(crate) fn new(labels: &Arc<Labels>, line: String, place: Place) -> Self {
        Self {
            labels: Arc::clone(labels),
            extracted: Extracted::of(labels),
            timestamp: None,
            line,
            metadata: Vec::new(),
            origin: Origin { first: place, last: place },
            is_stamped: false,
        }
    }

    pub(crate) fn set_label(&mut self, name: &str, value: String) {
        if self.labels.get(name) != Some(&value) {
            Arc::make_mut(&mut self.labels).insert(name.to_owned(), value);
        }
    }

    pub(crate) fn remove_label(&mut self, name: &str) {
        if self.labels.contains_key(name) {
            Arc::make_mut(&mut self.labels).remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_extracted_values_until_something_is_put_over_them() {
        let labels = Arc::new(Labels::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]));
        let mut extracted = Extracted::of(&labels);
        extracted.set("a", Value::Number(1e21));
        extracted.remove("b");
        assert_eq!(extracted.text("a").as_deref(), Some("1000000000000000000000"));
        assert!(!extracted.contains("b"));
        extracted.set("n", Value::Null);
        assert!(extracted.contains("n") && extracted.text("n").is_none());
        extracted.enter_again(&labels);
        assert_eq!((extracted.text("a").as_deref(), extracted.text("b").as_deref()), (Some("1"), Some("2")));
        assert_eq!(extracted.texts().count(), 2);
    }
}
