//! The objects of delete requests, beside what the manifest says of them.

use std::collections::BTreeMap;

use crate::entry::TenantId;
use crate::error::ReadError;
use crate::fsck::inventory::request_of;
use crate::fsck::report::Report;
use crate::manifest::{ManifestState, Tombstone, TombstoneId, decode_request};
use crate::store::{ListedObject, Store, paths};

/// What lies in `tomb/`.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) read: BTreeMap<TombstoneId, Tombstone>,
    /// The key of each that cannot be read, and why.
    pub(super) faults: Vec<(String, String)>,
}

impl Requests {
    pub(super) async fn read(store: &Store, objects: &[ListedObject]) -> Result<Self, ReadError> {
        let mut requests = Self::default();
        for object in objects {
            let Some(bytes) = store.get(&object.key).await? else { continue };
            match decode_request(&bytes) {
                Ok(request) if request_of(&object.key) == Some(request.id.0) => drop(requests.read.insert(request.id, request)),
                Ok(request) => requests.faults.push((object.key.clone(), format!("it says that it is request `{}`", request.id))),
                Err(error) => requests.faults.push((object.key.clone(), error.to_string())),
            }
        }
        Ok(requests)
    }

    pub(super) fn report(&self, tenant: &TenantId, manifest: Option<&ManifestState>, report: &mut Report) {
        for (key, fault) in &self.faults {
            report.damage(key, fault, "while there is a manifest, it alone counts: delete the object once the request is processed");
        }
        let Some(manifest) = manifest else { return };
        for request in self.read.values() {
            let key = paths::tombstone(tenant, request.id.0);
            match manifest.tombstone(request.id) {
                None => report.leak(
                    &key,
                    "the manifest does not know this delete request",
                    "it was cancelled or has served its time: delete it",
                ),
                Some(known) if !is_same(known, request) => {
                    report.damage(
                        &key,
                        "the manifest says something else of this delete request",
                        "the manifest counts: delete the object",
                    );
                }
                Some(_) => {}
            }
        }
        for known in manifest.tombstones() {
            let key = paths::tombstone(tenant, known.id.0);
            let is_damaged = self.faults.iter().any(|(damaged, _)| *damaged == key);
            if !self.read.contains_key(&known.id) && !is_damaged {
                report.leak(&key, "the object of a delete request is missing", "it is in force; a rebuilt manifest would not have it");
            }
        }
    }
}

fn is_same(left: &Tombstone, right: &Tombstone) -> bool {
    (&left.query, left.start, left.end) == (&right.query, right.start, right.end)
}
