//! Reading a tenant's manifest: the highest version, and the base it builds on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::entry::TenantId;
use crate::error::ReadError;
use crate::manifest::envelope::{self, HEADER_LENGTH, Header, ManifestError};
use crate::manifest::message;
use crate::manifest::state::ManifestState;
use crate::store::retry::Attempts;
use crate::store::{ListedObject, Store, paths};

/// Nanoseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How often an object that does not check is read again: the fault may be on the way and not in the store.
const READINGS: usize = 4;

/// How long a listed version that cannot be got is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The manifest of one tenant. It keeps the newest state that it saw, so that only what is newer is listed and read.
pub struct ManifestLog {
    pub(super) store: Store,
    pub(super) tenant: TenantId,
    pub(super) author: String,
    pub(super) clock: Clock,
    known: Mutex<Known>,
}

impl fmt::Debug for ManifestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestLog")
            .field("tenant", &self.tenant)
            .field("version", &self.known.lock().state.version)
            .finish_non_exhaustive()
    }
}

/// A version and the full snapshot that its delta, and those after it, build on.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) base: Arc<ManifestState>,
    pub(super) state: Arc<ManifestState>,
}

impl Known {
    /// A version that was made here from `before`.
    pub(super) fn after(before: &Self, state: ManifestState) -> Self {
        let state = Arc::new(state);
        match state.base {
            None => Self { base: state.clone(), state },
            Some(base) if base.version == before.state.version => Self { base: before.state.clone(), state },
            Some(_) => Self { base: before.base.clone(), state },
        }
    }
}

/// Why the newest state cannot be told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("object `{key}` is no intact manifest version: {source}")]
    Damaged { key: String, source: ManifestError },
    #[error("object `{key}` is listed, but the store does not have it")]
    Vanished { key: String },
}

/// The tenants that have a folder in the store, ascending.
pub async fn tenants(store: &Store) -> Result<Vec<TenantId>, ReadError> {
    let folders = store.folders(paths::TENANTS).await?;
    Ok(folders.iter().filter_map(|folder| paths::tenant_of(folder)).collect())
}

impl ManifestLog {
    /// `author`: who signs the versions made here.
    pub fn new(store: Store, tenant: TenantId, author: &str, clock: Clock) -> Self {
        let empty = Arc::new(ManifestState::empty(tenant.clone()));
        let known = Mutex::new(Known { base: empty.clone(), state: empty });
        Self { store, tenant, author: author.to_owned(), clock, known }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The newest state seen so far, without asking the store.
    pub fn known(&self) -> Arc<ManifestState> {
        self.known.lock().state.clone()
    }

    /// The newest state; version 0 if there is none.
    pub async fn load(&self) -> Result<Arc<ManifestState>, LoadError> {
        Ok(self.newest().await?.state)
    }

    /// The newest state, if it is newer than `known`.
    pub async fn refresh(&self, known: &ManifestState) -> Result<Option<Arc<ManifestState>>, LoadError> {
        let newest = self.load().await?;
        Ok((newest.version > known.version).then_some(newest))
    }

    pub(super) async fn newest(&self) -> Result<Known, LoadError> {
        let mut attempts = Attempts::until(PATIENCE);
        loop {
            let known = self.known.lock().clone();
            let Some((version, _)) = self.listed_after(known.state.version).await?.pop() else { return Ok(known) };
            if let Some(found) = self.read(version, &known).await? {
                return Ok(self.learn(found));
            }
            // The clean-up never takes the newest, so others came since, or the store lags.
            if !attempts.wait().await {
                return Err(LoadError::Vanished { key: paths::manifest(&self.tenant, version) });
            }
        }
    }

    /// Versions above `version` with their objects, ascending.
    pub(super) async fn listed_after(&self, version: u64) -> Result<Vec<(u64, ListedObject)>, ReadError> {
        let after = (version > 0).then(|| paths::manifest(&self.tenant, version));
        let listed = self.store.list_after(&paths::manifests(&self.tenant), after.as_deref()).await?;
        Ok(listed.into_iter().filter_map(|object| Some((paths::manifest_version_of(&object.key)?, object))).collect())
    }

    /// Keeps a state if it is the newest; returns the newest.
    pub(super) fn learn(&self, found: Known) -> Known {
        let mut known = self.known.lock();
        if found.state.version > known.state.version {
            *known = found;
        }
        known.clone()
    }

    /// One version; `None` if there is no such object. `near`: a version whose base it may share.
    pub(super) async fn read(&self, version: u64, near: &Known) -> Result<Option<Known>, LoadError> {
        let Some(opened) = self.checked(version, |bytes| message::open(bytes, &self.tenant, version)).await? else { return Ok(None) };
        let damaged = |source| LoadError::Damaged { key: paths::manifest(&self.tenant, version), source };
        let Some(wanted) = opened.header.base else {
            let state = Arc::new(opened.on(&near.base).map_err(damaged)?);
            return Ok(Some(Known { base: state.clone(), state }));
        };
        let is_wanted = |state: &ManifestState| state.version == wanted.version && state.commit == wanted.commit;
        let base = if is_wanted(&near.base) {
            near.base.clone()
        } else if is_wanted(&near.state) {
            near.state.clone()
        } else {
            match self.checked(wanted.version, |bytes| message::open(bytes, &self.tenant, wanted.version)).await? {
                Some(base) => Arc::new(base.on(&ManifestState::empty(self.tenant.clone())).map_err(damaged)?),
                None => return Err(damaged(ManifestError::BaseMissing { version: wanted.version, commit: wanted.commit })),
            }
        };
        let state = Arc::new(opened.on(&base).map_err(damaged)?);
        Ok(Some(Known { base, state }))
    }

    /// The header of a version; `None` if there is no such object.
    pub(super) async fn header(&self, version: u64) -> Result<Option<Header>, LoadError> {
        // The whole object: a range beyond a short one's end would be an error of another kind.
        let header = |bytes: &[u8]| {
            let header = envelope::open_header(bytes.get(..HEADER_LENGTH).unwrap_or(bytes))?;
            if header.version == version {
                return Ok(header);
            }
            Err(ManifestError::Misplaced { found: header.version, tenant: self.tenant.to_string() })
        };
        self.checked(version, header).await
    }

    async fn checked<T>(&self, version: u64, open: impl Fn(&[u8]) -> Result<T, ManifestError>) -> Result<Option<T>, LoadError> {
        let key = paths::manifest(&self.tenant, version);
        let mut readings = 1;
        loop {
            let Some(bytes) = self.store.get(&key).await? else { return Ok(None) };
            match open(&bytes) {
                Ok(opened) => {
                    if readings > 1 {
                        tracing::warn!(%key, readings, "a manifest version did not check at first: bytes are damaged on the way from the store");
                    }
                    return Ok(Some(opened));
                }
                Err(source) if readings == READINGS => return Err(LoadError::Damaged { key, source }),
                Err(_) => readings += 1,
            }
        }
    }
}
