//! Which of several streams comes first where entries of one stamp tie: as the reference has it, streams go by a hash of their labels.
//!
//! Any order is right; it only has to be the same at each call, also at the next page of an answer.

use tailwater_logql::labels::LabelSet;
use xxhash_rust::xxh64::Xxh64;

pub(crate) fn label_hash(labels: &LabelSet) -> u64 {
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
    fn streams_have_hashes_of_their_own() {
        let (left, right) = (LabelSet::from_pairs([("app", "tie"), ("pod", "a")]), LabelSet::from_pairs([("app", "tie"), ("pod", "b")]));
        assert_ne!(label_hash(&left), label_hash(&right));
        assert_eq!(label_hash(&LabelSet::default()), 0xef46_db37_51d8_e999, "the hash of nothing");
    }
}
