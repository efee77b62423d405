//! What is wrong or different about a configuration file: every finding with its line, all of them at once.

use std::fmt;

/// A finding at a line of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Counted from 1.
    pub line: usize,
    /// The key it is about, as `clients[0].batchwait`; empty if it is about the file.
    pub path: String,
    pub text: String,
}

/// All findings of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Reasons not to start.
    pub errors: Vec<Finding>,
    /// Keys that are accepted and do nothing, or do something else here.
    pub notes: Vec<Finding>,
}

impl Report {
    pub(crate) fn error(&mut self, line: usize, text: impl Into<String>) {
        self.errors.push(Finding { line, path: String::new(), text: text.into() });
    }

    pub(crate) fn note(&mut self, line: usize, text: impl Into<String>) {
        self.notes.push(Finding { line, path: String::new(), text: text.into() });
    }

    pub(crate) fn sorted(mut self) -> Self {
        self.errors.sort();
        self.errors.dedup();
        self.notes.sort();
        self.notes.dedup();
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(|finding| ("error", finding));
        let notes = self.notes.iter().map(|finding| ("note", finding));
        for (index, (kind, finding)) in errors.chain(notes).enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{kind}: line {}: ", finding.line)?;
            if !finding.path.is_empty() {
                write!(f, "{}: ", finding.path)?;
            }
            f.write_str(&finding.text)?;
        }
        Ok(())
    }
}
