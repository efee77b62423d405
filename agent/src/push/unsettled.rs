//! Batches that a lane has taken and that are not settled: whose request goes next, and what may be said of files meanwhile.
//!
//! Requests of one tenant go one after the other, in the order of their batches; those of different tenants do not wait for each other. So a batch may be
//! delivered before an older one. Then its marks count for files of which the older one holds nothing, and for the others later: a position never moves past
//! a line that is not acknowledged. Sums of balances are taken in the order of batches.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::doubt::{Doubt, Doubts};
use super::limited::Tenant;
use crate::batch::Batch;
use crate::batch::split::Part;
use crate::positions::table::{ContainerPath, FileId, Mark, Revision};

/// Batches that wait for limited tenants alone and take no room in the lane.
const MAX_PARKED: usize = 4;

/// A request to be made.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) batch: u64,
    pub(super) tenant: Tenant,
    /// `None`: there are only marks.
    pub(super) part: Option<Part>,
    /// What must be on disk before.
    pub(super) rests_on: Revision,
    /// Of its batch.
    pub(super) doubt: Arc<Doubt>,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    /// Whose requests are not settled.
    tenants: Vec<Tenant>,
    dropped: u64,
    is_parked: bool,
    _doubt: Arc<Doubt>,
}

#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Oldest first.
    batches: VecDeque<Waiting>,
    /// Number of the oldest.
    first: u64,
    /// Requests behind the one that is under way.
    queues: HashMap<Tenant, VecDeque<Begun>>,
    doubts: Arc<Doubts>,
}

impl Unsettled {
    pub(super) fn new(doubts: Arc<Doubts>) -> Self {
        Self { doubts, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Takes a batch over. Returns the requests that may be made now.
    pub(super) fn take(&mut self, mut batch: Batch) -> Vec<Begun> {
        let number = self.first + self.batches.len() as u64;
        let of_tenants: u64 = batch.tenants.iter().map(|request| request.entries).sum();
        let own = Part { body: std::mem::take(&mut batch.body), entries: batch.entries - of_tenants };
        let mut parts: Vec<(Tenant, Option<Part>)> = Vec::new();
        if !own.body.is_empty() || batch.tenants.is_empty() {
            parts.push((None, Some(own).filter(|part| !part.body.is_empty())));
        }
        parts.extend(batch.tenants.drain(..).map(|request| {
            let part = Part { body: request.body, entries: request.entries };
            (Some(request.tenant), Some(part))
        }));
        let (tenants, rests_on) = (parts.iter().map(|(tenant, _)| tenant.clone()).collect(), batch.rests_on);
        let doubt = Doubt::new(&self.doubts);
        self.batches.push_back(Waiting { batch, tenants, dropped: 0, is_parked: false, _doubt: Arc::clone(&doubt) });
        let begun = parts.into_iter().map(|(tenant, part)| Begun { batch: number, tenant, part, rests_on, doubt: Arc::clone(&doubt) });
        begun.filter_map(|begun| self.begin(begun)).collect()
    }

    /// Gives a request back if none of its tenant is under way; otherwise it waits.
    fn begin(&mut self, begun: Begun) -> Option<Begun> {
        match self.queues.get_mut(&begun.tenant) {
            Some(queue) => {
                queue.push_back(begun);
                None
            }
            None => {
                self.queues.insert(begun.tenant.clone(), VecDeque::new());
                Some(begun)
            }
        }
    }

    /// A request of `batch` is settled, and so many of its entries were dropped. Returns the tenant's next one.
    pub(super) fn settle(&mut self, batch: u64, tenant: &Tenant, dropped: u64) -> Option<Begun> {
        let index = usize::try_from(batch - self.first).expect("fewer than memory has room for");
        let waiting = &mut self.batches[index];
        waiting.tenants.retain(|other| other != tenant);
        waiting.dropped += dropped;
        let next = self.queues.get_mut(tenant).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.queues.remove(tenant);
        }
        next
    }

    /// Of a batch that is delivered: what it was, the entries that were dropped, and whether it still had room of the lane.
    pub(super) fn delivered(&self, batch: u64) -> Option<(&Batch, u64, bool)> {
        let waiting = self.batches.get(usize::try_from(batch - self.first).ok()?)?;
        waiting.tenants.is_empty().then_some((&waiting.batch, waiting.dropped, !waiting.is_parked))
    }

    /// Lets batches that wait for limited tenants alone take no room any more. Returns how many.
    pub(super) fn park(&mut self, is_limited: impl Fn(&Tenant) -> bool) -> usize {
        let undelivered = || self.batches.iter().filter(|waiting| !waiting.tenants.is_empty());
        let room = MAX_PARKED.saturating_sub(undelivered().filter(|waiting| waiting.is_parked).count());
        let waits = |waiting: &&mut Waiting| !waiting.is_parked && !waiting.tenants.is_empty() && waiting.tenants.iter().all(&is_limited);
        let parked = self.batches.iter_mut().filter(waits).take(room);
        parked.map(|waiting| waiting.is_parked = true).count()
    }

    /// Where files stand now, as delivered batches say: not for files of which an older batch holds something.
    pub(super) fn take_marks(&mut self) -> Vec<Mark> {
        let Some(last) = self.batches.iter().rposition(|waiting| waiting.tenants.is_empty()) else { return Vec::new() };
        let mut marks = Vec::new();
        let (mut files, mut containers): (HashSet<FileId>, HashSet<ContainerPath>) = Default::default();
        for waiting in self.batches.iter_mut().take(last + 1) {
            if waiting.tenants.is_empty() {
                let is_held = |mark: &Mark| files.contains(&mark.file) || containers.contains(&mark.entry.instance.container);
                let (held, free) = std::mem::take(&mut waiting.batch.marks).into_iter().partition(is_held);
                (waiting.batch.marks, marks) = (held, [marks, free].concat());
            } else {
                files.extend(waiting.batch.balances.iter().map(|part| part.file));
            }
            for mark in &waiting.batch.marks {
                files.insert(mark.file);
                containers.insert(mark.entry.instance.container.clone());
            }
        }
        marks
    }

    /// The oldest batch, if it is delivered and its marks were taken.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let is_done = self.batches.front().is_some_and(|waiting| waiting.tenants.is_empty() && waiting.batch.marks.is_empty());
        self.first += u64::from(is_done);
        is_done.then(|| self.batches.pop_front()).flatten().map(|waiting| waiting.batch)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::batch::TenantRequest;
    use crate::positions::table::tests::file_entry;

    fn tenant(name: &str) -> Tenant {
        Some(Arc::from(name)).filter(|_| !name.is_empty())
    }

    /// With a request for each tenant, and marks of files by number and container.
    fn batch(tenants: &[&str], marks: &[(u64, &str)]) -> Batch {
        let request = |name: &&str| TenantRequest { tenant: Arc::from(*name), body: vec![1].into(), entries: 1 };
        let has_own = tenants.contains(&"");
        Batch {
            body: if has_own { vec![1].into() } else { Vec::new().into() },
            entries: tenants.len() as u64,
            tenants: tenants.iter().filter(|name| !name.is_empty()).map(request).collect(),
            line_bytes: 1,
            marks: marks.iter().map(|(file, container)| Mark { file: FileId(*file), entry: file_entry(container, 10) }).collect(),
            balances: Vec::new(),
            rests_on: Revision::default(),
            on_its_way: None,
            finished_at: Instant::now(),
            oldest_stamp: None,
        }
    }

    fn names(begun: &[Begun]) -> Vec<(u64, Option<&str>)> {
        begun.iter().map(|begun| (begun.batch, begun.tenant.as_deref())).collect()
    }

    fn files(marks: &[Mark]) -> Vec<u64> {
        marks.iter().map(|mark| mark.file.0).collect()
    }

    #[test]
    fn requests_of_a_tenant_go_one_after_the_other_and_those_of_others_beside_them() {
        let mut unsettled = Unsettled::default();
        assert_eq!(names(&unsettled.take(batch(&["", "a"], &[]))), [(0, None), (0, Some("a"))]);
        assert!(unsettled.take(batch(&["", "a"], &[])).is_empty());
        assert_eq!(names(&unsettled.take(batch(&["b"], &[]))), [(2, Some("b"))]);
        let next = unsettled.settle(0, &None, 0);
        assert_eq!(names(next.as_slice()), [(1, None)]);
        assert!(unsettled.settle(2, &tenant("b"), 0).is_none() && unsettled.delivered(2).is_some());
        assert_eq!(names(&unsettled.take(batch(&["b"], &[]))), [(3, Some("b"))]);
        assert!(unsettled.pop().is_none(), "the oldest one waits");
    }

    #[test]
    fn positions_do_not_move_past_what_is_not_acknowledged() {
        let mut unsettled = Unsettled::default();
        unsettled.take(batch(&["a", "b"], &[(1, "one"), (2, "two")]));
        unsettled.take(batch(&["b"], &[(2, "two"), (3, "three"), (4, "one")]));
        unsettled.settle(0, &tenant("b"), 0);
        unsettled.settle(1, &tenant("b"), 0);
        assert_eq!(files(&unsettled.take_marks()), [3], "the older batch is not wholly acknowledged");
        assert!(unsettled.pop().is_none());
        unsettled.settle(0, &tenant("a"), 1);
        assert_eq!(unsettled.delivered(0).map(|(_, dropped, _)| dropped), Some(1));
        assert_eq!(files(&unsettled.take_marks()), [1, 2, 2, 4], "in their order");
        assert!(unsettled.pop().is_some() && unsettled.pop().is_some() && unsettled.is_empty());
    }

    #[test]
    fn lines_without_a_mark_hold_their_file_too() {
        use crate::tail::balance::{Balance, BalancePart};
        let mut unsettled = Unsettled::default();
        let part = Balance { records: 1, entries: 1, ..Balance::default() };
        let held = BalancePart { file: FileId(7), part, end: None };
        unsettled.take(Batch { balances: vec![held], ..batch(&["a"], &[]) });
        unsettled.take(batch(&["b"], &[(7, "one")]));
        unsettled.settle(1, &tenant("b"), 0);
        assert!(unsettled.take_marks().is_empty());
    }

    #[test]
    fn batches_of_limited_tenants_take_no_room_as_far_as_there_may_be_some() {
        let mut unsettled = Unsettled::default();
        let is_limited = |other: &Tenant| *other == tenant("a");
        unsettled.take(batch(&["a", "b"], &[]));
        assert_eq!(unsettled.park(is_limited), 0, "others are in it");
        unsettled.settle(0, &tenant("b"), 0);
        assert_eq!((unsettled.park(is_limited), unsettled.park(is_limited)), (1, 0));
        (0..MAX_PARKED).for_each(|_| drop(unsettled.take(batch(&["a"], &[]))));
        assert_eq!(unsettled.park(is_limited), MAX_PARKED - 1);
        unsettled.settle(0, &tenant("a"), 0);
        assert_eq!(unsettled.delivered(0).map(|(_, _, had_room)| had_room), Some(false));
        assert_eq!(unsettled.park(is_limited), 1, "there is room for the last one");
    }
}
