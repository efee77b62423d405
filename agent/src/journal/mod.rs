//! systemd's journal as a source of lines: its files are read directly, without libsystemd and without a program of its own.
//!
//! ```text
//! directory (which files) → file (entries of one file) → fields (labels, line) → open (its stamps and stages)
//!                         → source (one job, all its files) → reader (the thread)
//! ```
//! A journal file only grows, has an id of its own that survives its renaming, and numbers its entries. So a position is, for each file, the number of the
//! next entry, kept with the stamps and stages before it as for any log file: a replay repeats every entry the same. Entries of several files are read
//! in the order in which they were written. A file that was archived and read is closed; one that is removed while it is open is read to its end.
//! What is damaged ends its file, counted; other files are unaffected.

mod directory;
mod fields;
mod file;
mod format;
#[cfg(test)]
mod made;
mod open;
mod reader;
mod source;

pub(crate) use reader::{JournalJobs, JournalReader};

use crate::promtail::journal::JournalConfig;

/// How many files a job would read, or the first that cannot be read and why.
pub(crate) fn readable_files(config: &JournalConfig) -> Result<usize, String> {
    let files = directory::list(&directory::directories(config.path.as_deref()));
    for listed in &files {
        if let Err(error) = file::JournalFile::open(&listed.path) {
            return Err(format!("cannot read `{}`: {error}", listed.path.display()));
        }
    }
    Ok(files.len())
}
