//! The keys of objects (below the configured prefix), and nothing but them.

use ulid::Ulid;

use crate::entry::TenantId;
use crate::store::day::Day;
use crate::store::tenant;

/// Format version, cluster id and peer key; created once.
pub const CLUSTER: &str = "v1/cluster.json";

/// All segments, by writer.
pub const SEGMENTS: &str = "v1/seg";

/// The folder of all tenants' folders; what else lies there is no tenant's ([`tenant_of`]).
pub const TENANTS: &str = "v1";

/// Objects of the start-up probe.
pub(crate) const PROBES: &str = "v1/probe";

/// The segments of one writer.
pub fn writer(writer: &str) -> String {
    format!("{SEGMENTS}/{writer}")
}

pub fn segment(writer: &str, sequence: u64) -> String {
    format!("{SEGMENTS}/{writer}/{sequence:016x}.parquet")
}

/// The sequence number in a segment's key; `None` if it is no segment's.
pub fn sequence_of(key: &str) -> Option<u64> {
    let digits = key.rsplit('/').next()?.strip_suffix(".parquet")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Writer and sequence number of a segment's key; `None` if it is no segment's.
pub fn segment_of(key: &str) -> Option<(&str, u64)> {
    let (writer, _) = key.strip_prefix(SEGMENTS)?.strip_prefix('/')?.split_once('/')?;
    Some((writer, sequence_of(key)?))
}

/// The tenant whose folder has this name; `None` if it is no tenant's.
pub fn tenant_of(folder: &str) -> Option<TenantId> {
    tenant::tenant_of(folder)
}

/// The compacted files of a tenant, by day.
pub fn data_files(tenant: &TenantId) -> String {
    format!("{TENANTS}/{}/data", tenant::tenant(tenant))
}

/// A compacted file.
pub fn data_file(tenant: &TenantId, day: Day, level: u8, id: Ulid) -> String {
    format!("{}/{day}/{level}-{id}.parquet", data_files(tenant))
}

/// Day, level and ULID of a compacted file's key; `None` if it is none's.
pub fn data_file_of(key: &str) -> Option<(Day, u8, Ulid)> {
    let mut parts = key.rsplit('/');
    let (level, id) = parts.next()?.strip_suffix(".parquet")?.split_once('-')?;
    let day: Day = parts.next()?.parse().ok()?;
    let (number, ulid): (u8, Ulid) = (level.parse().ok()?, Ulid::from_string(id).ok()?);
    // One spelling each: `+2` and lower-case digits are read by the parsers, but name other objects.
    let is_spelt_so = number.to_string() == level && ulid.to_string() == id;
    (is_spelt_so && parts.next() == Some("data")).then_some((day, number, ulid))
}

/// The delete requests of a tenant.
pub fn tombstones(tenant: &TenantId) -> String {
    format!("{TENANTS}/{}/tomb", tenant::tenant(tenant))
}

/// A delete request.
pub fn tombstone(tenant: &TenantId, id: Ulid) -> String {
    format!("{}/{id}.json", tombstones(tenant))
}

/// The manifest versions of a tenant.
pub fn manifests(tenant: &TenantId) -> String {
    format!("{TENANTS}/{}/manifest", tenant::tenant(tenant))
}

/// A manifest version. Keys ascend as versions do.
pub fn manifest(tenant: &TenantId, version: u64) -> String {
    format!("{}/{version:020}.pb", manifests(tenant))
}

/// The version in a manifest's key; `None` if it is no manifest's.
pub fn manifest_version_of(key: &str) -> Option<u64> {
    let digits = key.rsplit('/').next()?.strip_suffix(".pb")?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_key_tells_its_number() {
        assert_eq!(segment("W", 255), "v1/seg/W/00000000000000ff.parquet");
        assert_eq!(sequence_of(&segment("W", u64::MAX)), Some(u64::MAX));
        assert_eq!(sequence_of("v1/seg/W/ff.parquet"), None);
        assert_eq!(sequence_of("v1/seg/W/00000000000000ff.tmp"), None);
    }

    #[test]
    fn a_compacted_files_key_tells_what_it_is() {
        let tenant = TenantId::new("a*b");
        let (day, id) = (Day::of(1_700_000_000_000_000_000), Ulid::from_parts(1, 2));
        let key = data_file(&tenant, day, 2, id);
        assert_eq!(key, "v1/a@b/data/2023-11-14/2-00000000010000000000000002.parquet");
        assert_eq!(data_file_of(&key), Some((day, 2, id)));
        for other in [
            "v1/t/data/2023-11-14/02-00000000010000000000000002.parquet",
            "v1/t/data/2023-11-14/+2-00000000010000000000000002.parquet",
            "v1/t/data/2023-11-14/2-00000000010000000000000002.tmp",
            "v1/t/data/2023-11-14/2-0000000001000000000000000i.parquet",
            "v1/t/data/2023-11-99/2-00000000010000000000000002.parquet",
            "v1/t/tomb/2023-11-14/2-00000000010000000000000002.parquet",
        ] {
            assert_eq!(data_file_of(other), None, "{other}");
        }
        assert_eq!(tombstone(&tenant, id), "v1/a@b/tomb/00000000010000000000000002.json");
    }

    #[test]
    fn a_manifests_key_tells_its_version_and_orders_as_it_does() {
        let tenant = TenantId::new("t");
        assert_eq!(manifest(&tenant, 7), "v1/t/manifest/00000000000000000007.pb");
        assert_eq!(manifest_version_of(&manifest(&tenant, u64::MAX)), Some(u64::MAX));
        assert!(manifest(&tenant, 99) < manifest(&tenant, 100));
        for other in ["7.pb", "+0000000000000000007.pb", "00000000000000000007.json", "99999999999999999999.pb"] {
            assert_eq!(manifest_version_of(other), None, "{other}");
        }
    }
}
