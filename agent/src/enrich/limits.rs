//! How many labels a stream has and how long their values are, as receivers limit it: what is beyond goes to the structured metadata.
//!
//! A receiver that takes none is spared what it would refuse: there it is left out. `stream`, `namespace`, `pod` and `container` are always there.

use std::collections::BTreeMap;

/// What streams have whatever the limits; the fourth is `stream`, which each record brings.
const ALWAYS: [&str; 3] = ["namespace", "pod", "container"];
/// Which of the others stay first when there are too many.
const FIRST: [&str; 5] = ["job", "app", "instance", "component", "node_name"];

/// Limits of a stream's labels; 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelLimits {
    /// With `stream`.
    pub names: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
}

impl Default for LabelLimits {
    fn default() -> Self {
        Self { names: 15, value_bytes: 2048 }
    }
}

impl LabelLimits {
    /// Takes what is beyond off `labels`, which are without `stream`. Returns how many that were.
    pub(super) fn apply(self, labels: &mut BTreeMap<String, String>, metadata: Option<&mut BTreeMap<String, String>>) -> u64 {
        let mut beyond: Vec<(String, String)> = Vec::new();
        if self.value_bytes > 0 {
            beyond.extend(labels.extract_if(.., |name, value| value.len() > self.value_bytes && !ALWAYS.contains(&name.as_str())));
        }
        if self.names > 0 && labels.len() + 1 > self.names {
            let mut others: Vec<String> = labels.keys().filter(|name| !ALWAYS.contains(&name.as_str())).cloned().collect();
            // Those of the default set stay longest; the sort keeps the others in order.
            others.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
            let excess = (labels.len() + 1 - self.names).min(others.len());
            beyond.extend(others.split_off(others.len() - excess).iter().filter_map(|name| labels.remove_entry(name)));
        }
        let count = beyond.len() as u64;
        if let Some(metadata) = metadata {
            metadata.extend(beyond);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(limits: LabelLimits, pairs: &[(&str, &str)]) -> (String, String, u64) {
        let mut labels: BTreeMap<_, _> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut metadata = BTreeMap::new();
        let count = limits.apply(&mut labels, Some(&mut metadata));
        let names = |map: BTreeMap<String, String>| map.into_keys().collect::<Vec<_>>().join(" ");
        (names(labels), names(metadata), count)
    }

    #[test]
    fn labels_beyond_the_limits_go_to_the_metadata() {
        let labels = [("app", "a"), ("cluster", "c"), ("container", "x"), ("job", "j"), ("namespace", "n"), ("pod", "p"), ("zone", "long")];
        let limits = |names, value_bytes| LabelLimits { names, value_bytes };
        for (limits, left, moved) in [
            (limits(15, 2048), "app cluster container job namespace pod zone", ""),
            (limits(8, 4), "app cluster container job namespace pod zone", ""),
            (limits(7, 4), "app cluster container job namespace pod", "zone"),
            (limits(5, 0), "container job namespace pod", "app cluster zone"),
            (limits(1, 0), "container namespace pod", "app cluster job zone"),
            (limits(0, 3), "app cluster container job namespace pod", "zone"),
            (limits(0, 0), "app cluster container job namespace pod zone", ""),
        ] {
            let count = moved.split_whitespace().count() as u64;
            assert_eq!(apply(limits, &labels), (left.to_owned(), moved.to_owned(), count), "{limits:?}");
        }
        let long = [("namespace", "nnnnnn"), ("pod", "pppppp"), ("container", "cccccc")];
        assert_eq!(apply(limits(0, 3), &long).0, "container namespace pod", "what must be there stays");
    }

    #[test]
    fn without_metadata_it_is_left_out() {
        let mut labels = BTreeMap::from([("zone".to_owned(), "long".to_owned())]);
        assert_eq!(LabelLimits { names: 15, value_bytes: 3 }.apply(&mut labels, None), 1);
        assert!(labels.is_empty());
    }
}
