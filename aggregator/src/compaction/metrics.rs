//! What is counted of the store and of the work on it, read when it is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::Compactor;
use tailwater_storage::entry::TenantId;
use tailwater_storage::invariants;

use crate::clock::Clock;
use crate::compaction::BackgroundWork;
use crate::compaction::progress::CompactionProgress;
use crate::metrics::Metrics;
use crate::peers::Peers;

struct StoreFigures {
    catalog: Arc<Catalog>,
    compactor: Compactor,
    progress: Arc<CompactionProgress>,
    peers: Peers,
    clock: Arc<dyn Clock>,
    /// Stored bytes that are expected to be too many; 0: none.
    quota: u64,
}

impl std::fmt::Debug for StoreFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreFigures")
    }
}

impl Collector for StoreFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = self.compactor.counters();
        let index = self.catalog.index_counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, value) in [
            ("tailwater_compaction_folds", "Times that segments became data files", read(&counters.folds)),
            ("tailwater_compaction_merges", "Times that data files became larger ones", read(&counters.merges)),
            ("tailwater_compaction_failures", "Compactions that failed; they are tried again", read(&counters.failures)),
            ("tailwater_compaction_raw_bytes", "Bytes of lines that were compacted", read(&counters.raw_bytes)),
            ("tailwater_compaction_written_bytes", "Bytes of data files written", read(&counters.written_bytes)),
            ("tailwater_compaction_whole_pages", "Pages of lines that merges took over as they were stored", read(&counters.whole_pages)),
            ("tailwater_compaction_erased_rows", "Entries erased by retention and delete requests", read(&counters.erased_rows)),
            ("tailwater_store_read_bytes", "Bytes read from the store for queries, footers and indexes", self.catalog.read_bytes()),
            ("tailwater_index_pages_asked", "Pages that text indexes were asked about", index.pages_asked()),
            ("tailwater_index_pages_excluded", "Pages that text indexes excluded", index.pages_excluded()),
            ("tailwater_checksum_failures", "Reads of objects that found other bytes than were stored", self.catalog.checksum_failures()),
            ("tailwater_invariant_violations", "Checks that only a bug can fail, and that failed", invariants::violations()),
            ("tailwater_index_damaged", "Text indexes, or blocks of them, found damaged or unknown", index.damaged_parts()),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let (work_done, work_bytes) = self.compactor.work().bytes();
        let (gets, gets_waiting) = self.catalog.store().gets_under_way_and_waiting();
        let pending: u64 = self.catalog.tenants().iter().map(|tenant| self.compactor.pending_bytes(tenant)).sum();
        for (name, help, value) in [
            ("tailwater_compaction_pending_bytes", "Bytes of lines that wait to be compacted", pending),
            ("tailwater_compaction_work_bytes", "Bytes of lines of the merge or the rewrite under way; 0: none is", work_bytes),
            ("tailwater_compaction_work_done_bytes", "Bytes of lines that it has dealt with", work_done),
            ("tailwater_object_store_gets_in_flight", "Reads of objects that are under way", gets),
            ("tailwater_object_store_gets_waiting", "Reads of objects that wait until fewer are under way", gets_waiting),
            ("tailwater_retired_objects", "Replaced objects that wait to be deleted", self.catalog.retired_objects() as u64),
            ("tailwater_segments_uncompacted", "Segments whose rows are not in data files yet", self.catalog.segment_count() as u64),
            ("tailwater_damaged_segments", "Segments that were found and cannot be read", self.catalog.damaged_segments() as u64),
            (
                "tailwater_damaged_manifests",
                "Tenants whose newest manifest version is not intact: their queries fail, what they push is stored",
                self.catalog.damaged_manifests() as u64,
            ),
            ("tailwater_peers", "Replicas that are ready, this one among them", self.peers.ready() as u64),
            (
                "tailwater_manifest_version",
                "Versions of all tenants' manifests, added up: rises with each commit",
                self.manifest_versions(),
            ),
            ("tailwater_bucket_bytes", "Stored bytes of segments and data files, replaced ones included", self.bucket_bytes()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        self.encode_times(&mut encoder)?;
        self.encode_requests(&mut encoder)?;
        self.encode_disk_cache(encoder)
    }
}

impl StoreFigures {
    fn manifest_versions(&self) -> u64 {
        self.catalog.tenants().iter().map(|tenant| self.catalog.manifest(tenant).version()).sum()
    }

    fn bucket_bytes(&self) -> u64 {
        let mut segments = HashMap::new();
        let mut bytes = 0;
        for tenant in self.catalog.tenants() {
            let manifest = self.catalog.manifest(&tenant);
            bytes += manifest.files().map(|file| file.size).sum::<u64>() + manifest.retired().map(|retired| retired.size).sum::<u64>();
            // One segment holds rows of several tenants.
            segments.extend(self.catalog.segments(&tenant).iter().map(|part| (part.key().to_owned(), part.file().size)));
        }
        bytes + segments.values().sum::<u64>()
    }

    /// For how long segments have waited for a commit, at most since the last one; 0 while none waits.
    fn manifest_age_seconds(&self) -> f64 {
        let now = self.clock.now();
        let waiting = |tenant: &TenantId| {
            let oldest = self.catalog.segments(tenant).iter().filter_map(|part| part.file().flushed()).min()?;
            Some(now - oldest.max(self.catalog.manifest(tenant).time()))
        };
        self.catalog.tenants().iter().filter_map(waiting).max().unwrap_or(0).max(0) as f64 / 1e9
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut figures = vec![
            ("tailwater_manifest_age_seconds", "How long segments have waited for a commit of their manifest", self.manifest_age_seconds()),
            (
                "tailwater_compaction_last_success_timestamp_seconds",
                "When compaction last had nothing that failed",
                self.progress.last_success_seconds(),
            ),
        ];
        if self.quota > 0 {
            figures.push(("tailwater_bucket_quota_bytes", "Stored bytes that the bucket has room for, as configured", self.quota as f64));
        }
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Requests to the object store, each attempt by itself";
        let mut family = encoder.encode_descriptor("tailwater_object_store_requests", help, None, MetricType::Counter)?;
        for (operation, outcome, count) in self.catalog.store().request_counters().all() {
            let labels = [("op", operation.name()), ("outcome", outcome.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Figures of the cache on disk, where there is one.
    fn encode_disk_cache(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(figures) = self.catalog.store().disk_cache_figures() else { return Ok(()) };
        for (name, help, value) in [
            ("tailwater_disk_cache_hits", "Blocks of objects that were read from the disk", figures.hits),
            ("tailwater_disk_cache_misses", "Blocks of objects that were fetched from the store", figures.misses),
            ("tailwater_disk_cache_damaged", "Files of the cache that were damaged, truncated or gone", figures.damaged),
            (
                "tailwater_disk_cache_doubted",
                "Blocks fetched anew, because the bytes were not what their object says that they are",
                figures.doubted,
            ),
            ("tailwater_disk_cache_written", "Blocks of objects written to the disk", figures.written),
            ("tailwater_disk_cache_not_written", "Blocks that were not: the disk was full, failed or too slow", figures.not_written),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let gauge = ConstGauge::new(i64::try_from(figures.bytes).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor("tailwater_disk_cache_bytes", "Bytes of objects on disk", None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}

/// Adds the metrics of what is stored. `quota`: stored bytes that the bucket has room for; 0: unknown.
pub fn register(catalog: &Arc<Catalog>, work: &BackgroundWork, peers: &Peers, clock: &Arc<dyn Clock>, quota: u64, metrics: &Metrics) {
    metrics.register_collector(Box::new(StoreFigures {
        catalog: catalog.clone(),
        compactor: work.compactor().clone(),
        progress: work.progress().clone(),
        peers: peers.clone(),
        clock: clock.clone(),
        quota,
    }));
}
