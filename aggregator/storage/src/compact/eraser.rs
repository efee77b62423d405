//! Does what retention and delete requests ask of the files that compaction does not touch: drops whole files, rewrites others, and says of a
//! request that it is processed once nothing of it is left.
//!
//! A file is never changed: a rewrite makes another one and replaces it by a commit. What a commit drops stays in the store for a day. Each call does
//! one piece of work; whatever fails, the files stay, and what they hold of a request stays hidden by the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::catalog::Part;
use crate::compact::compactor::{Compactor, READ_AHEAD};
use crate::compact::deletion::{self, Named};
use crate::compact::erasure::Erasure;
use crate::compact::error::CompactError;
use crate::compact::retention::{self, Fate, RetentionEdges, Span};
use crate::compact::source::Source;
use crate::entry::TenantId;
use crate::error::ReadError;
use crate::manifest::{Change, DataFile, FileId, FileReplacement, ManifestState, RetireReason, Tombstone, TombstoneId};

/// What was done, for metrics.
#[derive(Debug, Default)]
pub struct RetentionCounters {
    pub dropped_files: AtomicU64,
    /// As stored.
    pub dropped_bytes: AtomicU64,
    pub rewritten_files: AtomicU64,
    /// As stored, before.
    pub rewritten_bytes: AtomicU64,
    pub processed_requests: AtomicU64,
    pub failures: AtomicU64,
}

/// What retention did to a tenant's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    pub dropped: usize,
    pub rewritten: usize,
    /// Bytes of these files as they were stored.
    pub bytes: u64,
    /// Files that are still to be rewritten.
    pub remaining: usize,
}

/// What was done for delete requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// A file without the rows that requests name took the place of this one.
    Rewrote { request: TombstoneId, file: FileId, bytes: u64 },
    /// Nothing is left of it.
    Processed { request: TombstoneId },
}

impl Compactor {
    pub fn retention_counters(&self) -> &Arc<RetentionCounters> {
        &self.retention
    }

    /// Drops the files of a tenant that are wholly past their retention, or rewrites one that is so in part; `None` if there was none. `edges` and
    /// `erasure` speak of the same retention.
    pub async fn expire(
        &self,
        tenant: &TenantId,
        edges: RetentionEdges,
        erasure: Arc<dyn Erasure>,
    ) -> Result<Option<Expired>, CompactError> {
        self.noted(self.expire_next(tenant, edges, erasure).await)
    }

    async fn expire_next(
        &self,
        tenant: &TenantId,
        edges: RetentionEdges,
        erasure: Arc<dyn Erasure>,
    ) -> Result<Option<Expired>, CompactError> {
        self.catalog.check_manifest(tenant)?;
        let manifest = self.catalog.manifest(tenant);
        let (mut dead, mut partly) = (Vec::new(), Vec::new());
        for file in manifest.files() {
            let fate = match edges.fate(file) {
                Some(fate) => fate,
                None => self.fate(tenant, file, erasure.as_ref()).await?,
            };
            match fate {
                Fate::Keep => {}
                Fate::Drop => dead.push(file.clone()),
                Fate::Rewrite => partly.push(file.clone()),
            }
        }
        if !dead.is_empty() {
            let bytes = dead.iter().map(|file| file.size).sum();
            self.drop_files(tenant, dead.iter().map(|file| file.id).collect(), bytes, RetireReason::Retention).await?;
            return Ok(Some(Expired { dropped: dead.len(), bytes, remaining: partly.len(), ..Expired::default() }));
        }
        let Some(file) = partly.first() else { return Ok(None) };
        self.rewrite(tenant, file, RetireReason::Retention, erasure).await?;
        Ok(Some(Expired { rewritten: 1, bytes: file.size, remaining: partly.len() - 1, ..Expired::default() }))
    }

    async fn fate(&self, tenant: &TenantId, file: &Arc<DataFile>, erasure: &dyn Erasure) -> Result<Fate, ReadError> {
        let parts = self.catalog.data_file(tenant, file.clone()).await?;
        let spans = parts.iter().flat_map(|part| &part.table().streams).map(|span| Span {
            oldest: span.min_timestamp,
            newest: span.max_timestamp,
            bytes: span.bytes,
            keep_from: erasure.of_stream(&span.labels).keep_from,
        });
        Ok(retention::fate(spans))
    }

    /// Drops whole files for their size. Those that are no longer live are passed over; returns how many were dropped.
    pub async fn drop_for_size(&self, tenant: &TenantId, files: &[FileId]) -> Result<usize, CompactError> {
        let manifest = self.catalog.manifest(tenant);
        let live: Vec<&Arc<DataFile>> = files.iter().filter_map(|id| manifest.file(*id)).collect();
        if live.is_empty() {
            return Ok(0);
        }
        let bytes = live.iter().map(|file| file.size).sum();
        let dropped = self.drop_files(tenant, live.iter().map(|file| file.id).collect(), bytes, RetireReason::Retention).await;
        self.noted(dropped.map(|()| live.len()))
    }

    /// Does the next piece for delete requests; `None` if there is nothing to do, or it has to wait for a fold.
    pub async fn erase(&self, tenant: &TenantId, erasure: Arc<dyn Erasure>) -> Result<Option<Erased>, CompactError> {
        self.noted(self.erase_next(tenant, erasure).await)
    }

    /// How much of what a request may name is erased by now, in percent of its files; 100 only once it is processed.
    pub fn erased_percent(&self, manifest: &ManifestState, request: &Tombstone) -> u8 {
        if request.processed_at.is_some() {
            return 100;
        }
        let meets = |file: &&Arc<DataFile>| request.meets(file);
        let (mut files, mut left) = (0usize, 0usize);
        let looked_through = self.looked_through.lock();
        for file in manifest.files().filter(meets) {
            files += 1;
            left += usize::from(request.concerns(file) && !looked_through.contains(&(request.id, file.id)));
        }
        let percent = (files - left) * 100 / files.max(1);
        u8::try_from(percent.min(99)).unwrap_or(99)
    }

    async fn erase_next(&self, tenant: &TenantId, erasure: Arc<dyn Erasure>) -> Result<Option<Erased>, CompactError> {
        self.catalog.check_manifest(tenant)?;
        let (segments, manifest) = self.catalog.segments_and_manifest(tenant);
        for tombstone in deletion::unprocessed(&manifest, erasure.as_ref()) {
            let request = tombstone.id;
            let concerned = deletion::concerned(&manifest, &tombstone);
            for file in &concerned {
                if self.holds_any(tenant, file, &tombstone, erasure.as_ref()).await? {
                    self.rewrite(tenant, file, RetireReason::Deleted, erasure).await?;
                    return Ok(Some(Erased::Rewrote { request, file: file.id, bytes: file.size }));
                }
            }
            let mut waiting = segments.iter().flat_map(|part| &part.table().streams);
            if waiting.any(|span| deletion::named(span, request, erasure.as_ref()) != Named::No) {
                continue;
            }
            let clean: Vec<FileId> = concerned.iter().map(|file| file.id).collect();
            self.catalog.commit(tenant, |_| Ok(Change::MarkProcessed { tombstone: request, clean: clean.clone() })).await?;
            self.looked_through.lock().retain(|(looked_for, _)| *looked_for != request);
            self.retention.processed_requests.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(Erased::Processed { request }));
        }
        Ok(None)
    }

    /// Whether a file holds a row that a request names. One that was looked through in vain is not read again.
    async fn holds_any(
        &self,
        tenant: &TenantId,
        file: &Arc<DataFile>,
        tombstone: &Tombstone,
        erasure: &dyn Erasure,
    ) -> Result<bool, ReadError> {
        let looked = (tombstone.id, file.id);
        if self.looked_through.lock().contains(&looked) {
            return Ok(false);
        }
        let parts = self.catalog.data_file(tenant, file.clone()).await?;
        let spans: Vec<_> =
            parts.iter().flat_map(|part| &part.table().streams).map(|span| (span, deletion::named(span, looked.0, erasure))).collect();
        if spans.iter().any(|(_, named)| *named == Named::AllLines) {
            return Ok(true);
        }
        let mut source = Source::new(self.catalog.clone(), parts.to_vec(), READ_AHEAD);
        for (span, _) in spans.iter().filter(|(_, named)| *named == Named::SomeLines) {
            let erased = erasure.of_stream(&span.labels);
            for mut stretch in source.stretches(span.id, tombstone.start, tombstone.end) {
                while let Some(run) = source.next(&mut stretch).await? {
                    let mut ranges = erased.named_by(looked.0, run.timestamps[0], run.timestamps[run.rows() - 1]);
                    let lines = run.lines()?;
                    if ranges.any(|range| (0..run.rows()).any(|row| range.names(run.timestamps[row], lines.line(row)))) {
                        return Ok(true);
                    }
                }
            }
        }
        self.looked_through.lock().insert(looked);
        Ok(false)
    }

    /// Replaces a file by one without what is erased, or by nothing if that is all of it.
    async fn rewrite(
        &self,
        tenant: &TenantId,
        file: &Arc<DataFile>,
        reason: RetireReason,
        erasure: Arc<dyn Erasure>,
    ) -> Result<(), CompactError> {
        let parts = self.catalog.data_file(tenant, file.clone()).await?;
        if is_all_erased(&parts, erasure.as_ref()) {
            return self.drop_files(tenant, vec![file.id], file.size, reason).await;
        }
        let piece = self.work.begin("rewriting a file without what is erased", tenant, file.raw_bytes);
        let source = Source::new(self.catalog.clone(), parts.to_vec(), READ_AHEAD).for_piece(&piece);
        let (add, ..) = self.write(tenant, vec![(source, None)], file.level, file.arrived, erasure).await?;
        let replacement = FileReplacement { remove: vec![file.id], reason, add, relied_on: Vec::new() };
        self.catalog.commit(tenant, |_| Ok(Change::ReplaceFiles(replacement.clone()))).await?;
        self.retention.rewritten_files.fetch_add(1, Ordering::Relaxed);
        self.retention.rewritten_bytes.fetch_add(file.size, Ordering::Relaxed);
        Ok(())
    }

    async fn drop_files(&self, tenant: &TenantId, remove: Vec<FileId>, bytes: u64, reason: RetireReason) -> Result<(), CompactError> {
        let count = remove.len() as u64;
        let replacement = FileReplacement { remove, reason, add: Vec::new(), relied_on: Vec::new() };
        self.catalog.commit(tenant, |_| Ok(Change::ReplaceFiles(replacement.clone()))).await?;
        self.retention.dropped_files.fetch_add(count, Ordering::Relaxed);
        self.retention.dropped_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn noted<T>(&self, outcome: Result<T, CompactError>) -> Result<T, CompactError> {
        if outcome.is_err() {
            self.retention.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

fn is_all_erased(parts: &[Arc<Part>], erasure: &dyn Erasure) -> bool {
    let mut spans = parts.iter().flat_map(|part| &part.table().streams);
    spans.all(|span| erasure.of_stream(&span.labels).erases_all(span.min_timestamp, span.max_timestamp))
}
