//! How many reads of object bodies are under way at a time: so many of a replica, and of each reader a share of them.
//!
//! Who finds no place waits, in the order of coming. A place is held from the first attempt to the answer, pauses between attempts included, so a store
//! that fails is asked less. Reads of a local disk need no places.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Of a replica.
const AT_ONCE: usize = 64;

/// Of one reader.
const AT_ONCE_OF_READER: usize = 16;

/// The places of a replica. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Gets(Arc<Places>);

#[derive(Debug)]
struct Places {
    free: Semaphore,
    waiting: AtomicU64,
}

/// The places of one reader, such as a query. Clones share them.
#[derive(Debug, Clone)]
pub struct ReadShare(Arc<Semaphore>);

impl Default for Gets {
    fn default() -> Self {
        Self(Arc::new(Places { free: Semaphore::new(AT_ONCE), waiting: AtomicU64::new(0) }))
    }
}

impl Default for ReadShare {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_OF_READER)))
    }
}

/// A read that may be made.
pub(super) struct Place<'a> {
    _of_reader: Option<SemaphorePermit<'a>>,
    _of_replica: Option<SemaphorePermit<'a>>,
}

impl Gets {
    /// Waits for a place of the reader, if it has a share, and one of the replica.
    pub(super) async fn place<'a>(&'a self, share: Option<&'a ReadShare>) -> Place<'a> {
        let _waiting = Waiting::new(&self.0.waiting);
        // The semaphores are never closed.
        let of_reader = match share {
            Some(ReadShare(share)) => share.acquire().await.ok(),
            None => None,
        };
        Place { _of_reader: of_reader, _of_replica: self.0.free.acquire().await.ok() }
    }

    /// Reads under way.
    pub(super) fn under_way(&self) -> u64 {
        AT_ONCE.saturating_sub(self.0.free.available_permits()) as u64
    }

    /// Reads that wait for a place.
    pub(super) fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

/// Counts who waits, also if he gives up.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::time::Duration;

    use bytes::Bytes;
    use object_store::memory::InMemory;
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};

    use super::*;
    use crate::store::Store;

    /// So far apart that each is a request.
    fn ranges() -> Vec<Range<u64>> {
        (0..12).map(|number| number << 20..(number << 20) + 1).collect()
    }

    /// A store whose reads do not end.
    async fn hung() -> (FaultStore, Store) {
        let faults = FaultStore::new(Arc::new(InMemory::new()));
        let store = Store::new(Arc::new(faults.clone()), "");
        store.create("o", Bytes::from(vec![0; 12 << 20]), Duration::from_secs(1)).await.expect("stores");
        faults.script(Rule::new(Operation::Get, Fault::Refused(Answer::Never)).always());
        (faults, store)
    }

    /// Reads for so short a time that nothing is asked twice.
    async fn read(stores: Vec<Store>, look: impl Fn()) {
        let all = futures::future::join_all(stores.iter().map(async |store| drop(store.ranges("o", &ranges()).await)));
        let looking = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            look();
        };
        futures::future::select(std::pin::pin!(all), std::pin::pin!(looking)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_has_so_many_reads_under_way_and_the_others_wait() {
        let (faults, store) = hung().await;
        let look = || {
            assert_eq!(faults.counts().of(Operation::Get).calls, 64);
            assert_eq!(store.gets_under_way_and_waiting(), (64, 96 - 64));
        };
        read(vec![store.clone(); 8], look).await;
        assert_eq!(store.gets_under_way_and_waiting(), (0, 0), "who gives up leaves his place");
        faults.heal();
        assert_eq!(store.ranges("o", &ranges()).await.expect("reads").len(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_has_a_share_of_them() {
        let (faults, store) = hung().await;
        let share = ReadShare::default();
        let mut stores = vec![store.read_by(&share); 4];
        let look = || assert_eq!((faults.counts().of(Operation::Get).calls, store.gets_under_way_and_waiting()), (16, (16, 48 - 16)));
        read(stores.clone(), look).await;
        faults.reset_counts();
        // Another reader has its own.
        stores.push(store.read_by(&ReadShare::default()));
        read(stores, || assert_eq!(faults.counts().of(Operation::Get).calls, 16 + 12)).await;
    }
}
