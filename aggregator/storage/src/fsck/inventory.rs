//! Every object of a store, by what its name says it is.

use std::collections::BTreeMap;

use ulid::Ulid;

use crate::entry::TenantId;
use crate::error::ReadError;
use crate::store::{ListedObject, Store, paths};

/// The objects of one tenant, by key.
#[derive(Debug, Default)]
pub(super) struct TenantObjects {
    pub(super) data: Vec<ListedObject>,
    pub(super) manifests: Vec<ListedObject>,
    pub(super) requests: Vec<ListedObject>,
}

/// What lies under `v1/`.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    pub(super) cluster: Option<ListedObject>,
    /// By writer, ascending by number.
    pub(super) segments: BTreeMap<String, Vec<ListedObject>>,
    pub(super) tenants: BTreeMap<TenantId, TenantObjects>,
    pub(super) probes: Vec<ListedObject>,
    pub(super) unknown: Vec<ListedObject>,
}

impl Inventory {
    /// `tenants`: those whose objects are meant; segments are everybody's.
    pub(super) async fn list(store: &Store, tenants: Option<&[TenantId]>) -> Result<Self, ReadError> {
        let mut inventory = Self::default();
        for object in store.list_after(paths::TENANTS, None).await? {
            let size = object.size;
            if inventory.file(object, tenants) {
                inventory.objects += 1;
                inventory.bytes += size;
            }
        }
        Ok(inventory)
    }

    /// False: it is of a tenant that is not meant.
    fn file(&mut self, object: ListedObject, tenants: Option<&[TenantId]>) -> bool {
        if object.key == paths::CLUSTER {
            self.cluster = Some(object);
            return true;
        }
        if object.key.starts_with(paths::PROBES) {
            self.probes.push(object);
            return true;
        }
        if let Some((writer, sequence)) = segment_of(&object.key) {
            if paths::segment(&writer, sequence) == object.key {
                self.segments.entry(writer).or_default().push(object);
            } else {
                self.unknown.push(object);
            }
            return true;
        }
        let Some(tenant) = object.key.split('/').nth(1).and_then(paths::tenant_of) else {
            self.unknown.push(object);
            return true;
        };
        if tenants.is_some_and(|meant| !meant.contains(&tenant)) {
            return false;
        }
        self.file_of_tenant(tenant, object);
        true
    }

    fn file_of_tenant(&mut self, tenant: TenantId, object: ListedObject) {
        let key = object.key.as_str();
        let is_data = paths::data_file_of(key).is_some_and(|(day, level, id)| paths::data_file(&tenant, day, level, id) == key);
        let is_manifest = paths::manifest_version_of(key).is_some_and(|version| paths::manifest(&tenant, version) == key);
        let is_request = request_of(key).is_some_and(|id| paths::tombstone(&tenant, id) == key);
        if !(is_data || is_manifest || is_request) {
            self.unknown.push(object);
            return;
        }
        let objects = self.tenants.entry(tenant).or_default();
        let place = match (is_data, is_manifest) {
            (true, _) => &mut objects.data,
            (_, true) => &mut objects.manifests,
            _ => &mut objects.requests,
        };
        place.push(object);
    }
}

/// Writer and number of a segment's key.
pub(super) fn segment_of(key: &str) -> Option<(String, u64)> {
    let (writer, _) = key.strip_prefix(paths::SEGMENTS)?.strip_prefix('/')?.split_once('/')?;
    Some((writer.to_owned(), paths::sequence_of(key)?))
}

/// The id of a delete request's key.
pub(super) fn request_of(key: &str) -> Option<Ulid> {
    Ulid::from_string(key.rsplit('/').next()?.strip_suffix(".json")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Day;

    #[test]
    fn objects_are_known_by_their_whole_names() {
        let tenant = TenantId::new("t");
        let mut inventory = Inventory::default();
        let (day, id) = (Day::of(0), Ulid::from_parts(1, 2));
        let known = [
            paths::CLUSTER.to_owned(),
            paths::segment("W", 3),
            paths::data_file(&tenant, day, 1, id),
            paths::manifest(&tenant, 7),
            paths::tombstone(&tenant, id),
        ];
        let unknown = ["v1/seg/W/3.parquet", "v1/seg/W/x/0000000000000003.parquet", "v1/t/data/x.parquet", "v1/t/manifest/7.pb", "v1/==/x"];
        let object = |key: &str| ListedObject { key: key.to_owned(), size: 1, modified: 0 };
        known.iter().map(String::as_str).chain(unknown).for_each(|key| assert!(inventory.file(object(key), None)));
        assert!(!inventory.file(object("v1/other/x"), Some(std::slice::from_ref(&tenant))));
        assert_eq!(inventory.unknown.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), unknown);
        let of_tenant = &inventory.tenants[&tenant];
        assert_eq!((of_tenant.data.len(), of_tenant.manifests.len(), of_tenant.requests.len()), (1, 1, 1));
        assert_eq!((inventory.segments["W"].len(), inventory.cluster.is_some()), (1, true));
    }
}
