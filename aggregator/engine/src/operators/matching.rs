//! Which series of two sides belong together, and the labels of what comes of them.

use tailwater_logql::ast::{GroupSide, VectorMatching};
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::operators::series::SeriesIndex;

/// The side that may have several series for one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Many {
    Neither,
    Left,
    Right,
}

#[derive(Debug, Clone)]
pub(crate) struct Matching {
    /// The labels that decide: these (`on`), or all but these.
    is_on: bool,
    labels: Vec<String>,
    many: Many,
    /// Labels that the result takes from the side of one.
    include: Vec<String>,
}

impl Matching {
    /// `None`: all labels decide, one to one.
    pub(crate) fn new(matching: Option<&VectorMatching>) -> Self {
        let Some(VectorMatching { on, labels, group }) = matching else {
            return Self { is_on: false, labels: Vec::new(), many: Many::Neither, include: Vec::new() };
        };
        let (many, include) = match group {
            None => (Many::Neither, Vec::new()),
            Some(GroupSide::Left { include }) => (Many::Left, include.clone()),
            Some(GroupSide::Right { include }) => (Many::Right, include.clone()),
        };
        Self { is_on: *on, labels: labels.clone(), many, include }
    }

    pub(crate) fn many(&self) -> Many {
        self.many
    }

    /// The labels by which series find each other.
    pub(crate) fn signature(&self, labels: &[u8]) -> Pairs {
        Pairs::from_pairs(PairIter::over(labels).filter(|(name, _)| self.decides(name)))
    }

    fn decides(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label == name) == self.is_on
    }

    /// The labels of the result, those without a value left out. `many`: a series of the side that may have several, the left one if neither
    /// may.
    pub(crate) fn result(&self, many: &[u8], one: &[u8]) -> Pairs {
        let with_values = |labels| PairIter::over(labels).filter(|(_, value)| !value.is_empty());
        if self.many == Many::Neither {
            return Pairs::from_pairs(with_values(many).filter(|(name, _)| self.decides(name)));
        }
        let included = |name: &str| self.include.iter().any(|label| label == name);
        let own = with_values(many).filter(|(name, _)| !included(name));
        Pairs::from_pairs(own.chain(with_values(one).filter(|(name, _)| included(name))))
    }
}

/// Signatures of series by number, shared by both sides.
pub(crate) struct Signatures {
    matching: Matching,
    index: SeriesIndex,
    known: SeriesIndex,
    /// By number of `known`.
    numbers: Vec<u32>,
}

impl Signatures {
    pub(crate) fn new(matching: Matching) -> Self {
        Self { matching, index: SeriesIndex::default(), known: SeriesIndex::default(), numbers: Vec::new() }
    }

    /// The number of the signature of a series; the same for series that belong together.
    pub(crate) fn of(&mut self, labels: &[u8]) -> u32 {
        let (known, is_new) = self.known.number(labels);
        if is_new {
            self.numbers.push(self.index.number(self.matching.signature(labels).as_bytes()).0);
        }
        self.numbers[known as usize]
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.known.bytes() + self.numbers.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(on: bool, labels: &[&str], group: Option<GroupSide>) -> Matching {
        Matching::new(Some(&VectorMatching { on, labels: labels.iter().map(|label| (*label).to_owned()).collect(), group }))
    }

    fn labels(pairs: &[(&str, &str)]) -> Pairs {
        Pairs::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn one_to_one_keeps_what_decided() {
        let (left, right) = (labels(&[("a", "1"), ("b", "2")]), labels(&[("a", "1"), ("c", "3")]));
        let on = matching(true, &["a"], None);
        assert_eq!(on.signature(left.as_bytes()), on.signature(right.as_bytes()));
        assert_eq!(on.result(left.as_bytes(), right.as_bytes()), labels(&[("a", "1")]));
        let ignoring = matching(false, &["b", "c"], None);
        assert_eq!(ignoring.signature(left.as_bytes()), ignoring.signature(right.as_bytes()));
        assert_eq!(ignoring.result(left.as_bytes(), right.as_bytes()), labels(&[("a", "1")]));
        assert_eq!(Matching::new(None).signature(left.as_bytes()), left);
        let empty = labels(&[("a", "1"), ("b", "")]);
        assert_eq!(Matching::new(None).result(empty.as_bytes(), empty.as_bytes()), labels(&[("a", "1")]));
    }

    #[test]
    fn the_many_side_keeps_its_labels_and_takes_some() {
        let group = Some(GroupSide::Left { include: vec!["b".into(), "c".into()] });
        let matching = matching(true, &["a"], group);
        let result = matching.result(labels(&[("a", "1"), ("b", "2")]).as_bytes(), labels(&[("a", "1"), ("c", "3")]).as_bytes());
        assert_eq!(result, labels(&[("a", "1"), ("c", "3")]));
    }
}
