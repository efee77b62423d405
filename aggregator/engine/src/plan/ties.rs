//! Which of several streams comes first where entries of one stamp tie.

use tailwater_logql::labels::LabelSet;
use xxhash_rust::xxh64::Xxh64;

/// An order of streams. Any is right; it only has to be the same at each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TieOrder {
    LabelText,
    /// As the reference has it, whose streams go by a hash of their labels.
    LabelHash,
}

impl TieOrder {
    pub(crate) fn new(strict_loki: bool) -> Self {
        if strict_loki { Self::LabelHash } else { Self::LabelText }
    }

    /// What comes before the label text in the order.
    pub(crate) fn key(self, labels: &LabelSet) -> u64 {
        match self {
            Self::LabelText => 0,
            Self::LabelHash => label_hash(labels),
        }
    }
}

fn label_hash(labels: &LabelSet) -> u64 {
    let mut hasher = Xxh64::new(0);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(text.as_bytes());
        hasher.update(&[0xff]);
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_go_by_text_or_by_hash() {
        let (left, right) = (LabelSet::from_pairs([("app", "tie"), ("pod", "a")]), LabelSet::from_pairs([("app", "tie"), ("pod", "b")]));
        assert_eq!(TieOrder::new(false).key(&left), TieOrder::new(false).key(&right));
        assert_ne!(TieOrder::new(true).key(&left), TieOrder::new(true).key(&right));
        assert_eq!(label_hash(&LabelSet::default()), 0xef46_db37_51d8_e999, "the hash of nothing");
    }
}
