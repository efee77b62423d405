//! The delete requests of every tenant, compiled once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tailwater_logql::pipeline::PipelineOptions;
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest::{ManifestState, Tombstone, TombstoneId};

use crate::retention::delete_query::DeleteQuery;

/// A request that can be tested against entries.
#[derive(Debug)]
pub(super) struct CompiledRequest {
    pub(super) id: TombstoneId,
    /// Both ends count (ns).
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) query: DeleteQuery,
}

/// `None`: it cannot be read.
type OfTenant = HashMap<TombstoneId, Option<Arc<CompiledRequest>>>;

/// As many as the manifests name. A request whose query this program cannot read (one of a later version) names nothing here; it is told of once,
/// and is erased by no one who does not understand it.
#[derive(Debug)]
pub(super) struct CompiledRequests {
    options: PipelineOptions,
    by_tenant: Mutex<HashMap<TenantId, OfTenant>>,
}

impl CompiledRequests {
    pub(super) fn new(options: PipelineOptions) -> Self {
        Self { options, by_tenant: Mutex::default() }
    }

    /// The requests of a manifest version, by their ids.
    pub(super) fn of(&self, manifest: &ManifestState) -> HashMap<TombstoneId, Arc<CompiledRequest>> {
        let mut by_tenant = self.by_tenant.lock();
        if manifest.tombstones().len() == 0 {
            by_tenant.remove(manifest.tenant());
            return HashMap::new();
        }
        let known = by_tenant.entry(manifest.tenant().clone()).or_default();
        known.retain(|id, _| manifest.tombstone(*id).is_some());
        for tombstone in manifest.tombstones() {
            known.entry(tombstone.id).or_insert_with(|| self.compile(manifest.tenant(), tombstone));
        }
        known.iter().filter_map(|(id, request)| Some((*id, request.clone()?))).collect()
    }

    fn compile(&self, tenant: &TenantId, tombstone: &Tombstone) -> Option<Arc<CompiledRequest>> {
        let Tombstone { id, query, start, end, .. } = tombstone;
        match DeleteQuery::parse(query, self.options) {
            Ok(query) => Some(Arc::new(CompiledRequest { id: *id, start: *start, end: *end, query })),
            Err(error) => {
                tracing::error!(%tenant, request = %id, %error, "a stored delete request cannot be read: what it names is shown and not erased");
                None
            }
        }
    }
}
