//! A store that is opened without a server.

use std::sync::Arc;

use tailwater_storage::catalog::{CacheBudget, Catalog};
use tailwater_storage::entry::TenantId;
use tailwater_storage::manifest;
use tailwater_storage::store::{self, Store};

use crate::cli::ConfigSource;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, StorageKind};
use crate::offline::OfflineError;
use crate::offline::progress::Progress;
use crate::retention::{RetentionOptions, RetentionRules};
use crate::wiring;

/// Footers of the files that are worked on; rows and text indexes are not read twice here.
const CACHES: CacheBudget = CacheBudget { recent_rows: 32 << 20, footers: 128 << 20, index: 1 << 20 };

pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// Signs what is committed.
    pub(super) author: String,
}

impl Opened {
    /// Opens a store. `must_exist`: the command makes no sense on a new one.
    pub(super) async fn open(source: &ConfigSource, must_exist: bool) -> Result<Self, OfflineError> {
        let config = source.load()?.config;
        let folder = &config.storage.filesystem.path;
        if must_exist && config.storage.kind == StorageKind::Filesystem && !folder.is_dir() {
            return Err(OfflineError::NoFolder { folder: folder.display().to_string() });
        }
        let store = store::open(&wiring::store_options(&config), &config.storage.prefix)?;
        if must_exist && store.folders(store::paths::TENANTS).await?.is_empty() {
            return Err(OfflineError::EmptyStore);
        }
        Ok(Self { config, store, clock: Arc::new(SystemClock), author: ulid::Ulid::new().to_string() })
    }

    pub(super) fn tenant(&self, given: Option<&str>) -> TenantId {
        TenantId::new(given.unwrap_or(&self.config.tenancy.default))
    }

    pub(super) fn manifest_clock(&self) -> manifest::Clock {
        let clock = self.clock.clone();
        Arc::new(move || clock.now())
    }

    /// Everything that is in the store.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, OfflineError> {
        let catalog = Arc::new(Catalog::new(self.store.clone(), CACHES, &self.author, self.manifest_clock()));
        let progress = Progress::new("reading what is stored");
        catalog.discover(|done, total| progress.set(done as u64, Some(total as u64), || format!("{done} of {total} segments"))).await?;
        Ok(catalog)
    }

    /// What retention and delete requests hide and erase.
    pub(super) fn rules(&self, catalog: &Arc<Catalog>) -> Result<RetentionRules, OfflineError> {
        let options =
            RetentionOptions { cancel_period: self.config.retention.cancel_period.duration(), strict_loki: self.config.strict_loki };
        Ok(RetentionRules::new(catalog.clone(), self.config.tenant_limits(), options)?)
    }
}
