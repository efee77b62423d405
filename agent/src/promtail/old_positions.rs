//! Promtail's own positions file, taken over once: offsets by path, and cursors of the journal by job.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::yaml;

/// A positions file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("invalid yaml positions file `{path}`: {what}; correct or remove it, or set `positions.ignore_invalid_yaml: true`")]
pub struct OldPositionsError {
    path: PathBuf,
    what: String,
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Where the number counts.
    pub(crate) seqnum_id: u128,
    pub(crate) seqnum: u64,
    /// Microseconds since the epoch.
    pub(crate) realtime: u64,
}

impl Cursor {
    /// Reads `s=ID;i=NUMBER;…;t=TIME;…`, all hexadecimal.
    fn parse(text: &str) -> Option<Self> {
        let part = |name: &str| text.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            seqnum_id: u128::from_str_radix(part("s")?, 16).ok()?,
            seqnum: u64::from_str_radix(part("i")?, 16).ok()?,
            realtime: u64::from_str_radix(part("t")?, 16).ok()?,
        })
    }
}

/// What Promtail's file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OldPositions {
    pub(crate) offsets: BTreeMap<PathBuf, u64>,
    /// By job.
    pub(crate) cursors: BTreeMap<String, Cursor>,
}

/// Nothing if there is no such file.
pub(crate) fn read(path: &Path, ignores_invalid: bool) -> Result<OldPositions, OldPositionsError> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(OldPositions::default()) };
    match parse(&text) {
        Ok(offsets) => Ok(offsets),
        Err(_) if ignores_invalid => Ok(OldPositions::default()),
        Err(what) => Err(OldPositionsError { path: path.to_owned(), what }),
    }
}

fn parse(text: &str) -> Result<OldPositions, String> {
    let root = yaml::parse(text).map_err(|error| error.to_string())?;
    if root.is_null() {
        return Ok(OldPositions::default());
    }
    let pairs = root.mapping().ok_or("expected `positions`")?;
    let positions = pairs.iter().find(|(key, _)| key.raw_text() == Some("positions")).map(|(_, positions)| positions);
    let Some(positions) = positions.filter(|positions| !positions.is_null()) else { return Ok(OldPositions::default()) };
    let pairs = positions.mapping().ok_or_else(|| format!("line {}: expected paths with offsets", positions.line))?;
    let mut old = OldPositions::default();
    for (path, place) in pairs {
        let (path, place) = (path.raw_text().unwrap_or_default(), place.raw_text().unwrap_or_default());
        if let Some(job) = path.strip_prefix("journal-") {
            old.cursors.extend(Cursor::parse(place).map(|cursor| (job.to_owned(), cursor)));
        } else if let Some(offset) = place.parse().ok().filter(|_| !path.starts_with("cursor-")) {
            old.offsets.insert(PathBuf::from(path), offset);
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_cursors_of_the_journal_are_taken_and_others_left() {
        let text = "positions:\n  /a.log: \"6\"\n  cursor-gcplog-x: \"2026\"\n  journal-j: s=1f;i=a;b=2;m=3e8;t=60a24181e4000;x=8e\n  journal-k: nonsense\n";
        let old = parse(text).unwrap();
        assert_eq!(old.offsets, BTreeMap::from([(PathBuf::from("/a.log"), 6)]));
        let cursor = Cursor { seqnum_id: 31, seqnum: 10, realtime: 1_700_000_000_000_000 };
        assert_eq!(old.cursors, BTreeMap::from([("j".to_owned(), cursor)]));
        assert_eq!(parse("").unwrap(), OldPositions::default());
        assert!(parse("}{ no yaml [").is_err());
    }
}
