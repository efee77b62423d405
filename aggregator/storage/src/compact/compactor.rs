//! Does one piece of compaction at a time: a fold of segments, or a merge of files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tailwater_textindex::{FillLimit, FillLimits, IndexParameters};

use crate::catalog::{Catalog, Part};
use crate::compact::eraser::RetentionCounters;
use crate::compact::erasure::Erasure;
use crate::compact::error::CompactError;
use crate::compact::merge::LeftOut;
use crate::compact::output::FileSpec;
use crate::compact::plan::{self, CompactionOptions, FoldPlan, FoldWhen, MergePlan};
use crate::compact::progress::CompactionWork;
use crate::compact::source::Source;
use crate::compact::streams::{Streams, merge_streams};
use crate::compact::whole_pages::{PlanesOfPages, planes_of_whole_pages};
use crate::compact::writer::DayFiles;
use crate::entry::{StreamId, TenantId};
use crate::error::ReadError;
use crate::manifest::{
    Change, Clock, CommitError, Conflict, DataFile, FileId, FileReplacement, ManifestState, RetireReason, SegmentFold, TombstoneId, is_past,
};
use crate::store::Day;

/// Bytes that all inputs together read ahead.
pub(super) const READ_AHEAD: u64 = 8 << 20;

/// How often a fold is made when another process has folded entries of the same time each time meanwhile.
const FOLD_ATTEMPTS: u32 = 4;

/// A damaged file is tried again after this: the damage may have been of one answer of the store, or the object may have been restored.
const DAMAGED_LEFT_ALONE: Duration = Duration::from_secs(3600);

/// Compacts what a catalog shows.
#[derive(Clone)]
pub struct Compactor {
    pub(super) catalog: Arc<Catalog>,
    options: CompactionOptions,
    clock: Clock,
    counters: Arc<CompactionCounters>,
    pub(super) work: Arc<CompactionWork>,
    pub(super) retention: Arc<RetentionCounters>,
    pub(super) looked_through: Arc<Mutex<HashSet<(TombstoneId, FileId)>>>,
    /// Files that were found damaged, and when (ns): no input of a merge for a while, so that others are merged.
    damaged: Arc<Mutex<HashMap<FileId, i64>>>,
}

/// What was done, for metrics.
#[derive(Debug, Default)]
pub struct CompactionCounters {
    pub folds: AtomicU64,
    pub merges: AtomicU64,
    pub failures: AtomicU64,
    pub raw_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub duplicates: AtomicU64,
    pub erased_rows: AtomicU64,
    /// Pages that merges took over as they were stored.
    pub whole_pages: AtomicU64,
}

/// A piece of work that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Of the files that were made.
    pub level: u8,
    pub inputs: usize,
    pub files: usize,
    pub raw_bytes: u64,
    pub written_bytes: u64,
    pub duplicates: u64,
}

/// zstd level of files that are not final.
const FIRST_LEVEL: i32 = 1;

/// How full the planes of ids may be in final files.
const FINAL_ID_FILL: f64 = 0.88;

impl Compactor {
    pub fn new(catalog: Arc<Catalog>, options: CompactionOptions, clock: Clock) -> Self {
        Self {
            catalog,
            options,
            clock,
            counters: Arc::default(),
            work: Arc::default(),
            retention: Arc::default(),
            looked_through: Arc::default(),
            damaged: Arc::default(),
        }
    }

    pub fn counters(&self) -> &Arc<CompactionCounters> {
        &self.counters
    }

    /// How far the merge or the rewrite under way is.
    pub fn work(&self) -> &CompactionWork {
        &self.work
    }

    /// Bytes of lines of a tenant that wait to be compacted.
    pub fn pending_bytes(&self, tenant: &TenantId) -> u64 {
        let manifest = self.catalog.manifest(tenant);
        plan::pending_bytes(&self.catalog.segments(tenant), &manifest, &self.options, (self.clock)())
    }

    /// Folds a tenant's segments if it is time; `None` if there was nothing to do.
    pub async fn fold(&self, tenant: &TenantId, erasure: Arc<dyn Erasure>, when: FoldWhen) -> Result<Option<Work>, CompactError> {
        let options = when.adapt(&self.options);
        self.catalog.check_manifest(tenant)?;
        for attempt in 1.. {
            let (segments, manifest) = self.catalog.segments_and_manifest(tenant);
            let plan = plan::fold(&segments, &manifest, |writer| self.catalog.known_up_to(writer), &options, (self.clock)());
            let Some(plan) = plan else { break };
            match self.fold_planned(tenant, &manifest, plan, erasure.clone()).await {
                // The commit that failed has shown what came; now that is compared as well.
                Err(CompactError::Commit(CommitError::Conflict { conflict: Conflict::Other(_), .. })) if attempt < FOLD_ATTEMPTS => {}
                outcome => return self.counted(outcome).map(Some),
            }
        }
        Ok(None)
    }

    /// Merges data files of a day if it is time, of a day that `takes` names; `None` if there was nothing to do.
    pub async fn merge(
        &self,
        tenant: &TenantId,
        erasure: Arc<dyn Erasure>,
        takes: impl Fn(Day) -> bool,
    ) -> Result<Option<Work>, CompactError> {
        self.catalog.check_manifest(tenant)?;
        let manifest = self.catalog.manifest(tenant);
        let now = (self.clock)();
        let is_damaged = |id| self.damaged.lock().get(&id).is_some_and(|since| !is_past(*since, DAMAGED_LEFT_ALONE, now));
        let is_input = |file: &DataFile| takes(file.day) && !is_damaged(file.id);
        let Some(plan) = plan::merge(&manifest, is_input, &self.options, now) else { return Ok(None) };
        let outcome = self.merge_planned(tenant, &plan, erasure).await;
        if let Err(CompactError::Read(ReadError::File { key, .. })) = &outcome {
            let damaged = plan.inputs.iter().filter(|file| file.key(tenant) == *key);
            self.damaged.lock().extend(damaged.map(|file| (file.id, now)));
        }
        self.counted(outcome).map(Some)
    }

    fn counted(&self, outcome: Result<Work, CompactError>) -> Result<Work, CompactError> {
        let counters = &self.counters;
        match &outcome {
            Ok(work) => {
                if work.level == 1 { &counters.folds } else { &counters.merges }.fetch_add(1, Ordering::Relaxed);
                counters.raw_bytes.fetch_add(work.raw_bytes, Ordering::Relaxed);
                counters.written_bytes.fetch_add(work.written_bytes, Ordering::Relaxed);
                counters.duplicates.fetch_add(work.duplicates, Ordering::Relaxed);
            }
            Err(_) => drop(counters.failures.fetch_add(1, Ordering::Relaxed)),
        }
        outcome
    }

    async fn fold_planned(
        &self,
        tenant: &TenantId,
        manifest: &ManifestState,
        plan: FoldPlan,
        erasure: Arc<dyn Erasure>,
    ) -> Result<Work, CompactError> {
        let witnesses = self.witnesses(tenant, manifest, &plan).await?;
        let (arrived, inputs) = (first_flush(&plan), plan.objects.len());
        let sources: Vec<(Source, Option<FileId>)> = witnesses
            .into_iter()
            .map(|(id, parts)| (parts, Some(id)))
            .chain(plan.objects.into_iter().map(|parts| (parts, None)))
            .map(|(parts, witness)| (Source::new(self.catalog.clone(), parts, 0), witness))
            .collect();
        let (add, left_out, relied_on) = self.write(tenant, sources, 1, arrived, erasure).await?;
        let work = work(1, inputs, &add, &left_out);
        let fold = SegmentFold { writers: plan.writers, add, relied_on };
        let change = |now: &ManifestState| match unseen(manifest, now, &fold.add) {
            Some(file) => Err(Conflict::Other(format!("file `{file}` came meanwhile: entries of it may have been folded a second time"))),
            None => Ok(Change::FoldSegments(fold.clone())),
        };
        self.catalog.commit(tenant, change).await?;
        Ok(work)
    }

    async fn merge_planned(&self, tenant: &TenantId, plan: &MergePlan, erasure: Arc<dyn Erasure>) -> Result<Work, CompactError> {
        let read_ahead = READ_AHEAD / plan.inputs.len() as u64;
        let piece = self.work.begin("merging files", tenant, plan.inputs.iter().map(|file| file.raw_bytes).sum());
        let mut sources = Vec::new();
        for file in &plan.inputs {
            let parts = self.catalog.data_file(tenant, file.clone()).await?;
            let planes = self.planes_of_whole_pages(&parts).await?;
            let source = Source::new(self.catalog.clone(), parts.to_vec(), read_ahead).with_whole_pages(planes).for_piece(&piece);
            sources.push((source, None));
        }
        let arrived = plan.inputs.iter().map(|file| file.arrived).min().unwrap_or_default();
        let (add, left_out, _) = self.write(tenant, sources, 2, arrived, erasure).await?;
        let work = work(2, plan.inputs.len(), &add, &left_out);
        let remove = plan.inputs.iter().map(|file| file.id).collect();
        let replacement = FileReplacement { remove, reason: RetireReason::Compacted, add, relied_on: Vec::new() };
        self.catalog.commit(tenant, |_| Ok(Change::ReplaceFiles(replacement.clone()))).await?;
        Ok(work)
    }

    /// Where final files are compressed as the files that become them, pages may go over as they are.
    async fn planes_of_whole_pages(&self, parts: &[Arc<Part>]) -> Result<PlanesOfPages, ReadError> {
        if self.options.final_level != FIRST_LEVEL {
            return Ok(PlanesOfPages::new());
        }
        planes_of_whole_pages(&self.catalog, parts, &IndexParameters::new(fill_limits(2))).await
    }

    /// Live files that may hold entries of the segments to fold.
    async fn witnesses(
        &self,
        tenant: &TenantId,
        manifest: &ManifestState,
        plan: &FoldPlan,
    ) -> Result<Vec<(FileId, Vec<Arc<Part>>)>, CompactError> {
        let spans = || plan.objects.iter().flatten().flat_map(|part| &part.table().streams);
        let mut intervals: BTreeMap<StreamId, (i64, i64)> = BTreeMap::new();
        for span in spans() {
            let interval = intervals.entry(span.id).or_insert((span.min_timestamp, span.max_timestamp));
            *interval = (interval.0.min(span.min_timestamp), interval.1.max(span.max_timestamp));
        }
        let first = intervals.values().map(|interval| interval.0).min().unwrap_or(i64::MAX);
        let last = intervals.values().map(|interval| interval.1).max().unwrap_or(i64::MIN);
        let mut files: Vec<Arc<DataFile>> =
            manifest.files().filter(|file| file.min_timestamp <= last && file.max_timestamp >= first).cloned().collect();
        files.sort_by_key(|file| (file.arrived, file.id));
        let mut witnesses = Vec::new();
        for file in files {
            let parts = self.catalog.data_file(tenant, file.clone()).await?;
            let meets = parts.iter().flat_map(|part| &part.table().streams).any(|span| {
                intervals.get(&span.id).is_some_and(|(first, last)| span.min_timestamp <= *last && span.max_timestamp >= *first)
            });
            if meets {
                witnesses.push((file.id, parts.to_vec()));
            }
        }
        Ok(witnesses)
    }

    /// Merges the sources, which stand in the order in which they count, into files. Those with an id are witnesses.
    pub(super) async fn write(
        &self,
        tenant: &TenantId,
        mut sources: Vec<(Source, Option<FileId>)>,
        level: u8,
        arrived: i64,
        erasure: Arc<dyn Erasure>,
    ) -> Result<(Vec<DataFile>, LeftOut, Vec<FileId>), CompactError> {
        let spec = FileSpec {
            tenant: tenant.clone(),
            day: Day::of(0),
            level,
            zstd_level: if level > 1 { self.options.final_level } else { FIRST_LEVEL },
            fill: Some(fill_limits(level)),
            arrived,
            created: (self.clock)(),
            as_of: erasure.as_of(),
        };
        let mut files = DayFiles::new(self.catalog.store().clone(), spec, self.options.merge_bytes, erasure);
        match merge_streams(&mut sources, &Streams::all(), &mut files).await {
            Ok(left_out) => {
                self.counters.erased_rows.fetch_add(files.erased, Ordering::Relaxed);
                let relied_on = left_out.relied_on.iter().filter_map(|source| sources[*source].1).collect();
                drop(sources);
                let written = files.finish().await?;
                self.counters.whole_pages.fetch_add(written.whole_pages, Ordering::Relaxed);
                Ok((written.files, left_out, relied_on))
            }
            Err(error) => {
                files.abort().await;
                Err(error)
            }
        }
    }
}

/// A file that may hold entries of `added` and that `base`, with whose files these were compared, did not have: another process folded
/// segments of other writers.
fn unseen(base: &ManifestState, now: &ManifestState, added: &[DataFile]) -> Option<FileId> {
    let meets =
        |file: &DataFile| added.iter().any(|own| own.min_timestamp <= file.max_timestamp && file.min_timestamp <= own.max_timestamp);
    let folded = now.files().find(|file| file.level < 2 && !base.names(file.id) && meets(file)).map(|file| file.id);
    // What was merged of files that are known holds nothing new.
    folded.or_else(|| now.retired().map(|retired| retired.id).find(|id| !base.names(*id)))
}

/// Final files trade some pages read in vain for a third of the index's bytes; level-1 files live for a day at most.
fn fill_limits(level: u8) -> FillLimits {
    let limits = FillLimits::default();
    match FillLimit::from_ratio(FINAL_ID_FILL) {
        Ok(id) if level > 1 => FillLimits { id, ..limits },
        _ => limits,
    }
}

fn work(level: u8, inputs: usize, files: &[DataFile], left_out: &LeftOut) -> Work {
    Work {
        level,
        inputs,
        files: files.len(),
        raw_bytes: files.iter().map(|file| file.raw_bytes).sum(),
        written_bytes: files.iter().map(|file| file.size).sum(),
        duplicates: left_out.duplicates,
    }
}

fn first_flush(plan: &FoldPlan) -> i64 {
    plan.objects.iter().flatten().filter_map(|part| part.file().flushed()).min().unwrap_or_default()
}
