//! Promtail's own positions file, taken over once: offsets by path. Cursors of journals and the like are left alone.

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

/// Offsets by path; none if there is no such file.
pub(crate) fn read(path: &Path, ignores_invalid: bool) -> Result<BTreeMap<PathBuf, u64>, OldPositionsError> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(BTreeMap::new()) };
    match parse(&text) {
        Ok(offsets) => Ok(offsets),
        Err(_) if ignores_invalid => Ok(BTreeMap::new()),
        Err(what) => Err(OldPositionsError { path: path.to_owned(), what }),
    }
}

fn parse(text: &str) -> Result<BTreeMap<PathBuf, u64>, String> {
    let root = yaml::parse(text).map_err(|error| error.to_string())?;
    if root.is_null() {
        return Ok(BTreeMap::new());
    }
    let pairs = root.mapping().ok_or("expected `positions`")?;
    let positions = pairs.iter().find(|(key, _)| key.raw_text() == Some("positions")).map(|(_, positions)| positions);
    let Some(positions) = positions.filter(|positions| !positions.is_null()) else { return Ok(BTreeMap::new()) };
    let pairs = positions.mapping().ok_or_else(|| format!("line {}: expected paths with offsets", positions.line))?;
    let mut offsets = BTreeMap::new();
    for (path, offset) in pairs {
        let path = path.raw_text().unwrap_or_default();
        let offset = offset.raw_text().and_then(|text| text.parse().ok());
        if let Some(offset) = offset.filter(|_| !path.starts_with("cursor-") && !path.starts_with("journal-")) {
            offsets.insert(PathBuf::from(path), offset);
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_taken_and_cursors_left() {
        let offsets = parse("positions:\n  /a.log: \"6\"\n  cursor-gcplog-x: \"2026\"\n  journal-j: s=1\n").unwrap();
        assert_eq!(offsets, BTreeMap::from([(PathBuf::from("/a.log"), 6)]));
        assert_eq!(parse("").unwrap(), BTreeMap::new());
        assert!(parse("}{ no yaml [").is_err());
    }
}
