//! What is visible: of each tenant the files of its manifest and the segments above its watermarks.
//!
//! ```text
//! own flush ──publish──┐
//!                      ├─→ segments ─┐
//! LIST ──discover──────┘             ├─→ snapshot: parts (one row group each) ──fetch──→ pages
//! manifest ──apply / discover────────┘
//! ```
//! A snapshot is a fixed list: a query that holds one sees no later segment and misses none of its own. A fold makes its files visible and its
//! segments invisible in one moment. Rows of recent own segments are kept in memory up to a budget; footers and text indexes are
//! cached; everything else is read from the store.

mod cache;
mod counters;
mod damaged;
mod part;
mod recent;
mod tenant;
mod text_index;
mod writers;

use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::{Mutex, RwLock};

use crate::catalog::cache::Caches;
use crate::catalog::damaged::DamagedSegments;
use crate::catalog::recent::Recent;
use crate::catalog::tenant::{Tenant, View};
use crate::catalog::writers::{StoredSegment, Writers};
use crate::entry::TenantId;
use crate::error::{FileError, ReadError};
use crate::file::columns::Wanted;
use crate::file::pages::{FetchPlan, Pages};
use crate::file::read::{FileFooter, FileIdentity, SegmentName, TAIL_GUESS, Tail, parse_tail};
use crate::manifest::{
    self, Change, CleanError, Cleaned, Clock, CommitError, Conflict, DataFile, FileId, LoadError, ManifestLog, ManifestState,
    clean_segments,
};
use crate::segment::rows::SegmentRows;
use crate::store::{Content, ListedObject, ReadShare, Store, paths};
use crate::tolerance::Tolerance;

pub use cache::CacheBudget;
pub use counters::IndexCounters;
pub use part::{OpenFile, Part, PartOrder};
pub use text_index::MaybePages;
pub(crate) use text_index::first_granules;

/// Ends of objects read at once at start-up, at discovery and for a query.
const FOOTERS_AT_ONCE: usize = 16;

/// The parts of one tenant that a query may touch, in [`PartOrder`], and the manifest version they belong to.
#[derive(Debug, Clone)]
pub struct Snapshot {
    parts: Arc<[Arc<Part>]>,
    manifest: Arc<ManifestState>,
}

impl Snapshot {
    pub fn manifest(&self) -> &Arc<ManifestState> {
        &self.manifest
    }

    /// The parts of it that have entries between `start` and `end`, both included (ns).
    #[must_use]
    pub fn within(&self, start: i64, end: i64) -> Self {
        let parts = self.parts.iter().filter(|part| part.touches(start, end)).cloned().collect();
        Self { parts, manifest: self.manifest.clone() }
    }
}

impl Deref for Snapshot {
    type Target = [Arc<Part>];

    fn deref(&self) -> &Self::Target {
        &self.parts
    }
}

/// The index of what is stored; shared by ingest, discovery, compaction and queries.
#[derive(Debug)]
pub struct Catalog {
    store: Store,
    author: Author,
    tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    writers: Mutex<Writers>,
    damaged: Mutex<DamagedSegments>,
    recent: Mutex<Recent>,
    caches: Caches,
    index_counters: IndexCounters,
    read_bytes: AtomicU64,
    checksum_failures: AtomicU64,
    repeated_rows: AtomicU64,
}

/// What a listed segment turned out to be.
enum Found {
    Segment { name: SegmentName, footer: FileFooter, size: u64 },
    Damaged { key: String, error: ReadError },
    Gone,
}

/// Who commits here, and by which clock.
#[derive(Clone)]
struct Author {
    name: String,
    clock: Clock,
}

impl std::fmt::Debug for Author {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Catalog {
    /// `author` signs manifest versions made through this catalog.
    pub fn new(store: Store, budget: CacheBudget, author: &str, clock: Clock) -> Self {
        Self {
            store,
            author: Author { name: author.to_owned(), clock },
            tenants: RwLock::default(),
            writers: Mutex::default(),
            damaged: Mutex::default(),
            recent: Mutex::new(Recent::new(budget.recent_rows)),
            caches: Caches::new(budget),
            index_counters: IndexCounters::default(),
            read_bytes: AtomicU64::new(0),
            checksum_failures: AtomicU64::new(0),
            repeated_rows: AtomicU64::new(0),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Rows that questions left out because an earlier part had the same entries.
    pub fn repeated_rows(&self) -> u64 {
        self.repeated_rows.load(Ordering::Relaxed)
    }

    pub(crate) fn rows_repeated(&self, rows: usize) {
        self.repeated_rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn index_counters(&self) -> &IndexCounters {
        &self.index_counters
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<Tenant> {
        if let Some(known) = self.tenants.read().get(tenant) {
            return known.clone();
        }
        let mut tenants = self.tenants.write();
        let new = || {
            let log = ManifestLog::new(self.store.clone(), tenant.clone(), &self.author.name, self.author.clock.clone());
            Arc::new(Tenant::new(Arc::new(log)))
        };
        tenants.entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// Tenants that have data here.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.tenants.read().keys().cloned().collect()
    }

    /// Commits a change to a tenant's manifest and shows what came of it.
    pub async fn commit(
        &self,
        tenant: &TenantId,
        change: impl Fn(&ManifestState) -> Result<Change, Conflict>,
    ) -> Result<Arc<ManifestState>, CommitError> {
        let tenant = self.tenant(tenant);
        let outcome = tenant.log.commit(change).await;
        self.show(&tenant);
        outcome
    }

    /// A tenant's manifest log, for clean-up. What it commits is shown by the next [`Self::refresh`].
    pub fn manifest_log(&self, tenant: &TenantId) -> Arc<ManifestLog> {
        self.tenant(tenant).log.clone()
    }

    fn show(&self, tenant: &Tenant) {
        tenant.apply(tenant.log.known());
        self.recent.lock().release();
    }

    /// The newest manifest version that is shown.
    pub fn manifest(&self, tenant: &TenantId) -> Arc<ManifestState> {
        self.tenant(tenant).view().manifest
    }

    /// Parts of segments that are not folded, and the manifest version by which they are not.
    pub(crate) fn segments_and_manifest(&self, tenant: &TenantId) -> (Arc<Vec<Arc<Part>>>, Arc<ManifestState>) {
        let view = self.tenant(tenant).view();
        (view.segments, view.manifest)
    }

    /// Parts of segments that are not folded, in their order.
    pub fn segments(&self, tenant: &TenantId) -> Arc<Vec<Arc<Part>>> {
        self.tenant(tenant).view().segments
    }

    /// Makes a segment visible that this process has just stored.
    pub fn publish(&self, name: &SegmentName, size: u64, footer: FileFooter, rows: SegmentRows) {
        let parts = self.segment_parts(name, size, footer);
        if !self.add(name, &parts) {
            return;
        }
        let mut recent = self.recent.lock();
        for (part, rows) in parts.iter().zip(rows.row_groups) {
            recent.keep(part, Arc::new(rows));
        }
    }

    fn segment_parts(&self, name: &SegmentName, size: u64, footer: FileFooter) -> Vec<Arc<Part>> {
        let key = paths::segment(&name.writer, name.sequence);
        Part::of(&Arc::new(OpenFile { key, size, footer: Arc::new(footer), data: None }))
    }

    /// Shows a segment; false if it is known already. A segment counts as known only once it is visible, so that compaction, which goes by what is
    /// known without gaps, passes none over.
    fn add(&self, name: &SegmentName, parts: &[Arc<Part>]) -> bool {
        let mut writers = self.writers.lock();
        if writers.contains(&name.writer, name.sequence) {
            return false;
        }
        for part in parts {
            self.tenant(&part.table().tenant).add(part.clone());
        }
        let (mut tenants, size): (Vec<TenantId>, u64) =
            (parts.iter().map(|part| part.table().tenant.clone()).collect(), parts.first().map_or(0, |part| part.file().size));
        tenants.dedup();
        writers.insert(&name.writer, name.sequence, StoredSegment::new(tenants.into(), size))
    }

    /// Deletes the segments that every tenant in them folded in at least `delay` ago.
    pub async fn delete_folded_segments(&self, now: i64, delay: Duration) -> Result<Cleaned, CleanError> {
        let due = self.writers.lock().due(now, delay, |tenant, writer, sequence| self.manifest(tenant).is_folded(writer, sequence));
        let mut all = Cleaned::default();
        for (writer, segments) in due {
            let gone = AtomicU64::new(0);
            let cleaned =
                clean_segments(&self.store, &writer, &segments, |progress| gone.store(progress.done.objects, Ordering::Relaxed)).await;
            let mut writers = self.writers.lock();
            segments.iter().take(gone.load(Ordering::Relaxed) as usize).for_each(|(sequence, _)| writers.deleted(&writer, *sequence));
            let cleaned = cleaned?;
            (all.objects, all.bytes) = (all.objects + cleaned.objects, all.bytes + cleaned.bytes);
        }
        Ok(all)
    }

    /// Objects that nothing shows any more and that wait to be deleted: segments, and files of all tenants.
    pub fn retired_objects(&self) -> usize {
        let tenants: Vec<Arc<Tenant>> = self.tenants.read().values().cloned().collect();
        self.writers.lock().retired() + tenants.iter().map(|tenant| tenant.view().manifest.retired().len()).sum::<usize>()
    }

    /// Up to which number a writer's segments are known without gaps.
    pub(crate) fn known_up_to(&self, writer: &str) -> Option<u64> {
        self.writers.lock().last_unbroken(writer)
    }

    /// Finds manifest versions and segments that are in the store and not yet visible; returns how many segments. Damaged ones are remembered, for
    /// [`Self::snapshot`]. `progress` is told (done, total).
    pub async fn discover(&self, progress: impl Fn(usize, usize)) -> Result<usize, ReadError> {
        // Manifests first: a segment that was folded since is then known to be.
        for tenant in manifest::tenants(&self.store).await? {
            match self.refresh(&tenant).await {
                // Of this tenant alone, with which it is remembered.
                Err(ReadError::Manifest { .. }) => {}
                looked => looked?,
            }
        }
        let found = self.unknown_segments().await?;
        let total = found.len();
        let (mut done, mut damaged) = (0, BTreeMap::new());
        for batch in found.chunks(FOOTERS_AT_ONCE * 8) {
            let read = |object: ListedObject| async move { self.read_segment(object).await };
            for segment in Store::for_each(batch.to_vec(), FOOTERS_AT_ONCE, read).await? {
                match segment {
                    Found::Segment { name, footer, size } => drop(self.add(&name, &self.segment_parts(&name, size, footer))),
                    Found::Damaged { key, error } => drop(damaged.insert(key, error)),
                    Found::Gone => {}
                }
            }
            done += batch.len();
            progress(done, total);
        }
        let readable = total - damaged.len();
        self.damaged.lock().replace(damaged);
        Ok(readable)
    }

    /// Segments that were found and cannot be read.
    pub fn damaged_segments(&self) -> usize {
        self.damaged.lock().len()
    }

    async fn unknown_segments(&self) -> Result<Vec<ListedObject>, ReadError> {
        let mut found: Vec<ListedObject> = Vec::new();
        let writers = self.store.folders(paths::SEGMENTS).await?;
        self.writers.lock().forget_others(&writers);
        for writer in &writers {
            let after = self.writers.lock().last_unbroken(writer);
            let after = after.map(|sequence| paths::segment(writer, sequence));
            let listed = self.store.list_after(&paths::writer(writer), after.as_deref()).await?;
            self.skip_deleted(writer, &listed).await?;
            let known = self.writers.lock();
            found.extend(
                listed
                    .into_iter()
                    .filter(|object| paths::sequence_of(&object.key).is_some_and(|sequence| !known.contains(writer, sequence))),
            );
        }
        Ok(found)
    }

    /// A writer's lowest segments are deleted in ascending order: if the one below the lowest listed is gone, all below are.
    async fn skip_deleted(&self, writer: &str, listed: &[ListedObject]) -> Result<(), ReadError> {
        let Some(lowest) = listed.iter().find_map(|object| paths::sequence_of(&object.key)) else { return Ok(()) };
        let expected = self.known_up_to(writer).map_or(0, |known| known + 1);
        if lowest > expected && self.store.size(&paths::segment(writer, lowest - 1)).await?.is_none() {
            self.writers.lock().skip_to(writer, lowest - 1);
        }
        Ok(())
    }

    async fn read_segment(&self, object: ListedObject) -> Result<Found, ReadError> {
        let ListedObject { key, size, .. } = object;
        let outcome = self.read_footer(&key, size).await.and_then(|footer| match &footer.identity {
            FileIdentity::Segment(name) if key == paths::segment(&name.writer, name.sequence) => {
                Ok(Found::Segment { name: name.clone(), footer, size })
            }
            other => {
                let reason = format!("it is stored under another name than its own, {other:?}");
                Err(ReadError::file(&key, FileError::Damaged { part: "identity", reason }))
            }
        });
        match outcome {
            // Folded and deleted since it was listed.
            Err(error) if error.is_not_found() => Ok(Found::Gone),
            Err(error) if error.is_damage() => Ok(Found::Damaged { key, error }),
            outcome => outcome,
        }
    }

    /// Tenants whose newest manifest version is not intact.
    pub fn damaged_manifests(&self) -> usize {
        self.tenants.read().values().filter(|tenant| tenant.check().is_err()).count()
    }

    /// Fails while a tenant's newest manifest version is not intact: nothing may be concluded then from what is known of it.
    pub fn check_manifest(&self, tenant: &TenantId) -> Result<(), ReadError> {
        self.tenant(tenant).check()
    }

    /// Looks for a newer manifest version of a tenant.
    pub async fn refresh(&self, tenant: &TenantId) -> Result<(), ReadError> {
        self.look(&self.tenant(tenant)).await
    }

    async fn look(&self, tenant: &Tenant) -> Result<(), ReadError> {
        let loaded = tenant.log.load().await;
        if matches!(loaded, Err(LoadError::Damaged { .. })) {
            self.checksum_failures.fetch_add(1, Ordering::Relaxed);
        }
        let looked = loaded.map(drop).map_err(read_error);
        match &looked {
            Ok(()) => tenant.looked(Ok(())),
            Err(error @ ReadError::Manifest { .. }) => tenant.looked(Err(error)),
            // The store did not answer: that says nothing of the manifest.
            Err(_) => {}
        }
        looked?;
        self.show(tenant);
        Ok(())
    }

    /// Whether rows of this object are visible, as far as is known here.
    pub fn shows(&self, tenant: &TenantId, key: &str) -> bool {
        let view = self.tenant(tenant).view();
        let named = paths::data_file_of(key).and_then(|(.., id)| view.manifest.file(FileId(id)));
        named.is_some_and(|file| file.key(view.manifest.tenant()) == key) || view.segments.iter().any(|part| part.key() == key)
    }

    /// What is visible now of a tenant and has entries in any of some ranges, both ends included (ns); without the objects that the reader passes over.
    pub async fn snapshot(&self, tenant: &TenantId, ranges: &[(i64, i64)], tolerance: &Tolerance) -> Result<Snapshot, ReadError> {
        let tenant = self.tenant(tenant);
        tenant.check()?;
        match self.open(tenant.view(), ranges, &Tolerance::default()).await {
            // A file was retired long ago: this process stood still. Once more, with what is there now.
            Err(error) if error.is_not_found() => self.look(&tenant).await?,
            Err(_) if tolerance.is_partial() => {}
            outcome => return outcome,
        }
        self.open(tenant.view(), ranges, tolerance).await
    }

    async fn open(&self, view: View, ranges: &[(i64, i64)], tolerance: &Tolerance) -> Result<Snapshot, ReadError> {
        for error in self.damaged.lock().missing_from(&view.manifest) {
            tolerance.pass_over(Err::<(), _>(error.clone()))?;
        }
        let touches = |file: &&Arc<DataFile>| ranges.iter().any(|(start, end)| file.min_timestamp <= *end && file.max_timestamp >= *start);
        let touching: Vec<Arc<DataFile>> = view.manifest.files().filter(touches).cloned().collect();
        let opened: Vec<Option<Arc<[Arc<Part>]>>> = futures::stream::iter(touching)
            .map(|file| self.data_file(view.manifest.tenant(), file))
            .buffered(FOOTERS_AT_ONCE)
            .map(|outcome| tolerance.pass_over(outcome))
            .try_collect()
            .await?;
        let mut parts: Vec<Arc<Part>> = opened.iter().flatten().flat_map(|parts| parts.iter().cloned()).collect();
        parts.extend(view.segments.iter().cloned());
        parts.retain(|part| ranges.iter().any(|(start, end)| part.touches(*start, *end)));
        parts.sort_by(|left, right| left.order().cmp(right.order()));
        Ok(Snapshot { parts: parts.into(), manifest: view.manifest })
    }

    /// The parts of a compacted file.
    pub(crate) async fn data_file(&self, tenant: &TenantId, file: Arc<DataFile>) -> Result<Arc<[Arc<Part>]>, ReadError> {
        let key = file.key(tenant);
        if let Some(open) = self.caches.file(&key) {
            return Ok(open.parts);
        }
        let footer = self.read_footer(&key, file.size).await?;
        let open = OpenFile { key, size: file.size, footer: Arc::new(footer), data: Some(file) };
        Ok(self.caches.keep_file(&Arc::new(open)).parts)
    }

    /// Visible segment parts of all tenants.
    pub fn segment_count(&self) -> usize {
        self.tenants.read().values().map(|tenant| tenant.view().segments.len()).sum()
    }

    /// Bytes of rows kept in memory.
    pub fn recent_bytes(&self) -> usize {
        self.recent.lock().held()
    }

    /// Bytes of footers and text indexes kept in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.caches.bytes()
    }

    /// Bytes read from the store so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Reads that found other bytes than were stored.
    pub fn checksum_failures(&self) -> u64 {
        self.checksum_failures.load(Ordering::Relaxed)
    }

    /// Counts a file that does not check.
    fn unread(&self, key: &str, error: FileError) -> ReadError {
        let error = ReadError::file(key, error);
        if error.is_damage() {
            self.checksum_failures.fetch_add(1, Ordering::Relaxed);
        }
        error
    }

    /// Fetches the wanted columns of some pages of a part, from memory, the cache on disk or the store; decodes nothing.
    pub async fn fetch(&self, part: &Part, pages: impl IntoIterator<Item = usize> + Clone, wanted: Wanted) -> Result<Pages, ReadError> {
        self.fetch_from(&self.store, part, pages, wanted).await
    }

    /// The same for a reader who has his share of reads.
    pub async fn fetch_by(
        &self,
        share: &ReadShare,
        part: &Part,
        pages: impl IntoIterator<Item = usize> + Clone,
        wanted: Wanted,
    ) -> Result<Pages, ReadError> {
        self.fetch_from(&self.store.read_by(share), part, pages, wanted).await
    }

    async fn fetch_from(
        &self,
        store: &Store,
        part: &Part,
        pages: impl IntoIterator<Item = usize> + Clone,
        wanted: Wanted,
    ) -> Result<Pages, ReadError> {
        if let Some(rows) = part.recent() {
            return Ok(Pages::Recent(rows));
        }
        let plan = FetchPlan::new(&part.file().footer, part.row_group(), pages, wanted);
        let open = |bytes: &[Bytes]| {
            let pages = plan.fetched(bytes)?;
            if store.has_disk_cache() {
                pages.check_sums()?;
            }
            Ok(pages)
        };
        Ok(Pages::Stored(self.opened(store, part.file(), &plan.ranges, open).await?))
    }

    /// The same for who reads a part once and for all: it is not worth a place in the cache on disk.
    pub(crate) async fn fetch_once(
        &self,
        part: &Part,
        pages: impl IntoIterator<Item = usize> + Clone,
        wanted: Wanted,
    ) -> Result<Pages, ReadError> {
        if let Some(rows) = part.recent() {
            return Ok(Pages::Recent(rows));
        }
        let plan = FetchPlan::new(&part.file().footer, part.row_group(), pages, wanted);
        let fetched = self.store.ranges(part.key(), &plan.ranges).await?;
        self.read_bytes.fetch_add(plan.bytes(), Ordering::Relaxed);
        Ok(Pages::Stored(plan.fetched(&fetched).map_err(|error| self.unread(part.key(), error))?))
    }

    /// Reads ranges of pages of a file and opens them; once more and from the store if they do not check, as the cache on disk keeps what it was given.
    async fn opened<T>(
        &self,
        store: &Store,
        file: &OpenFile,
        ranges: &[Range<u64>],
        open: impl Fn(&[Bytes]) -> Result<T, FileError>,
    ) -> Result<T, ReadError> {
        let (bytes, from_store) = store.cached_ranges((&file.key, file.size), Content::Rows, ranges).await?;
        self.read_bytes.fetch_add(from_store, Ordering::Relaxed);
        let error = match open(&bytes) {
            Ok(opened) => return Ok(opened),
            Err(error) => self.unread(&file.key, error),
        };
        if !error.is_damage() {
            return Err(error);
        }
        match self.ranges_anew((&file.key, file.size), Content::Rows, ranges).await? {
            Some(bytes) => open(&bytes).map_err(|error| self.unread(&file.key, error)),
            None => Err(error),
        }
    }

    async fn ranges_anew(
        &self,
        (key, size): (&str, u64),
        content: Content,
        ranges: &[Range<u64>],
    ) -> Result<Option<Vec<Bytes>>, ReadError> {
        let Some((bytes, from_store)) = self.store.ranges_anew((key, size), content, ranges).await? else { return Ok(None) };
        tracing::warn!(key, "bytes of an object did not check and were read again from the store, in place of those in the cache on disk");
        self.read_bytes.fetch_add(from_store, Ordering::Relaxed);
        Ok(Some(bytes))
    }

    async fn index_ranges(&self, store: &Store, file: &OpenFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        let (bytes, from_store) = store.cached_ranges((&file.key, file.size), Content::Index, ranges).await?;
        self.read_bytes.fetch_add(from_store, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn range(&self, store: &Store, file: &OpenFile, range: Range<u64>) -> Result<Bytes, ReadError> {
        let mut fetched = self.index_ranges(store, file, std::slice::from_ref(&range)).await?;
        Ok(fetched.pop().unwrap_or_default())
    }

    pub(crate) async fn read_footer(&self, key: &str, size: u64) -> Result<FileFooter, ReadError> {
        let mut length = TAIL_GUESS;
        loop {
            let range = size.saturating_sub(length)..size;
            let (tail, from_store) = self.store.cached_ranges((key, size), Content::Index, std::slice::from_ref(&range)).await?;
            self.read_bytes.fetch_add(from_store, Ordering::Relaxed);
            let parsed = match self.parse_tail(key, size, &tail) {
                Err(error) if error.is_damage() => match self.ranges_anew((key, size), Content::Index, std::slice::from_ref(&range)).await?
                {
                    Some(tail) => self.parse_tail(key, size, &tail),
                    None => Err(error),
                },
                parsed => parsed,
            };
            match parsed? {
                Tail::Footer(file) => return Ok(file.footer),
                Tail::NeedBytes(needed) => length = needed,
            }
        }
    }

    fn parse_tail(&self, key: &str, size: u64, tail: &[Bytes]) -> Result<Tail, ReadError> {
        parse_tail(tail.first().unwrap_or(&Bytes::new()), size).map_err(|error| self.unread(key, error))
    }
}

fn read_error(error: LoadError) -> ReadError {
    match error {
        LoadError::Read(error) => error,
        other => ReadError::Manifest { reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
