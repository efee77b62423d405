//! What the background thread does for retention and deletion: one piece of a tenant at a time, and now and then a look at sizes.
//!
//! A tenant is looked at ten times within its shortest period, between once a second and once in ten minutes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::{CompactError, Compactor, Erased, Erasure, over_budget};
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest::{Change, Clock, FileId, ManifestState, TombstoneId, tombstones_due};
use tailwater_storage::store::paths;

use crate::retention::clock_guard::ClockGuard;
use crate::retention::progress::RetentionProgress;
use crate::retention::rules::RetentionRules;

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How often stored bytes are compared with what they may be.
const SIZES_EVERY: Duration = Duration::from_secs(10);

/// The last look at a tenant.
#[derive(Debug, Clone, Copy)]
struct Looked {
    /// Nothing was left to do then, or it failed.
    idle_since: Option<Instant>,
    /// Files that are still to be rewritten.
    remaining: usize,
}

/// Done by the thread of background work.
pub struct RetentionWork {
    catalog: Arc<Catalog>,
    compactor: Compactor,
    rules: Arc<RetentionRules>,
    clock: Clock,
    /// Bytes of all tenants' data files; 0: no limit.
    size_budget: u64,
    progress: Arc<RetentionProgress>,
    guard: ClockGuard,
    started: Instant,
    tenants: HashMap<TenantId, Looked>,
    sizes_looked_at: Option<Instant>,
}

impl RetentionWork {
    pub fn new(catalog: Arc<Catalog>, compactor: Compactor, rules: Arc<RetentionRules>, clock: Clock, size_budget: u64) -> Self {
        Self {
            catalog,
            compactor,
            rules,
            clock,
            size_budget,
            progress: Arc::default(),
            guard: ClockGuard::default(),
            started: Instant::now(),
            tenants: HashMap::new(),
            sizes_looked_at: None,
        }
    }

    pub fn progress(&self) -> &Arc<RetentionProgress> {
        &self.progress
    }

    /// What compaction erases on the way.
    pub fn erasure(&mut self, tenant: &TenantId) -> Arc<dyn Erasure> {
        let by_age = self.trusts_clock();
        self.rules.erasure(tenant, (self.clock)(), by_age)
    }

    /// Does the next piece for a tenant, if it is time; true if there may be more.
    pub async fn step(&mut self, tenant: &TenantId) -> Result<bool, CompactError> {
        let looked = self.tenants.get(tenant).copied().unwrap_or(Looked { idle_since: None, remaining: 0 });
        if looked.idle_since.is_some_and(|since| since.elapsed() < self.pause(tenant)) {
            return Ok(false);
        }
        // Also after a failure it is not tried again at once.
        self.tenants.insert(tenant.clone(), Looked { idle_since: Some(Instant::now()), ..looked });
        let did_any = self.expire(tenant).await? || self.erase(tenant).await? || self.forget(tenant).await?;
        if did_any {
            self.tenants.entry(tenant.clone()).and_modify(|looked| looked.idle_since = None);
        }
        Ok(did_any)
    }

    /// Nothing that was due is left.
    pub fn done(&self) {
        self.progress.succeeded((self.clock)());
    }

    fn pause(&self, tenant: &TenantId) -> Duration {
        let shortest = self.rules.policy(tenant).shortest().map(|period| Duration::from_nanos(period.unsigned_abs()));
        let has_requests = self.catalog.manifest(tenant).tombstones().len() > 0;
        let cancel = has_requests.then_some(self.rules.options().cancel_period);
        let shortest = shortest.into_iter().chain(cancel).min().unwrap_or(Duration::MAX);
        (shortest / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    async fn expire(&mut self, tenant: &TenantId) -> Result<bool, CompactError> {
        if self.rules.policy(tenant).is_for_ever() || !self.trusts_clock() {
            return Ok(false);
        }
        let now = (self.clock)();
        let (edges, erasure) = (self.rules.edges(tenant, now), self.rules.erasure(tenant, now, true));
        let expired = self.compactor.expire(tenant, edges, erasure).await?;
        if let Some(expired) = expired {
            tracing::info!(
                %tenant, dropped = expired.dropped, rewritten = expired.rewritten, bytes = expired.bytes, remaining = expired.remaining,
                "retention dropped or rewrote files"
            );
        }
        if let Some(looked) = self.tenants.get_mut(tenant) {
            looked.remaining = expired.map_or(0, |expired| expired.remaining);
        }
        self.progress.pending(self.tenants.values().map(|looked| looked.remaining).sum());
        Ok(expired.is_some())
    }

    async fn erase(&mut self, tenant: &TenantId) -> Result<bool, CompactError> {
        if !self.catalog.manifest(tenant).tombstones().any(|request| request.processed_at.is_none()) {
            return Ok(false);
        }
        let erasure = self.erasure(tenant);
        match self.compactor.erase(tenant, erasure).await? {
            None => return Ok(false),
            Some(Erased::Rewrote { request, file, bytes }) => {
                tracing::info!(%tenant, %request, %file, bytes, "a delete request had a file rewritten");
            }
            Some(Erased::Processed { request }) => tracing::info!(%tenant, %request, "a delete request is processed"),
        }
        Ok(true)
    }

    /// Forgets the requests whose lines would be refused if they were sent again.
    async fn forget(&self, tenant: &TenantId) -> Result<bool, CompactError> {
        let oldest = self.rules.limits().of(tenant).oldest_accepted();
        let due = tombstones_due(&self.catalog.manifest(tenant), (self.clock)(), oldest);
        let Some(request) = due.first().copied() else { return Ok(false) };
        let still_there = |state: &ManifestState| match state.tombstone(request) {
            Some(_) => Change::ForgetTombstone(request),
            None => Change::Nothing,
        };
        self.catalog.commit(tenant, |state| Ok(still_there(state))).await?;
        self.delete_object(tenant, request).await;
        Ok(true)
    }

    async fn delete_object(&self, tenant: &TenantId, request: TombstoneId) {
        if let Err(error) = self.catalog.store().delete(&paths::tombstone(tenant, request.0)).await {
            tracing::warn!(%tenant, %request, %error, "the object of a delete request that is over stays in the store");
        }
    }

    /// Drops the oldest files where there are more bytes than may be; first by tenant, then of all.
    pub async fn fit_sizes(&mut self) -> Result<(), CompactError> {
        if self.sizes_looked_at.is_some_and(|last| last.elapsed() < SIZES_EVERY) {
            return Ok(());
        }
        self.sizes_looked_at = Some(Instant::now());
        // What a tenant with a damaged manifest has is not known: nothing of it is dropped, and nothing for it.
        let tenants: Vec<TenantId> =
            self.catalog.tenants().into_iter().filter(|tenant| self.catalog.check_manifest(tenant).is_ok()).collect();
        for tenant in &tenants {
            let budget = self.rules.limits().of(tenant).retention_bytes.as_u64();
            self.fit(std::slice::from_ref(tenant), budget).await?;
        }
        self.fit(&tenants, self.size_budget).await
    }

    async fn fit(&self, tenants: &[TenantId], budget: u64) -> Result<(), CompactError> {
        if budget == 0 {
            return Ok(());
        }
        let manifests: Vec<Arc<ManifestState>> = tenants.iter().map(|tenant| self.catalog.manifest(tenant)).collect();
        let files = manifests.iter().flat_map(|manifest| manifest.files().map(|file| (manifest.tenant(), file.as_ref())));
        let mut dropped: BTreeMap<&TenantId, Vec<FileId>> = BTreeMap::new();
        for (tenant, file) in over_budget(files, budget) {
            dropped.entry(tenant).or_default().push(file);
        }
        for (tenant, files) in dropped {
            let count = self.compactor.drop_for_size(tenant, &files).await?;
            tracing::info!(%tenant, files = count, budget, "dropped the oldest files to fit the size");
        }
        Ok(())
    }

    fn trusts_clock(&mut self) -> bool {
        let steady = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let last_stored = self.catalog.tenants().iter().filter_map(|tenant| self.last_stored(tenant)).max();
        let is_trusted = self.guard.trusts((self.clock)(), steady, last_stored);
        if self.progress.held(!is_trusted) {
            match is_trusted {
                true => tracing::info!("the clock is believed again, retention goes on"),
                false => {
                    tracing::warn!("the clock jumped, or the last thing was stored long ago: nothing is dropped for its age for a day")
                }
            }
        }
        is_trusted
    }

    fn last_stored(&self, tenant: &TenantId) -> Option<i64> {
        let manifest = self.catalog.manifest(tenant);
        let committed = (manifest.version() > 0).then(|| manifest.time());
        let flushed = self.catalog.segments(tenant).iter().filter_map(|part| part.file().flushed()).max();
        committed.max(flushed)
    }
}
