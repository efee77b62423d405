//! The keys of objects (below the configured prefix), and nothing but them.

/// Format version, cluster id and peer key; created once.
pub const CLUSTER: &str = "v1/cluster.json";

/// All segments, by writer.
pub const SEGMENTS: &str = "v1/seg";

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
}
