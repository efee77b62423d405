//! Starting the list anew from what the data files themselves say, after the manifest was lost or damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::manifest::change::Stamp;
use crate::manifest::commit::{CommitError, Winner};
use crate::manifest::log::{Known, ManifestLog};
use crate::manifest::state::{CommitId, DataFile, ManifestState, Retired, Tombstone, Watermark};

/// What is known of a tenant without its manifest.
#[derive(Debug, Clone, Default)]
pub struct RebuiltContents {
    /// From the footers of the objects in `data/`.
    pub files: Vec<DataFile>,
    /// From the objects in `tomb/`.
    pub tombstones: Vec<Tombstone>,
    /// Segments without one are visible again; their rows count once all the same.
    pub watermarks: BTreeMap<String, Watermark>,
    /// Objects in `data/` that are not live and are to be deleted in time.
    pub retired: Vec<Retired>,
}

impl ManifestLog {
    /// Makes a full snapshot of `contents` the newest version, whatever the present ones say. For use while nobody else commits; another
    /// commit that gets the number first is overruled by the next.
    ///
    /// Version numbers within `contents` may be from a history that is lost, so every delete request concerns every file again, and none is
    /// processed.
    pub async fn rebuild(&self, contents: RebuiltContents) -> Result<Arc<ManifestState>, CommitError> {
        let empty = ManifestState::empty(self.tenant.clone());
        let nothing = Known { base: Arc::new(empty.clone()), state: Arc::new(empty) };
        let mut version = self.highest().await? + 1;
        loop {
            let state = self.rebuilt(&contents, version, self.stamp()?);
            let bytes = self.encode(&state, &nothing.base)?;
            match self.put(version, state.commit, bytes, &nothing).await? {
                Winner::We => return Ok(self.learn(Known::after(&nothing, state)).state),
                Winner::Other(_) => version = self.highest().await?.max(version) + 1,
            }
        }
    }

    /// The highest number in use, be its object readable or not.
    async fn highest(&self) -> Result<u64, CommitError> {
        let listed = self.listed_after(0).await?;
        Ok(listed.last().map_or(0, |(version, _)| *version).max(self.known().version()))
    }

    fn rebuilt(&self, contents: &RebuiltContents, version: u64, stamp: Stamp) -> ManifestState {
        let files = contents.files.iter().map(|file| (file.id, Arc::new(DataFile { as_of: 0, ..file.clone() })));
        let tombstones = contents.tombstones.iter().map(|tombstone| {
            let anew = Tombstone { added: version, processed_at: None, ..tombstone.clone() };
            (tombstone.id, Arc::new(anew))
        });
        ManifestState {
            tenant: self.tenant.clone(),
            version,
            commit: stamp.commit,
            parent: CommitId::default(),
            author: stamp.author,
            time: stamp.time,
            base: None,
            files: files.collect(),
            watermarks: contents.watermarks.clone(),
            tombstones: tombstones.collect(),
            retired: contents.retired.iter().map(|retired| (retired.id, *retired)).collect(),
        }
    }
}
