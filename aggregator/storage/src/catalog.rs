//! What is visible: every segment that was found or written, by tenant.
//!
//! ```text
//! own flush ──publish──┐
//!                      ├─→ parts (one row group each) ──snapshot──→ query
//! LIST ──discover──────┘
//! ```
//! A snapshot is a fixed list: a query that holds one sees no later segment and misses none of its own. Rows of recent own
//! segments are kept in memory up to a budget, the oldest dropped first; everything else is read from the store.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::entry::TenantId;
use crate::error::ReadError;
use crate::segment::columns::{RowGroupColumns, Wanted};
use crate::segment::read::{SegmentFooter, TAIL_GUESS, Tail, parse_tail};
use crate::segment::rows::{RowGroupRows, SegmentRows};
use crate::segment::streams::RowGroupStreams;
use crate::segment::write::SegmentName;
use crate::store::{ListedObject, Store, paths};

/// Footers read at once at start-up and discovery.
const FOOTERS_AT_ONCE: usize = 16;

/// Footers kept for parts that are read again.
const FOOTERS_KEPT: usize = 256;

/// One row group of a segment: the unit in which data is found and read.
#[derive(Debug)]
pub struct Part {
    key: String,
    size: u64,
    row_group: usize,
    order: PartOrder,
    table: RowGroupStreams,
    recent: RwLock<Option<Arc<RowGroupRows>>>,
}

/// The order in which parts count for entries with equal stamps: of identical ones the first stays, different ones follow it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartOrder {
    flushed: i64,
    writer: String,
    sequence: u64,
    row_group: usize,
}

impl Part {
    fn new(name: &SegmentName, size: u64, row_group: usize, table: RowGroupStreams, recent: Option<Arc<RowGroupRows>>) -> Self {
        Self {
            key: paths::segment(&name.writer, name.sequence),
            size,
            row_group,
            order: PartOrder { flushed: name.flushed, writer: name.writer.clone(), sequence: name.sequence, row_group },
            table,
            recent: RwLock::new(recent),
        }
    }

    /// The object it lies in.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn order(&self) -> &PartOrder {
        &self.order
    }

    pub fn table(&self) -> &RowGroupStreams {
        &self.table
    }
}

/// The parts of one tenant, in [`PartOrder`].
pub type Snapshot = Arc<Vec<Arc<Part>>>;

/// The index of what is stored; shared by ingest, discovery and queries.
#[derive(Debug)]
pub struct Catalog {
    store: Store,
    visible: RwLock<HashMap<TenantId, Snapshot>>,
    writers: Mutex<BTreeMap<String, Seen>>,
    recent: Mutex<Recent>,
    footers: Mutex<Footers>,
}

impl Catalog {
    /// `recent_bytes`: how much memory the rows of own recent segments may take.
    pub fn new(store: Store, recent_bytes: usize) -> Self {
        Self {
            store,
            visible: RwLock::default(),
            writers: Mutex::default(),
            recent: Mutex::new(Recent { budget: recent_bytes, held: 0, parts: VecDeque::new() }),
            footers: Mutex::default(),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes a segment visible that this process has just stored.
    pub fn publish(&self, name: &SegmentName, size: u64, rows: SegmentRows) {
        if !self.writers.lock().entry(name.writer.clone()).or_default().insert(name.sequence) {
            return;
        }
        let parts = rows.row_groups.into_iter().enumerate().map(|(row_group, rows)| {
            let rows = Arc::new(rows);
            Arc::new(Part::new(name, size, row_group, rows.table.clone(), Some(rows)))
        });
        let parts: Vec<Arc<Part>> = parts.collect();
        self.recent.lock().keep(&parts);
        self.add(parts);
    }

    /// Finds segments that are in the store and not yet visible; returns how many. `progress` is told (done, total).
    pub async fn discover(&self, progress: impl Fn(usize, usize)) -> Result<usize, ReadError> {
        let mut found: Vec<ListedObject> = Vec::new();
        for writer in self.store.folders(paths::SEGMENTS).await? {
            let after = self.writers.lock().get(&writer).and_then(Seen::last_unbroken);
            let after = after.map(|sequence| paths::segment(&writer, sequence));
            let listed = self.store.list_after(&paths::writer(&writer), after.as_deref()).await?;
            let writers = self.writers.lock();
            let seen = writers.get(&writer);
            found.extend(listed.into_iter().filter(|object| {
                paths::sequence_of(&object.key).is_some_and(|sequence| !seen.is_some_and(|seen| seen.contains(sequence)))
            }));
        }
        let total = found.len();
        for (index, batch) in found.chunks(FOOTERS_AT_ONCE * 8).enumerate() {
            let read =
                |object: ListedObject| async move { Ok::<_, ReadError>((self.read_footer(&object.key, object.size).await?, object.size)) };
            let footers = Store::for_each(batch.to_vec(), FOOTERS_AT_ONCE, read).await?;
            for (footer, size) in footers {
                self.add_found(footer, size);
            }
            progress((index * FOOTERS_AT_ONCE * 8 + batch.len()).min(total), total);
        }
        Ok(total)
    }

    fn add_found(&self, footer: SegmentFooter, size: u64) {
        if !self.writers.lock().entry(footer.name.writer.clone()).or_default().insert(footer.name.sequence) {
            return;
        }
        let name = footer.name;
        let parts = footer.row_groups.into_iter().enumerate();
        self.add(parts.map(|(row_group, table)| Arc::new(Part::new(&name, size, row_group, table, None))).collect());
    }

    fn add(&self, parts: Vec<Arc<Part>>) {
        let mut visible = self.visible.write();
        for part in parts {
            let of_tenant = Arc::make_mut(visible.entry(part.table.tenant.clone()).or_default());
            let at = of_tenant.partition_point(|other| other.order < part.order);
            of_tenant.insert(at, part);
        }
    }

    /// The parts of a tenant that are visible now.
    pub fn snapshot(&self, tenant: &TenantId) -> Snapshot {
        self.visible.read().get(tenant).cloned().unwrap_or_default()
    }

    /// Visible parts of all tenants.
    pub fn parts(&self) -> usize {
        self.visible.read().values().map(|parts| parts.len()).sum()
    }

    /// Bytes of rows kept in memory.
    pub fn recent_bytes(&self) -> usize {
        self.recent.lock().held
    }

    /// The wanted columns of a part, from memory or the store. Decoding leaves the async threads.
    pub async fn load(&self, part: &Part, wanted: Wanted) -> Result<RowGroupColumns, ReadError> {
        if let Some(rows) = part.recent.read().as_ref() {
            return Ok(rows.columns());
        }
        let footer = self.footer(part).await?;
        let fetched = self.store.ranges(&part.key, &footer.ranges(part.row_group, wanted)).await?;
        let row_group = part.row_group;
        tokio::task::spawn_blocking(move || footer.decode(row_group, wanted, fetched))
            .await
            .expect("decoding neither panics nor is cancelled")
            .map_err(|error| ReadError::segment(&part.key, error))
    }

    async fn footer(&self, part: &Part) -> Result<Arc<SegmentFooter>, ReadError> {
        if let Some(footer) = self.footers.lock().get(&part.key) {
            return Ok(footer);
        }
        let footer = Arc::new(self.read_footer(&part.key, part.size).await?);
        self.footers.lock().keep(&part.key, footer.clone());
        Ok(footer)
    }

    async fn read_footer(&self, key: &str, size: u64) -> Result<SegmentFooter, ReadError> {
        let mut length = TAIL_GUESS;
        loop {
            let tail = self.store.tail(key, size, length).await?;
            match parse_tail(&tail, size).map_err(|error| ReadError::segment(key, error))? {
                Tail::Footer(footer) => return Ok(*footer),
                Tail::NeedBytes(needed) => length = needed,
            }
        }
    }
}

/// Which numbers of a writer are visible.
#[derive(Debug, Default)]
struct Seen {
    /// Every number below it is.
    unbroken: u64,
    /// Numbers above, with gaps: a listing may lag.
    beyond: BTreeSet<u64>,
}

impl Seen {
    /// False if it was there already.
    fn insert(&mut self, sequence: u64) -> bool {
        if self.contains(sequence) {
            return false;
        }
        self.beyond.insert(sequence);
        while self.beyond.remove(&self.unbroken) {
            self.unbroken += 1;
        }
        true
    }

    fn contains(&self, sequence: u64) -> bool {
        sequence < self.unbroken || self.beyond.contains(&sequence)
    }

    fn last_unbroken(&self) -> Option<u64> {
        self.unbroken.checked_sub(1)
    }
}

/// Own parts whose rows are in memory, oldest first.
#[derive(Debug)]
struct Recent {
    budget: usize,
    held: usize,
    parts: VecDeque<(usize, Arc<Part>)>,
}

impl Recent {
    fn keep(&mut self, parts: &[Arc<Part>]) {
        for part in parts {
            let bytes = part.recent.read().as_ref().map_or(0, |rows| rows.heap_bytes());
            self.held += bytes;
            self.parts.push_back((bytes, part.clone()));
        }
        while self.held > self.budget {
            let Some((bytes, oldest)) = self.parts.pop_front() else { break };
            *oldest.recent.write() = None;
            self.held -= bytes;
        }
    }
}

/// Footers of parts that were read lately, first in first out.
#[derive(Debug, Default)]
struct Footers {
    by_key: HashMap<String, Arc<SegmentFooter>>,
    order: VecDeque<String>,
}

impl Footers {
    fn get(&self, key: &str) -> Option<Arc<SegmentFooter>> {
        self.by_key.get(key).cloned()
    }

    fn keep(&mut self, key: &str, footer: Arc<SegmentFooter>) {
        if self.by_key.insert(key.to_owned(), footer).is_none() {
            self.order.push_back(key.to_owned());
        }
        while self.order.len() > FOOTERS_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.by_key.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels};
    use crate::pairs::Pairs;
    use crate::segment::write;
    use object_store::memory::InMemory;
    use std::time::Duration;

    fn rows(stamp: i64) -> SegmentRows {
        let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::from_pairs([("app", "a")]), None)));
        let handle = stream.intern(Metadata::default());
        stream.push(stamp, "a line", handle);
        SegmentRows::from_pushes(&[PushBatch { tenant: TenantId::new("t"), streams: vec![stream] }])
    }

    fn name(writer: &str, sequence: u64) -> SegmentName {
        SegmentName { writer: writer.into(), sequence, flushed: 1000 + i64::try_from(sequence).expect("small") }
    }

    async fn stored(store: &Store, name: &SegmentName) -> u64 {
        let bytes = write::encode(name, &rows(7)).expect("encodes");
        let size = bytes.len() as u64;
        store.create(&paths::segment(&name.writer, name.sequence), bytes, Duration::from_secs(1)).await.expect("stores");
        size
    }

    const STAMPS: Wanted = Wanted { timestamps: true, lines: false, metadata: false, line_hashes: false };

    #[tokio::test]
    async fn a_new_process_sees_what_an_old_one_stored_and_counts_nothing_twice() {
        let store = Store::new(Arc::new(InMemory::new()), "p");
        let own = Catalog::new(store.clone(), 1 << 20);
        for sequence in 0..3 {
            let size = stored(&store, &name("W", sequence)).await;
            own.publish(&name("W", sequence), size, rows(7));
        }
        assert_eq!(own.discover(|_, _| ()).await.expect("lists"), 0);

        let other = Catalog::new(store.clone(), 0);
        assert_eq!(other.discover(|_, _| ()).await.expect("lists"), 3);
        assert_eq!(other.discover(|_, _| ()).await.expect("lists"), 0);
        stored(&store, &name("W", 3)).await;
        assert_eq!(other.discover(|_, _| ()).await.expect("lists"), 1);
        let snapshot = other.snapshot(&TenantId::new("t"));
        assert!(snapshot.is_sorted_by_key(|part| part.order().clone()));
        let columns = other.load(&snapshot[3], STAMPS).await.expect("reads");
        assert_eq!(columns.timestamps.as_deref(), Some([7].as_slice()));
        assert!(other.snapshot(&TenantId::new("another")).is_empty());
    }

    #[tokio::test]
    async fn a_listing_that_lags_is_caught_up_with() {
        let store = Store::new(Arc::new(InMemory::new()), "p");
        let catalog = Catalog::new(store.clone(), 0);
        stored(&store, &name("W", 1)).await;
        assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 1);
        stored(&store, &name("W", 0)).await;
        assert_eq!(catalog.discover(|_, _| ()).await.expect("lists"), 1);
        assert_eq!(catalog.parts(), 2);
    }

    #[tokio::test]
    async fn rows_leave_memory_at_the_budget_and_stay_readable() {
        let store = Store::new(Arc::new(InMemory::new()), "");
        let catalog = Catalog::new(store.clone(), rows(7).heap_bytes() + 1);
        for sequence in 0..2 {
            let size = stored(&store, &name("W", sequence)).await;
            catalog.publish(&name("W", sequence), size, rows(7));
        }
        let snapshot = catalog.snapshot(&TenantId::new("t"));
        assert!(snapshot[0].recent.read().is_none() && snapshot[1].recent.read().is_some());
        for part in snapshot.iter() {
            assert_eq!(catalog.load(part, STAMPS).await.expect("reads").timestamps.as_deref(), Some([7].as_slice()));
        }
    }

    #[tokio::test]
    async fn a_damaged_segment_is_named() {
        let store = Store::new(Arc::new(InMemory::new()), "p");
        let key = paths::segment("W", 0);
        store.create(&key, vec![0; 100].into(), Duration::from_secs(1)).await.expect("stores");
        let error = Catalog::new(store, 0).discover(|_, _| ()).await.expect_err("damaged");
        assert!(error.to_string().contains(&key), "{error}");
    }
}
