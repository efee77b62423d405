//! The rules of one tenant at one time, for queries and for compaction alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tailwater_logql::pipeline::PipelineOptions;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::compact::{DeletedRange, Erasure, RequestsToErase, RetentionEdges, StreamErasure, requests_to_erase};
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest::Tombstone;
use tailwater_storage::pairs::Pairs;

use crate::limits::{DeletionMode, Limits, TenantLimits};
use crate::retention::policy::{PolicyError, RetentionPolicies, RetentionPolicy};
use crate::retention::requests::{CompiledRequest, CompiledRequests};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionOptions {
    /// How long a delete request may be withdrawn without loss.
    pub cancel_period: Duration,
    pub strict_loki: bool,
}

/// What of every tenant may be seen, and what is to be erased.
#[derive(Debug)]
pub struct RetentionRules {
    catalog: Arc<Catalog>,
    limits: TenantLimits,
    policies: RwLock<Arc<RetentionPolicies>>,
    requests: CompiledRequests,
    options: RetentionOptions,
}

impl RetentionRules {
    pub fn new(catalog: Arc<Catalog>, limits: TenantLimits, options: RetentionOptions) -> Result<Self, PolicyError> {
        let requests = CompiledRequests::new(PipelineOptions { strict_loki: options.strict_loki });
        let policies = RwLock::new(Arc::new(RetentionPolicies::new(&limits)?));
        Ok(Self { policies, catalog, limits, requests, options })
    }

    pub fn options(&self) -> RetentionOptions {
        self.options
    }

    pub fn limits(&self) -> &TenantLimits {
        &self.limits
    }

    /// Replaces the limits of all tenants, unless their rules of retention cannot be used.
    pub fn replace_limits(&self, common: Limits, overrides: BTreeMap<String, Limits>) -> Result<(), PolicyError> {
        // How limits that are not set are filled in is nothing to retention.
        let policies = RetentionPolicies::new(&TenantLimits::new(common.clone(), overrides.clone(), false, false))?;
        self.limits.replace(common, overrides);
        *self.policies.write() = Arc::new(policies);
        Ok(())
    }

    pub(super) fn policy(&self, tenant: &TenantId) -> Arc<RetentionPolicy> {
        Arc::clone(self.policies.read().of(tenant))
    }

    /// What a query at `now` (ns) does not see: all that retention and requests name, erased or not.
    pub fn hidden(&self, tenant: &TenantId, now: i64) -> Arc<dyn Erasure> {
        let manifest = self.catalog.manifest(tenant);
        let requests = self.requests.of(&manifest).into_values().collect();
        Arc::new(TenantRules { policy: self.policy(tenant), now, requests, as_of: manifest.version() })
    }

    /// What compaction erases at `now`. `by_age`: also what is past its retention.
    pub fn erasure(&self, tenant: &TenantId, now: i64, by_age: bool) -> Arc<dyn Erasure> {
        let manifest = self.catalog.manifest(tenant);
        let compiled = self.requests.of(&manifest);
        let may_erase = self.limits.of(tenant).deletion_mode == DeletionMode::FilterAndDelete;
        let is_due = |tombstone: &Tombstone| may_erase && compiled.contains_key(&tombstone.id) && !self.may_be_cancelled(tombstone, now);
        let RequestsToErase { requests, as_of } = requests_to_erase(manifest.tombstones(), manifest.version(), is_due);
        let requests = requests.iter().filter_map(|tombstone| compiled.get(&tombstone.id).cloned()).collect();
        let policy = if by_age { self.policy(tenant) } else { Arc::default() };
        Arc::new(TenantRules { policy, now, requests, as_of })
    }

    /// Whether a request can be withdrawn without loss: nothing of what it names is erased yet.
    pub fn may_be_cancelled(&self, tombstone: &Tombstone, now: i64) -> bool {
        let age = i128::from(now) - i128::from(tombstone.created);
        age < i128::try_from(self.options.cancel_period.as_nanos()).unwrap_or(i128::MAX)
    }

    pub(super) fn edges(&self, tenant: &TenantId, now: i64) -> RetentionEdges {
        self.policy(tenant).edges(now)
    }
}

/// The rules of one tenant at one time.
#[derive(Debug)]
struct TenantRules {
    policy: Arc<RetentionPolicy>,
    now: i64,
    requests: Vec<Arc<CompiledRequest>>,
    as_of: u64,
}

impl Erasure for TenantRules {
    fn of_stream(&self, labels: &Pairs) -> StreamErasure {
        let label = |name: &str| labels.get(name).unwrap_or_default();
        let deleted = |request: &Arc<CompiledRequest>| DeletedRange {
            request: request.id,
            start: request.start,
            end: request.end,
            lines: request.query.lines().cloned(),
        };
        let named = self.requests.iter().filter(|request| request.query.matches(label)).map(deleted).collect();
        StreamErasure { keep_from: self.policy.keep_from(label, self.now), deleted: named }
    }

    fn as_of(&self) -> u64 {
        self.as_of
    }
}
