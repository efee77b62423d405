//! What a store consists of at a moment: the objects that a backup needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backup::{BackupError, BackupTenant};
use crate::entry::TenantId;
use crate::manifest::{self, ManifestLog};
use crate::store::{Store, paths};

/// Objects by key, with their sizes, and the newest manifest version of each tenant.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) objects: BTreeMap<String, u64>,
    pub(super) tenants: Vec<BackupTenant>,
}

impl Plan {
    /// Segments first, manifests after them: see the module's invariant 2.
    pub(super) async fn of(store: &Store) -> Result<Self, BackupError> {
        let mut plan = Self::default();
        let cluster = store.size(paths::CLUSTER).await?.ok_or(BackupError::NoCluster)?;
        plan.objects.insert(paths::CLUSTER.to_owned(), cluster);
        for segment in store.list_after(paths::SEGMENTS, None).await? {
            if paths::segment_of(&segment.key).is_some() {
                plan.objects.insert(segment.key, segment.size);
            }
        }
        for tenant in manifest::tenants(store).await? {
            plan.add_tenant(store, &tenant).await?;
        }
        Ok(plan)
    }

    async fn add_tenant(&mut self, store: &Store, tenant: &TenantId) -> Result<(), BackupError> {
        // Nothing is committed through it.
        let log = ManifestLog::new(store.clone(), tenant.clone(), "backup", Arc::new(|| 0));
        let state = log.load().await?;
        // Requests are stored before the commit that names them, and stay.
        for request in store.list_after(&paths::tombstones(tenant), None).await? {
            self.objects.insert(request.key, request.size);
        }
        if state.version() == 0 {
            return Ok(());
        }
        self.objects.extend(state.files().map(|file| (file.key(tenant), file.size)));
        let first = state.base().map_or(state.version(), |base| base.version);
        let before = first.checked_sub(1).map(|version| paths::manifest(tenant, version));
        for version in store.list_after(&paths::manifests(tenant), before.as_deref()).await? {
            if paths::manifest_version_of(&version.key).is_some_and(|number| number <= state.version()) {
                self.objects.insert(version.key, version.size);
            }
        }
        self.tenants.push(BackupTenant { tenant: tenant.as_str().to_owned(), version: state.version() });
        Ok(())
    }
}
