//! The replicas that share a store, and which of them does a piece of background work.
//!
//! ```text
//! configured addresses ──GET /ready──→ ids of those that are ready ──rendezvous──→ one owner of each piece
//! ```
//! Each replica decides for itself, so two may take the same piece for theirs for a while, or none: what they commit to the manifest is checked
//! there, and what nobody does now is done by the next look. Without configured peers a replica owns everything.

mod rendezvous;
mod watch;

pub use watch::{PeerAddresses, keep_watching};

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;

/// Header of the answer of `/ready`: the id of the replica that answers.
pub const REPLICA_HEADER: &str = "x-tailwater-replica";

/// Who is there. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    own: Arc<str>,
    others: Arc<RwLock<BTreeSet<String>>>,
}

impl Peers {
    /// This replica, alone until others are seen.
    pub fn new(own: &str) -> Self {
        Self { own: own.into(), others: Arc::default() }
    }

    /// The id of this replica; another one at each start.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Replicas that are ready, this one among them.
    pub fn ready(&self) -> usize {
        self.others.read().len() + 1
    }

    /// Whether a piece of work is this replica's.
    pub fn owns(&self, work: &str) -> bool {
        let others = self.others.read();
        rendezvous::owner(others.iter().map(String::as_str).chain([&*self.own]), work) == Some(&self.own)
    }

    /// Takes note of who answered; this replica may be among them.
    fn seen(&self, mut ready: BTreeSet<String>) {
        ready.remove(&*self.own);
        let mut others = self.others.write();
        if *others != ready {
            tracing::info!(replicas = ready.len() + 1, "the replicas that are ready changed");
            *others = ready;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_owned_by_one_of_those_that_see_each_other() {
        let ids = ["a", "b", "c"];
        let replicas = ids.map(Peers::new);
        assert!(replicas.iter().all(|replica| replica.owns("anything")), "alone");
        replicas.iter().for_each(|replica| replica.seen(ids.map(str::to_owned).into()));
        for work in 0..100 {
            let owners = replicas.iter().filter(|replica| replica.owns(&format!("tenant/{work}"))).count();
            assert_eq!(owners, 1, "{work}");
        }
        assert_eq!(replicas[0].ready(), 3);
    }
}
