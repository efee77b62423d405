//! Joining the pieces of a split line: one pending group per output stream.
//!
//! `P` appends, `F` appends and ends. Of a group longer than the limit only the head is kept and the rest counted, so memory is bounded
//! by the limit whatever the runtime splits. The text kept is raw; it is made valid UTF-8 when the line is whole, since a character may
//! be cut between two pieces.

use std::time::{Duration, Instant};

/// A line of which only pieces were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingLine {
    /// The head of the text, at most [`Self::keep`] bytes.
    text: Vec<u8>,
    keep: usize,
    /// Length of the text, kept or not.
    total: u64,
    /// The runtime's stamp of the last piece.
    last_stamp: i64,
    /// When it was first seen to have no room left.
    full_since: Option<Instant>,
}

impl PendingLine {
    /// `keep`: how many bytes of text to hold at most.
    pub(crate) fn new(keep: usize) -> Self {
        Self { text: Vec::new(), keep, total: 0, last_stamp: 0, full_since: None }
    }

    /// Appends a piece of which `text` was read and `unread` bytes more were skipped.
    pub(crate) fn append(&mut self, text: &[u8], unread: u64, stamp: i64) {
        // Once something is missing, nothing may follow the gap.
        let room = if self.total == self.text.len() as u64 { self.keep - self.text.len() } else { 0 };
        self.text.extend_from_slice(&text[..text.len().min(room)]);
        self.total += text.len() as u64 + unread;
        self.last_stamp = stamp;
    }

    /// Lets go of all text but the first `keep` bytes.
    pub(crate) fn shorten(&mut self, keep: usize) {
        if self.text.len() > keep {
            self.text.truncate(keep);
            self.text.shrink_to_fit();
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Since when it is known to be as long as may be kept, or longer.
    pub(crate) fn is_full_for(&mut self, now: Instant) -> Duration {
        if self.total < self.keep as u64 {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.full_since.get_or_insert(now))
    }

    pub(crate) fn last_stamp(&self) -> i64 {
        self.last_stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_and_the_last_stamp_counts() {
        let mut line = PendingLine::new(100);
        line.append(b"one ", 0, 1);
        line.append(b"two", 0, 2);
        assert_eq!((line.text(), line.total(), line.last_stamp()), (&b"one two"[..], 7, 2));
    }

    #[test]
    fn a_shortened_line_keeps_its_head_and_its_length() {
        let mut line = PendingLine::new(100);
        line.append(b"abcdef", 0, 1);
        line.shorten(4);
        line.append(b"gh", 0, 2);
        assert_eq!((line.text(), line.total()), (&b"abcd"[..], 8));
        line.shorten(10);
        assert_eq!(line.text(), b"abcd");
    }

    #[test]
    fn beyond_the_limit_only_the_length_grows() {
        let mut line = PendingLine::new(5);
        line.append(b"abcd", 3, 1);
        line.append(b"efgh", 0, 2);
        assert_eq!((line.text(), line.total()), (&b"abcd"[..], 11));
        line = PendingLine::new(5);
        line.append(b"abcdefg", 0, 1);
        line.append(b"h", 0, 2);
        assert_eq!((line.text(), line.total()), (&b"abcde"[..], 8));
    }
}
