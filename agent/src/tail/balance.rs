//! The balance of a file: every record that was read is an entry that was acknowledged, was dropped and counted, or is part of another entry.
//!
//! The reader measures what each look at a file did: records by the reader's counts, entries by what the batch holds more than before. These travel with
//! the batch; once it is settled they are added up again, file by file. When a file is finished, both sums must be equal and balanced, and the file
//! read to its size. What does not agree is a bug of this program, counted in `balance_errors_total`.

use std::collections::HashMap;

use super::counts::ReadCounts;
use crate::batch::builder::BatchBuilder;
use crate::positions::table::FileId;

/// Records and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Balance {
    pub(crate) records: i64,
    pub(crate) entries: i64,
    pub(crate) dropped: i64,
    /// Part of the entry of another record; less those that became an entry after all.
    pub(crate) joined: i64,
}

impl Balance {
    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.entries += other.entries;
        self.dropped += other.dropped;
        self.joined += other.joined;
    }

    fn since(self, before: Self) -> Self {
        Self {
            records: self.records - before.records,
            entries: self.entries - before.entries,
            dropped: self.dropped - before.dropped,
            joined: self.joined - before.joined,
        }
    }

    fn is_balanced(self) -> bool {
        self.records == self.entries + self.dropped + self.joined
    }
}

/// Measures what happens between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter(Balance);

impl Meter {
    pub(crate) fn start(counts: &ReadCounts, batch: &BatchBuilder) -> Self {
        Self(now(counts, batch))
    }

    pub(crate) fn stop(self, counts: &ReadCounts, batch: &BatchBuilder) -> Balance {
        now(counts, batch).since(self.0)
    }
}

fn now(counts: &ReadCounts, batch: &BatchBuilder) -> Balance {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Balance {
        records: signed(counts.lines),
        entries: i64::try_from(batch.entries()).unwrap_or(i64::MAX),
        dropped: signed(counts.dropped_records()),
        joined: counts.joined,
    }
}

/// What the reader knows of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileBalance {
    total: Balance,
    /// Not yet given to a batch.
    unsent: Balance,
}

impl FileBalance {
    pub(crate) fn add(&mut self, part: Balance) {
        self.total.add(part);
        self.unsent.add(part);
    }

    /// Records of stages are joined by rules of their own; what is neither entry nor dropped was joined.
    pub(crate) fn add_of_stages(&mut self, part: Balance) {
        self.add(Balance { joined: part.records - part.entries - part.dropped, ..part });
    }

    /// What goes with the batch being closed; `None` if nothing happened.
    pub(crate) fn take(&mut self, file: FileId) -> Option<BalancePart> {
        let part = std::mem::take(&mut self.unsent);
        (part != Balance::default()).then_some(BalancePart { file, part, end: None })
    }

    /// Entries not yet given to a batch.
    pub(crate) fn unsent_entries(&self) -> i64 {
        self.unsent.entries
    }

    /// What goes with the batch that holds the file's end.
    pub(crate) fn finish(mut self, file: FileId, end: FileEnd) -> BalancePart {
        BalancePart { file, part: std::mem::take(&mut self.unsent), end: Some((self.total, end)) }
    }
}

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileEnd {
    /// Read to its size.
    Drained,
    /// Bytes were left, or went, and that was counted.
    Counted,
    /// Bytes were left unread, and nobody counted them.
    Unread,
    /// A panic ended its turn: what comes of it from now on is counted from zero.
    Interrupted,
}

/// What one batch holds of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BalancePart {
    pub(crate) file: FileId,
    pub(crate) part: Balance,
    /// The reader's sum, with the file's last part.
    pub(crate) end: Option<(Balance, FileEnd)>,
}

/// The sums of settled batches by file.
#[derive(Debug, Default)]
pub(crate) struct SettledBalances(HashMap<FileId, Balance>);

impl SettledBalances {
    /// Adds a batch of `entries` entries. Returns the number of things that do not agree.
    pub(crate) fn settle(&mut self, parts: &[BalancePart], entries: u64) -> u64 {
        let told: i64 = parts.iter().map(|part| part.part.entries).sum();
        let mut errors = u64::from(i64::try_from(entries) != Ok(told));
        for part in parts {
            let settled = self.0.entry(part.file).or_default();
            settled.add(part.part);
            let Some((total, end)) = part.end else { continue };
            let settled = *settled;
            self.0.remove(&part.file);
            if end == FileEnd::Interrupted {
                continue;
            }
            if settled != total || !settled.is_balanced() || end == FileEnd::Unread {
                errors += 1;
                tracing::error!(file = part.file.0, ?settled, read = ?total, ?end, "what was read of a file and what was delivered do not agree");
            }
        }
        // Files at rest are in none of them.
        self.0.shrink_to(2 * self.0.len());
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Balance = Balance { records: 5, entries: 3, dropped: 1, joined: 1 };

    fn two_parts(file: FileId) -> (FileBalance, BalancePart) {
        let mut balance = FileBalance::default();
        balance.add(PART);
        let first = balance.take(file).unwrap();
        balance.add(PART);
        (balance, first)
    }

    #[test]
    fn a_file_whose_batches_are_all_settled_is_balanced() {
        let file = FileId(1);
        let (balance, first) = two_parts(file);
        let mut settled = SettledBalances::default();
        assert_eq!(settled.settle(&[first], 3), 0);
        assert_eq!(settled.settle(&[balance.finish(file, FileEnd::Drained)], 3), 0);
        assert!(settled.0.is_empty());
    }

    #[test]
    fn an_interrupted_file_is_counted_from_zero() {
        let file = FileId(1);
        let (mut balance, first) = two_parts(file);
        balance.add(Balance { records: 1, ..Balance::default() });
        let mut settled = SettledBalances::default();
        assert_eq!(settled.settle(&[first], 3), 0);
        assert_eq!(settled.settle(&[balance.finish(file, FileEnd::Interrupted)], 3), 0);
        let (balance, first) = two_parts(file);
        assert_eq!(settled.settle(&[first, balance.finish(file, FileEnd::Drained)], 6), 0);
        assert_eq!(settled.settle(&[balance.finish(file, FileEnd::Interrupted)], 2), 1, "a lost entry shows all the same");
    }

    #[test]
    fn a_lost_batch_a_lost_entry_a_lost_record_and_an_unread_end_all_show() {
        let file = FileId(1);
        let (balance, _) = two_parts(file);
        assert_eq!(SettledBalances::default().settle(&[balance.finish(file, FileEnd::Drained)], 3), 1, "a lost batch");
        let (_, first) = two_parts(file);
        assert_eq!(SettledBalances::default().settle(&[first], 2), 1, "a lost entry");
        let mut balance = FileBalance::default();
        balance.add(Balance { records: 6, ..PART });
        assert_eq!(SettledBalances::default().settle(&[balance.finish(file, FileEnd::Drained)], 3), 1, "a lost record");
        let mut balance = FileBalance::default();
        balance.add(PART);
        assert_eq!(SettledBalances::default().settle(&[balance.finish(file, FileEnd::Unread)], 3), 1, "an unread end");
    }
}
