//! Looking at every version of a manifest, not only at the newest.

use std::sync::Arc;

use crate::error::ReadError;
use crate::manifest::log::{Known, LoadError, ManifestLog};
use crate::manifest::state::ManifestState;
use crate::store::{ListedObject, paths};

impl ManifestLog {
    /// Reads every version that is listed, ascending, whether or not others can be read.
    pub async fn inspect(&self, mut each: impl FnMut(&ListedObject, u64, Result<&Arc<ManifestState>, LoadError>)) -> Result<(), ReadError> {
        let empty = Arc::new(ManifestState::empty(self.tenant.clone()));
        let mut near = Known { base: empty.clone(), state: empty };
        for (version, object) in self.listed_after(0).await? {
            match self.read(version, &near).await {
                Ok(Some(found)) => {
                    each(&object, version, Ok(&found.state));
                    near = found;
                }
                Ok(None) => each(&object, version, Err(LoadError::Vanished { key: paths::manifest(&self.tenant, version) })),
                Err(LoadError::Read(error)) => return Err(error),
                Err(error) => each(&object, version, Err(error)),
            }
        }
        Ok(())
    }
}
