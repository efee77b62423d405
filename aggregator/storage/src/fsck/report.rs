//! What a check found.

use serde::Serialize;

use crate::fsck::file::FileVerdict;
use crate::store::paths;

/// Findings of each kind that are told; of more only the number.
const TOLD: u64 = 10_000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// All is well; something waits for its time.
    Note,
    /// Nothing is lost, but something lies there in vain.
    Leak,
    /// Something cannot be read, is missing, or contradicts something else.
    Damage,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The object.
    pub key: String,
    pub what: String,
    /// What a person may do about it.
    pub advice: String,
}

/// All of them, and what was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst first, then by key.
    pub findings: Vec<Finding>,
    pub damages: u64,
    pub leaks: u64,
    pub notes: u64,
    pub objects: u64,
    pub bytes: u64,
    /// Segments and data files that were read.
    pub files: u64,
    pub pages: u64,
    pub rows: u64,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.damages == 0
    }

    pub(super) fn damage(&mut self, key: &str, what: impl Into<String>, advice: &str) {
        self.add(Severity::Damage, key, what.into(), advice);
    }

    pub(super) fn leak(&mut self, key: &str, what: impl Into<String>, advice: &str) {
        self.add(Severity::Leak, key, what.into(), advice);
    }

    pub(super) fn note(&mut self, key: &str, what: impl Into<String>, advice: &str) {
        self.add(Severity::Note, key, what.into(), advice);
    }

    fn add(&mut self, severity: Severity, key: &str, what: String, advice: &str) {
        let count = match severity {
            Severity::Damage => &mut self.damages,
            Severity::Leak => &mut self.leaks,
            Severity::Note => &mut self.notes,
        };
        *count += 1;
        if *count <= TOLD {
            self.findings.push(Finding { severity, key: key.to_owned(), what, advice: advice.to_owned() });
        }
    }

    /// What reading a file told.
    pub(super) fn take(&mut self, key: &str, verdict: &FileVerdict) {
        self.files += 1;
        self.pages += verdict.pages;
        self.rows += verdict.rows;
        let advice = if key.starts_with(paths::SEGMENTS) {
            "restore the object from a copy; without one, move it away: lines of it that agents still have may be sent again"
        } else {
            "restore the object from a copy; without one, `fsck --rebuild --skip-damaged` gives up the file"
        };
        for fault in &verdict.faults {
            self.damage(key, fault, advice);
        }
        for fault in &verdict.index_faults {
            self.damage(key, fault, "no line is lost: queries read the whole file until a compaction makes the index anew");
        }
        if verdict.is_gone {
            self.note(key, "it was deleted while the store was checked", "check again while no program works on the store");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notes_leave_room_for_damage() {
        let mut report = Report::default();
        (0..TOLD + 5).for_each(|_| report.note("a", "b", "c"));
        report.damage("d", "e", "f");
        assert_eq!((report.notes, report.damages, report.findings.len() as u64), (TOLD + 5, 1, TOLD + 1));
        assert!(!report.is_clean());
    }
}
