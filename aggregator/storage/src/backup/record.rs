//! The record of one backup, and where records lie.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::backup::BackupError;
use crate::backup::plan::Plan;
use crate::store::{Store, paths};

/// Of records.
pub(super) const BACKUPS: &str = "backups";
/// Of records of backups that are being taken away.
pub(super) const PRUNED: &str = "pruned";
const FORMAT: u32 = 1;

/// One backup: everything that a store consisted of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRecord {
    format: u32,
    /// A ULID: ascends with time.
    pub id: String,
    /// When it began (ns). Everything that was acknowledged before is in it.
    pub begun: i64,
    pub tenants: Vec<BackupTenant>,
    /// Keys and sizes.
    pub objects: BTreeMap<String, u64>,
    /// CRC-32C of the rest, as it is written without it.
    checksum: u32,
}

/// A tenant, with the newest version of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupTenant {
    pub tenant: String,
    pub version: u64,
}

impl BackupRecord {
    pub(super) fn new(id: Ulid, begun: i64, plan: Plan) -> Self {
        let mut record = Self { format: FORMAT, id: id.to_string(), begun, tenants: plan.tenants, objects: plan.objects, checksum: 0 };
        record.checksum = record.reckoned();
        record
    }

    pub fn bytes(&self) -> u64 {
        self.objects.values().sum()
    }

    pub(super) fn key(&self) -> String {
        self.key_in(BACKUPS)
    }

    pub(super) fn key_in(&self, folder: &str) -> String {
        format!("{folder}/{}.json", self.id)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }

    fn parse(key: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let refused = |reason: String| BackupError::Record { key: key.to_owned(), reason };
        let record: Self = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        if record.format != FORMAT {
            return Err(refused(format!("its format is {}, this program knows {FORMAT}", record.format)));
        }
        if record.checksum != record.reckoned() {
            return Err(refused("its checksum does not match".to_owned()));
        }
        // Only names that backups give are read and written.
        match record.objects.keys().find(|object| !is_of_a_store(object)) {
            Some(object) => Err(refused(format!("it names `{object}`, which is no object of a store"))),
            None => Ok(record),
        }
    }

    fn reckoned(&self) -> u32 {
        crc32c::crc32c(&Self { checksum: 0, ..self.clone() }.encode())
    }
}

fn is_of_a_store(key: &str) -> bool {
    key.strip_prefix(paths::TENANTS).is_some_and(|rest| rest.starts_with('/'))
        && !key.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// The backups at a place, oldest first.
pub async fn records(place: &Store) -> Result<Vec<BackupRecord>, BackupError> {
    of_folder(place, BACKUPS).await
}

pub(super) async fn of_folder(place: &Store, folder: &str) -> Result<Vec<BackupRecord>, BackupError> {
    let mut found = Vec::new();
    for object in place.list_after(folder, None).await? {
        if let Some(bytes) = place.get(&object.key).await? {
            found.push(BackupRecord::parse(&object.key, &bytes)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_changed_is_refused() {
        let mut plan = Plan::default();
        plan.objects.insert("v1/cluster.json".to_owned(), 7);
        let record = BackupRecord::new(Ulid::from_parts(1, 2), 5, plan);
        let written = String::from_utf8(record.encode()).expect("JSON");
        assert_eq!(BackupRecord::parse("k", written.as_bytes()).expect("a record"), record);
        for changed in [
            written.replace(":7", ":8"),
            written.replace("cluster", "clutter"),
            written.replace("\"format\":1", "\"format\":2"),
            String::new(),
        ] {
            assert!(BackupRecord::parse("k", changed.as_bytes()).is_err(), "{changed}");
        }
        for name in ["v2/x", "v1/../x", "v1//x", "v1"] {
            let mut plan = Plan::default();
            plan.objects.insert(name.to_owned(), 1);
            let written = BackupRecord::new(Ulid::from_parts(1, 2), 5, plan).encode();
            assert!(BackupRecord::parse("k", &written).is_err(), "{name}");
        }
    }
}
