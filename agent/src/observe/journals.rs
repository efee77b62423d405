//! What the journal's reader last saw of each of its files. Places count entries, not bytes.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::positions::table::ContainerPath;

const PREFIX: &str = "journal-";

/// As which the positions know the journal files of a job.
pub(crate) fn group(job: &str) -> ContainerPath {
    format!("{PREFIX}{job}").into()
}

/// Whether the positions mean journal files by it: containers have a `/` in their names, other targets a mark between job and path.
pub(crate) fn is_group(group: &str) -> bool {
    group.starts_with(PREFIX) && !group.contains(['/', '\u{1f}'])
}

/// A journal file that is being read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JournalView {
    pub(crate) path: String,
    /// Those that all its lines have.
    pub(crate) labels: BTreeMap<String, String>,
    /// Number of the entry where reading of it begins.
    pub(crate) start: u64,
    /// Number of the next entry.
    pub(crate) next: u64,
    /// The number behind the last entry that is written.
    pub(crate) end: u64,
    pub(crate) last_error: Option<String>,
}

/// All journal files being read, by group and id.
#[derive(Debug, Default)]
pub(crate) struct JournalBoard(Mutex<BTreeMap<(ContainerPath, String), JournalView>>);

impl JournalBoard {
    /// Replaces what is known of a file.
    pub(crate) fn report(&self, group: &str, id: &str, view: JournalView) {
        self.0.lock().insert((group.into(), id.to_owned()), view);
    }

    /// Nothing more of it is read.
    pub(crate) fn forget(&self, group: &str, id: &str) {
        self.0.lock().remove(&(group.into(), id.to_owned()));
    }

    pub(crate) fn all(&self) -> BTreeMap<(ContainerPath, String), JournalView> {
        self.0.lock().clone()
    }
}
