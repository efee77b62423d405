//! One tenant's data files beside its manifest.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::entry::TenantId;
use crate::error::ReadError;
use crate::fsck::describe::differences;
use crate::fsck::file::{Described, FileVerdict};
use crate::fsck::inventory::TenantObjects;
use crate::fsck::manifests::Versions;
use crate::fsck::report::Report;
use crate::fsck::requests::Requests;
use crate::manifest::{DataFile, ManifestState, Retired};
use crate::store::{ListedObject, Store, paths};

const LOST: &str = "restore the object from a copy; without one, `fsck --rebuild --skip-damaged` makes a manifest without it";

/// What is compared.
pub(super) struct TenantCheck {
    tenant: TenantId,
    versions: Versions,
    /// Live files by key; `None`: it is not known which those are.
    live: Option<BTreeMap<String, Arc<DataFile>>>,
    retired: BTreeMap<String, Retired>,
    found: HashSet<String>,
}

impl TenantCheck {
    /// Reads manifest and delete requests.
    pub(super) async fn begin(store: &Store, tenant: &TenantId, objects: &TenantObjects, report: &mut Report) -> Result<Self, ReadError> {
        let versions = Versions::read(store, tenant).await?;
        versions.report(report);
        Requests::read(store, &objects.requests).await?.report(tenant, versions.newest.as_deref(), report);
        if !versions.are_there && !objects.data.is_empty() {
            let what = format!("there is no manifest, but there are {} data files that only a manifest makes visible", objects.data.len());
            report.damage(&paths::manifests(tenant), what, "run `fsck --rebuild`, unless segments hold the same lines still");
        }
        let keys = |state: &ManifestState| state.files().map(|file| (file.key(tenant), file.clone())).collect();
        let newest = versions.newest.as_deref();
        let live: Option<BTreeMap<String, Arc<DataFile>>> = newest.map(keys);
        let retired = newest.iter().flat_map(|state| state.retired()).map(|retired| (retired.key(tenant), *retired)).collect();
        let check = Self { tenant: tenant.clone(), versions, live, retired, found: HashSet::new() };
        check.report_named_twice(report);
        Ok(check)
    }

    fn report_named_twice(&self, report: &mut Report) {
        let both = self.live.iter().flatten().filter(|(_, file)| self.retired.values().any(|retired| retired.id == file.id));
        for (key, _) in both {
            report.damage(key, "the manifest says that it is live and that it waits to be deleted", "run `fsck --rebuild`");
        }
    }

    /// The newest state, if it is known.
    pub(super) fn manifest(&self) -> Option<&Arc<ManifestState>> {
        self.versions.newest.as_ref()
    }

    /// Whether the tenant has a manifest whose newest version cannot be read.
    pub(super) fn is_unknown(&self) -> bool {
        self.versions.are_there && self.versions.newest.is_none()
    }

    /// Compares what a file told with the manifest.
    pub(super) fn take(&mut self, object: &ListedObject, verdict: &FileVerdict, report: &mut Report) {
        self.found.insert(object.key.clone());
        let Some(live) = &self.live else { return };
        if let Some(known) = live.get(&object.key) {
            if known.size != object.size {
                report.damage(&object.key, format!("it has {} bytes, the manifest says {}", object.size, known.size), LOST);
            } else if let Some(Described::Data(file)) = &verdict.described {
                let differing = differences(known, file);
                if !differing.is_empty() {
                    report.damage(&object.key, format!("file and manifest differ: {differing}"), "run `fsck --rebuild`");
                }
            }
        } else if self.retired.contains_key(&object.key) {
            report.note(&object.key, "it was replaced and waits to be deleted", "nothing");
        } else {
            let what = "no manifest names it: the output of a compaction that lost or was cut off";
            report.leak(&object.key, what, "a running program deletes it when it is a day old");
        }
    }

    /// What was not found.
    pub(super) fn finish(&self, report: &mut Report) {
        for (key, file) in self.live.iter().flatten() {
            if !self.found.contains(key) {
                let what = format!("it is missing, with {} lines of tenant `{}` of {}", file.rows, self.tenant, file.day);
                report.damage(key, what, LOST);
            }
        }
    }
}
