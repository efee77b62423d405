//! The thread of background work: one piece at a time, tenant by tenant, the most urgent first; new segments are folded also while files are merged.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::{CompactError, CompactionOptions, Compactor, Erasure, FoldWhen, Work};
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest::{self, CleanError, CleanProgress, Cleaned, Clock, RetireDelays};
use tokio_util::sync::CancellationToken;

use crate::compaction::progress::CompactionProgress;
use crate::compaction::retire::RetireAfter;
use crate::compaction::troubles::Troubles;
use crate::peers::Peers;
use crate::retention::{RetentionProgress, RetentionRules, RetentionWork};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(500);

/// How often replaced objects are looked at.
const CLEAN_EVERY: Duration = Duration::from_secs(10);

/// How often old manifest versions and orphans are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Manifest versions are kept so long.
const VERSIONS_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Writers that are gone for so long are forgotten.
const WRITER_IDLE: Duration = Duration::from_secs(86_400);

/// Objects that no version names are deleted when they are so old.
const ORPHAN_AGE: Duration = Duration::from_secs(86_400);

/// How often long clean-ups tell where they are.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct WorkOptions {
    pub compaction: CompactionOptions,
    pub retire: RetireDelays,
    /// Stored bytes of all tenants' data files; 0: no limit.
    pub size_budget: u64,
}

/// Runs until it is dropped or stopped.
pub struct BackgroundWork {
    compactor: Compactor,
    retention: Arc<RetentionProgress>,
    progress: Arc<CompactionProgress>,
    stopping: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundWork {
    pub fn start(
        catalog: Arc<Catalog>,
        rules: Arc<RetentionRules>,
        peers: Peers,
        options: WorkOptions,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let compactor = Compactor::new(catalog.clone(), options.compaction.clone(), clock.clone());
        let limits = rules.limits().clone();
        let retention = RetentionWork::new(catalog.clone(), compactor.clone(), rules, clock.clone(), options.size_budget);
        let kept = retention.progress().clone();
        let progress = Arc::new(CompactionProgress::default());
        let stopping = CancellationToken::new();
        let worker = Worker {
            catalog,
            compactor: compactor.clone(),
            retention,
            peers,
            retire: RetireAfter::new(options.retire, limits),
            clock,
            progress: progress.clone(),
            stopping: stopping.clone(),
            cleaned: None,
            swept: None,
            troubles: Troubles::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("compactor".to_owned()).spawn(move || runtime.block_on(worker.run()))?;
        Ok(Self { compactor, retention: kept, progress, stopping, thread: Some(thread) })
    }

    pub fn compactor(&self) -> &Compactor {
        &self.compactor
    }

    /// Whether compaction gets on.
    pub fn progress(&self) -> &Arc<CompactionProgress> {
        &self.progress
    }

    /// How far retention and deletion are.
    pub fn retention(&self) -> &Arc<RetentionProgress> {
        &self.retention
    }

    /// Ends it after the piece of work under way is given up.
    pub async fn stop(&mut self) {
        self.stopping.cancel();
        let Some(thread) = self.thread.take() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::warn!("the thread of background work ended with a failure");
        }
    }
}

impl Drop for BackgroundWork {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// A piece of work that succeeds or fails by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Fold(TenantId),
    Retain(TenantId),
    Merge(TenantId),
    FitSizes,
    Clean,
    CleanFiles(TenantId),
    Sweep(TenantId),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fold(tenant) => write!(f, "folding segments of tenant `{tenant}`"),
            Self::Retain(tenant) => write!(f, "retention and deletion of tenant `{tenant}`"),
            Self::Merge(tenant) => write!(f, "merging files of tenant `{tenant}`"),
            Self::FitSizes => f.write_str("dropping files for their size"),
            Self::Clean => f.write_str("deleting folded segments"),
            Self::CleanFiles(tenant) => write!(f, "deleting replaced files of tenant `{tenant}`"),
            Self::Sweep(tenant) => write!(f, "deleting old manifest versions and orphans of tenant `{tenant}`"),
        }
    }
}

struct Worker {
    catalog: Arc<Catalog>,
    compactor: Compactor,
    retention: RetentionWork,
    peers: Peers,
    retire: RetireAfter,
    clock: Clock,
    progress: Arc<CompactionProgress>,
    stopping: CancellationToken,
    cleaned: Option<Instant>,
    swept: Option<Instant>,
    troubles: Troubles<Piece>,
}

impl Worker {
    async fn run(mut self) {
        let stopping = self.stopping.clone();
        // A piece of work that is cut off leaves inputs visible and outputs to be swept.
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        loop {
            if self.round().await {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    /// Does what is due once; true if there may be more.
    async fn round(&mut self) -> bool {
        let mut did_any = false;
        for tenant in self.catalog.tenants() {
            did_any |= self.piece_for(&tenant).await;
        }
        if self.owns(&Piece::FitSizes) {
            let fitted = self.retention.fit_sizes().await;
            self.troubles.note(Piece::FitSizes, fitted);
        }
        // What failed waits for its next attempt: that nothing was done then does not mean that all is done.
        if !did_any && !self.troubles.any(|piece| matches!(piece, Piece::Retain(_) | Piece::FitSizes)) {
            self.retention.done();
        }
        if !self.troubles.any(|piece| matches!(piece, Piece::Fold(_) | Piece::Merge(_))) {
            self.progress.succeeded((self.clock)());
        }
        let retire = self.retire.delays();
        if self.cleaned.is_none_or(|last| last.elapsed() >= CLEAN_EVERY.min(retire.compacted)) {
            self.cleaned = Some(Instant::now());
            self.clean(&retire).await;
        }
        if self.swept.is_none_or(|last| last.elapsed() >= SWEEP_EVERY) {
            self.swept = Some(Instant::now());
            self.sweep().await;
        }
        did_any
    }

    /// The next piece for a tenant: new segments first, then what is to go, then merges. True if there may be more. What fails keeps nothing else
    /// from being done.
    async fn piece_for(&mut self, tenant: &TenantId) -> bool {
        for piece in [Piece::Fold(tenant.clone()), Piece::Retain(tenant.clone()), Piece::Merge(tenant.clone())] {
            if self.troubles.waits(&piece) || !self.owns(&piece) {
                continue;
            }
            let outcome = self.attempt(&piece, tenant).await;
            if self.troubles.note(piece, outcome) == Some(true) {
                return true;
            }
        }
        false
    }

    /// Whether a piece is this replica's. Merges are owned day by day.
    fn owns(&self, piece: &Piece) -> bool {
        matches!(piece, Piece::Merge(_)) || self.peers.owns(&piece.to_string())
    }

    async fn attempt(&mut self, piece: &Piece, tenant: &TenantId) -> Result<bool, CompactError> {
        match piece {
            Piece::Fold(_) => {
                let erasure = self.retention.erasure(tenant);
                self.fold(tenant, erasure, FoldWhen::Due).await
            }
            Piece::Merge(_) => self.merge(tenant).await,
            _ => self.retention.step(tenant).await,
        }
    }

    async fn fold(&self, tenant: &TenantId, erasure: Arc<dyn Erasure>, when: FoldWhen) -> Result<bool, CompactError> {
        let work = self.compactor.fold(tenant, erasure, when).await?;
        Ok(self.told(tenant, work))
    }

    /// Merges files of a tenant. That takes seconds, in which the rows of new segments would pile up in memory: they are folded meanwhile.
    async fn merge(&mut self, tenant: &TenantId) -> Result<bool, CompactError> {
        let erasure = self.retention.erasure(tenant);
        let folded: Vec<_> = self.catalog.tenants().into_iter().map(|tenant| (self.retention.erasure(&tenant), tenant)).collect();
        let merged = CancellationToken::new();
        let merge = async {
            let work = self.compactor.merge(tenant, erasure, |day| self.peers.owns(&format!("merge {tenant} {day}"))).await;
            merged.cancel();
            work
        };
        let (work, folds) = tokio::join!(merge, self.fold_until(&merged, folded));
        for (piece, outcome) in folds {
            self.troubles.note(piece, outcome);
        }
        Ok(self.told(tenant, work?))
    }

    /// Folds what is due, until something else has ended or a fold fails: then it has to wait. The last outcome of each.
    async fn fold_until(
        &self,
        ended: &CancellationToken,
        tenants: Vec<(Arc<dyn Erasure>, TenantId)>,
    ) -> HashMap<Piece, Result<bool, CompactError>> {
        let mut outcomes = HashMap::new();
        while ended.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            for (erasure, tenant) in &tenants {
                let piece = Piece::Fold(tenant.clone());
                if self.troubles.waits(&piece) || !self.owns(&piece) {
                    continue;
                }
                let outcome = self.fold(tenant, erasure.clone(), FoldWhen::BesideMerge).await;
                let has_failed = outcome.is_err();
                outcomes.insert(piece, outcome);
                if has_failed {
                    return outcomes;
                }
            }
        }
        outcomes
    }

    /// Whether there was work, which is told.
    fn told(&self, tenant: &TenantId, work: Option<Work>) -> bool {
        let Some(work) = work else { return false };
        tracing::debug!(
            %tenant, level = work.level, inputs = work.inputs, files = work.files, raw_bytes = work.raw_bytes,
            written_bytes = work.written_bytes, duplicates = work.duplicates,
            pending_bytes = self.compactor.pending_bytes(tenant), "compacted"
        );
        true
    }

    /// Deletes what was replaced long enough ago. A tenant with whom that fails keeps it from no other.
    async fn clean(&mut self, retire: &RetireDelays) {
        let now = (self.clock)();
        // Each replica deletes the segments that it knows, also those another deletes: it forgets them by that. Files have one that deletes them.
        let segments = self.catalog.delete_folded_segments(now, retire.compacted).await;
        let mut cleaned = self.troubles.note(Piece::Clean, segments).unwrap_or_default();
        for tenant in self.catalog.tenants() {
            let piece = Piece::CleanFiles(tenant.clone());
            if self.owns(&piece) {
                let files = self.clean_files(&tenant, now, retire).await;
                let files = self.troubles.note(piece, files).unwrap_or_default();
                (cleaned.objects, cleaned.bytes) = (cleaned.objects + files.objects, cleaned.bytes + files.bytes);
            }
        }
        if cleaned.objects > 0 {
            tracing::debug!(objects = cleaned.objects, bytes = cleaned.bytes, "deleted replaced objects");
        }
    }

    async fn clean_files(&self, tenant: &TenantId, now: i64, retire: &RetireDelays) -> Result<Cleaned, CleanError> {
        let log = self.catalog.manifest_log(tenant);
        let files = manifest::clean_retired(&log, now, retire, told_now_and_then(tenant, "deleting replaced files")).await?;
        self.catalog.refresh(tenant).await?;
        Ok(files)
    }

    async fn sweep(&mut self) {
        for tenant in self.catalog.tenants() {
            let piece = Piece::Sweep(tenant.clone());
            if self.owns(&piece) {
                let swept = self.sweep_tenant(&tenant).await;
                self.troubles.note(piece, swept);
            }
        }
    }

    async fn sweep_tenant(&self, tenant: &TenantId) -> Result<(), CleanError> {
        let now = (self.clock)();
        let log = self.catalog.manifest_log(tenant);
        let tell = |what| told_now_and_then(tenant, what);
        manifest::clean_versions(&log, now, VERSIONS_KEPT, tell("deleting old manifest versions")).await?;
        manifest::sweep_orphans(&log, now, ORPHAN_AGE, tell("deleting files that no manifest names")).await?;
        manifest::drop_idle_writers(&log, now, WRITER_IDLE).await?;
        Ok(())
    }
}

/// Tells how far a clean-up is, every few seconds.
fn told_now_and_then<'a>(tenant: &'a TenantId, what: &'static str) -> impl Fn(CleanProgress) + use<'a> {
    let told = Cell::new(Instant::now());
    move |CleanProgress { done, total }| {
        if told.get().elapsed() >= TELL_EVERY {
            told.set(Instant::now());
            tracing::info!(%tenant, done = done.objects, total, bytes = done.bytes, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    use object_store::memory::InMemory;
    use tailwater_faultstore::{Answer, Fault, FaultStore, Operation, Rule};
    use tailwater_storage::catalog::CacheBudget;
    use tailwater_storage::entry::{Metadata, PushBatch, StreamEntries, StreamLabels};
    use tailwater_storage::pairs::Pairs;
    use tailwater_storage::store::Store;

    use crate::clock::SystemClock;
    use crate::config::Config;
    use crate::ingest::buffer::{IngestOptions, Ingester};
    use crate::retention::RetentionOptions;

    fn push(stamp: i64) -> PushBatch {
        let mut stream = StreamEntries::new(Arc::new(StreamLabels::new(Pairs::from_pairs([("app", "a")]), None)));
        let handle = stream.intern(Metadata::default());
        stream.push(stamp, "a line", handle);
        PushBatch { tenant: TenantId::new("t"), streams: vec![stream] }
    }

    #[tokio::test]
    async fn segments_are_folded_while_a_merge_goes_on() {
        let objects = FaultStore::new(Arc::new(InMemory::new()));
        let clock: Clock = Arc::new(|| crate::clock::Clock::now(&SystemClock));
        let budget = CacheBudget { recent_rows: 1 << 20, footers: 1 << 20, index: 1 << 20 };
        let catalog = Arc::new(Catalog::new(Store::new(Arc::new(objects.clone()), ""), budget, "test", clock.clone()));
        let options = IngestOptions {
            flush_interval: Duration::from_millis(1),
            segment_bytes: 1 << 20,
            ack_timeout: Duration::from_secs(8),
            budget_bytes: 1 << 20,
        };
        let ingester = Ingester::start(catalog.clone(), Arc::new(SystemClock), options);
        let retention = RetentionOptions { cancel_period: Duration::ZERO, strict_loki: false };
        let rules = RetentionRules::new(catalog.clone(), Config::default().tenant_limits(), retention).expect("rules");
        let options = WorkOptions {
            compaction: CompactionOptions { fold_after: Duration::ZERO, merge_files: 2, ..CompactionOptions::default() },
            retire: RetireDelays::for_query_timeout(Duration::ZERO),
            size_budget: 0,
        };
        let mut work = BackgroundWork::start(catalog, Arc::new(rules), Peers::new("test"), options, clock).expect("a thread");
        let counters = work.compactor().counters().clone();
        let folds = |wanted: u64| {
            let counters = counters.clone();
            async move {
                while counters.folds.load(Ordering::Relaxed) < wanted {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        for stamp in 1..=3 {
            ingester.push(push(stamp)).await.expect("stores");
            tokio::time::timeout(Duration::from_secs(60), folds(stamp as u64)).await.expect("the segment is folded");
            // No file is read from here on, so the merge of the first two does not end; folds of later stamps need none.
            objects.script(Rule::new(Operation::Get, Fault::Refused(Answer::Never)).on("/data/").times(u64::MAX));
        }
        let ended = counters.merges.load(Ordering::Relaxed) + counters.failures.load(Ordering::Relaxed);
        assert_eq!(ended, 0, "the merge still goes on");
        work.stop().await;
    }
}
