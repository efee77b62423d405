//! What is visible of one tenant: a manifest version and the segments above its watermarks, changed together.
//!
//! While the newest version is not intact, nothing of the tenant can be told: which files there are, which segments are folded, what is deleted. Its
//! queries fail and nothing of it is compacted or deleted; what is pushed is stored as ever, in segments, and shows once the version is mended.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::catalog::part::{OpenFile, Part};
use crate::error::ReadError;
use crate::file::read::FileIdentity;
use crate::manifest::{ManifestLog, ManifestState};

/// One tenant's manifest and segments.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) log: Arc<ManifestLog>,
    view: RwLock<View>,
    /// Why the newest manifest version cannot be told.
    unreadable: RwLock<Option<ReadError>>,
}

/// What a query pins.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) manifest: Arc<ManifestState>,
    /// Parts of segments that are not folded, in their order.
    pub(super) segments: Arc<Vec<Arc<Part>>>,
}

impl Tenant {
    pub(super) fn new(log: Arc<ManifestLog>) -> Self {
        let view = View { manifest: log.known(), segments: Arc::default() };
        Self { log, view: RwLock::new(view), unreadable: RwLock::default() }
    }

    /// Fails while the newest manifest version is not intact.
    pub(super) fn check(&self) -> Result<(), ReadError> {
        self.unreadable.read().clone().map_or(Ok(()), Err)
    }

    /// Takes note of what came of looking for the newest manifest version; a change is told.
    pub(super) fn looked(&self, outcome: Result<(), &ReadError>) {
        let tenant = self.log.tenant();
        let before = std::mem::replace(&mut *self.unreadable.write(), outcome.err().cloned());
        match (before, outcome) {
            (None, Err(error)) => tracing::error!(
                %tenant, %error,
                "the manifest is damaged: queries of the tenant fail and nothing of it is compacted until it is restored, or rebuilt by `fsck`; what is pushed is stored"
            ),
            (Some(_), Ok(())) => tracing::info!(%tenant, "the manifest is intact again"),
            _ => {}
        }
    }

    pub(super) fn view(&self) -> View {
        self.view.read().clone()
    }

    /// Shows a newer version; segments that it has folded vanish in the same moment.
    pub(super) fn apply(&self, manifest: Arc<ManifestState>) {
        let mut view = self.view.write();
        if manifest.version() <= view.manifest.version() {
            return;
        }
        let (gone, left): (Vec<_>, Vec<_>) = view.segments.iter().cloned().partition(|part| is_folded(&manifest, part.file()));
        // Who still holds one reads it from the store, where it stays a while.
        gone.iter().for_each(|part| part.forget_rows());
        *view = View { manifest, segments: Arc::new(left) };
    }

    /// Shows a part of a segment, unless it is folded or shown already: a flush and a listing may both find a segment to be new.
    pub(super) fn add(&self, part: Arc<Part>) {
        let mut view = self.view.write();
        if is_folded(&view.manifest, part.file()) {
            return;
        }
        let at = view.segments.partition_point(|other| other.order() < part.order());
        if view.segments.get(at).is_none_or(|other| other.order() != part.order()) {
            Arc::make_mut(&mut view.segments).insert(at, part);
        }
    }
}

fn is_folded(manifest: &ManifestState, file: &OpenFile) -> bool {
    match &file.footer.identity {
        FileIdentity::Segment(name) => manifest.is_folded(&name.writer, name.sequence),
        FileIdentity::Data { .. } => false,
    }
}
