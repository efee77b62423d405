//! Label sets: what a stream is called, and what an entry is called after its pipeline.
//!
//! Invariants: pairs are sorted by name and names are unique. A value may be empty only where a parser asked for
//! it (`| json x="missing"` sets `x` to nothing): such a label is part of the identity of a log stream, and
//! [`LabelSet::without_empty`] is what metric results show.

use std::fmt;
use std::sync::Arc;

use crate::literal::go_quote;

/// Label pairs sorted by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct LabelSet {
    inner: Arc<Inner>,
}

/// All texts in one buffer; a pair is the ends of its name and of its value there.
#[derive(Default, PartialEq, Eq, Hash)]
struct Inner {
    text: String,
    ends: Vec<(u32, u32)>,
}

impl LabelSet {
    /// Sorts by name; of pairs with the same name the last one counts.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> LabelSet
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|left, right| left.0.as_ref().cmp(right.0.as_ref()));
        let length = pairs.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len()).sum();
        let mut inner = Inner { text: String::with_capacity(length), ends: Vec::with_capacity(pairs.len()) };
        for (index, (name, value)) in pairs.iter().enumerate() {
            let is_replaced = pairs.get(index + 1).is_some_and(|(next, _)| next.as_ref() == name.as_ref());
            if !is_replaced {
                inner.push(name.as_ref(), value.as_ref());
            }
        }
        LabelSet { inner: Arc::new(inner) }
    }

    /// The value of a label; `None` where the set has no such name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.index_of(name).map(|index| self.pair(index).1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|index| self.pair(index))
    }

    pub fn len(&self) -> usize {
        self.inner.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.inner.ends.is_empty()
    }

    /// The same set without labels whose value is empty, as results of metric queries show it.
    pub fn without_empty(&self) -> LabelSet {
        if self.iter().all(|(_, value)| !value.is_empty()) {
            return self.clone();
        }
        LabelSet::from_pairs(self.iter().filter(|(_, value)| !value.is_empty()))
    }

    /// Where the name stands in order; `None` where the set has no such name.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        let mut low = 0;
        let mut high = self.len();
        while low < high {
            let middle = low + (high - low) / 2;
            match self.pair(middle).0.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The pair at a position below [`LabelSet::len`].
    pub(crate) fn pair(&self, index: usize) -> (&str, &str) {
        let start = index.checked_sub(1).map_or(0, |before| self.inner.ends[before].1) as usize;
        let (name_end, value_end) = self.inner.ends[index];
        (&self.inner.text[start..name_end as usize], &self.inner.text[name_end as usize..value_end as usize])
    }
}

impl Inner {
    fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text_end();
        self.text.push_str(value);
        self.ends.push((name_end, self.text_end()));
    }

    fn text_end(&self) -> u32 {
        u32::try_from(self.text.len()).expect("the labels of one entry stay far below 4 GiB: lines are limited")
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &LabelSet) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner == other.inner
    }
}

impl Eq for LabelSet {}

impl std::hash::Hash for LabelSet {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &LabelSet) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Pair by pair, by name and then by value; a set that is the beginning of another comes first.
impl Ord for LabelSet {
    fn cmp(&self, other: &LabelSet) -> std::cmp::Ordering {
        self.iter().cmp(other.iter())
    }
}

/// `{app="a", pod="b"}`, values quoted as Go does.
impl fmt::Display for LabelSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{name}={}", go_quote(value))?;
        }
        formatter.write_str("}")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The labels of one entry by where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CategorizedLabels {
    pub stream: LabelSet,
    pub structured_metadata: LabelSet,
    /// Extracted by parsers or set by stages, the error labels among them.
    pub parsed: LabelSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_counts() {
        let labels = LabelSet::from_pairs([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"{a="2", b="3"}"#);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.len(), 2);
    }

    #[test]
    fn names_and_values_do_not_run_together() {
        assert_ne!(LabelSet::from_pairs([("a", "bc")]), LabelSet::from_pairs([("ab", "c")]));
        assert_ne!(LabelSet::from_pairs([("a", "")]), LabelSet::from_pairs([("", "a")]));
    }

    #[test]
    fn order_is_by_pairs() {
        let short = LabelSet::from_pairs([("a", "1")]);
        let long = LabelSet::from_pairs([("a", "1"), ("b", "0")]);
        let other = LabelSet::from_pairs([("a", "2")]);
        assert!(short < long && long < other);
    }

    #[test]
    fn empty_values_count_until_they_are_asked_away() {
        let labels = LabelSet::from_pairs([("a", ""), ("b", "1")]);
        assert_eq!(labels.to_string(), r#"{a="", b="1"}"#);
        assert_eq!(labels.without_empty().to_string(), r#"{b="1"}"#);
        assert_ne!(labels, labels.without_empty());
    }

    #[test]
    fn values_are_quoted_as_go_does() {
        let labels = LabelSet::from_pairs([("a", "x\n\"\\\u{1}é\u{200b}\u{7f}")]);
        assert_eq!(labels.to_string(), r#"{a="x\n\"\\\x01é\u200b\x7f"}"#);
    }
}
