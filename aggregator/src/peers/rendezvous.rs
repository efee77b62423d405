//! Highest-random-weight hashing: a peer that comes or goes moves only its own share of the work.

use xxhash_rust::xxh3::Xxh3;

/// The peer that a piece of work belongs to; the same for all who know the same peers, in whichever order.
pub(super) fn owner<'p>(peers: impl IntoIterator<Item = &'p str>, work: &str) -> Option<&'p str> {
    peers.into_iter().max_by_key(|peer| (weight(peer, work), *peer))
}

fn weight(peer: &str, work: &str) -> u64 {
    let mut hash = Xxh3::new();
    for part in [peer, work] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn who_goes_takes_only_its_own_work_along(peers in proptest::collection::btree_set("[a-z]{1,6}", 2..8), works in proptest::collection::vec(".{0,12}", 1..40)) {
            let all: Vec<&str> = peers.iter().map(String::as_str).collect();
            let gone = all[0];
            for work in &works {
                let before = owner(all.iter().copied(), work);
                prop_assert_eq!(before, owner(all.iter().rev().copied(), work));
                let after = owner(all[1..].iter().copied(), work);
                prop_assert!(before == after || before == Some(gone));
            }
        }
    }

    #[test]
    fn work_is_spread() {
        let peers: BTreeSet<String> = (0..4).map(|number| format!("peer-{number}")).collect();
        for peer in &peers {
            let owned = (0..4000).filter(|work| owner(peers.iter().map(String::as_str), &work.to_string()) == Some(peer)).count();
            assert!((800..1200).contains(&owned), "{peer} owns {owned} of 4000");
        }
        assert_eq!(owner([], "w"), None);
    }
}
