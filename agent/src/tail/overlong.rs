//! Lines that come out of stages longer than the limit: cut, sent in pieces, or left out.

use super::stages::StageOutlet;
use crate::batch::builder::BatchBuilder;
use crate::metrics::DropReason;
use crate::parse::text;
use crate::pipeline::context::StageContext;
use crate::pipeline::entry::Entry;
use crate::tail::records::LongLine;

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlong {
    /// Cut without a word in the line, as a `promtail.yaml` means it.
    Cut,
    /// As lines of pods are treated.
    Native(LongLine),
}

impl StageOutlet {
    /// Puts an entry with its stamp into the batch, within the limits.
    pub(super) fn push(&mut self, batch: &mut BatchBuilder, entry: Entry, timestamp: i64, context: &mut StageContext<'_>) {
        let (limit, length) = (self.limits.max_line_size, entry.line.len());
        if limit == 0 || length <= limit {
            self.put(batch, &entry, entry.line.as_bytes(), timestamp, None);
            return;
        }
        match self.limits.overlong {
            Overlong::Native(LongLine::Drop) => self.limits.metrics.dropped_lines(DropReason::LineTooLong, 1, length as u64),
            Overlong::Cut => {
                let kept = entry.line.floor_char_boundary(limit);
                self.limits.metrics.truncated_lines(1, (length - kept) as u64);
                self.put(batch, &entry, &entry.line.as_bytes()[..kept], timestamp, None);
            }
            Overlong::Native(LongLine::Truncate) => {
                let (line, left_out) = text::truncate(entry.line.as_bytes(), length as u64, limit);
                self.limits.metrics.truncated_lines(1, left_out);
                self.put(batch, &entry, &line, timestamp, Some(("truncated", left_out.to_string())));
            }
            Overlong::Native(LongLine::Split) => {
                self.limits.metrics.split_lines(1);
                let pieces = text::pieces(entry.line.as_bytes(), limit);
                let (count, mut stamp) = (pieces.len(), timestamp);
                for (index, piece) in pieces.into_iter().enumerate() {
                    if index > 0 {
                        stamp = context.stamp_behind(stamp, entry.origin.first);
                    }
                    self.put(batch, &entry, piece, stamp, Some(("split", format!("{}/{count}", index + 1))));
                }
            }
        }
    }

    /// Puts a line of `entry` into the batch, with a pair of its own where the receiver takes it.
    fn put(&mut self, batch: &mut BatchBuilder, entry: &Entry, line: &[u8], timestamp: i64, pair: Option<(&str, String)>) {
        let index = self.rendering(&entry.labels);
        let Some(slot) = self.slot(index, line.len(), batch) else { return };
        let pair = pair.as_ref().filter(|_| self.takes_metadata()).map(|(name, value)| (*name, value.as_str()));
        if entry.metadata.is_empty() && pair.is_none() {
            batch.push(slot, timestamp, line);
            return;
        }
        let pairs = entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // What a stage called so gives way.
        let pairs = pairs.filter(|(name, _)| pair.is_none_or(|(own, _)| own != *name));
        let pairs: Vec<(&str, &str)> = pairs.chain(pair).collect();
        batch.push_with_metadata(slot, timestamp, line, &pairs);
    }
}
