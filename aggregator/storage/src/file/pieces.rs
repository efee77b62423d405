//! The bytes of a file on their way out, in pieces: a row group is never copied into one buffer that grows or waits beside its pages.

use std::io::{self, Write};

use bytes::Bytes;

/// Bytes of a piece.
const PIECE_BYTES: usize = 1 << 20;

/// Takes what is written, as pieces of bounded length.
pub(crate) struct Pieces {
    complete: Vec<Bytes>,
    open: Vec<u8>,
    longest: usize,
}

impl Pieces {
    pub(crate) fn new() -> Self {
        Self { complete: Vec::new(), open: Vec::new(), longest: PIECE_BYTES }
    }

    /// All in one piece.
    pub(crate) fn whole() -> Self {
        Self { longest: usize::MAX, ..Self::new() }
    }

    /// Makes room for `more` bytes, as far as they come into one piece.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.open.reserve_exact(more.min(self.longest - self.open.len()));
    }

    /// What comes from here on is one piece with what is open, however long.
    pub(crate) fn keep_together(&mut self) {
        self.longest = usize::MAX;
    }

    pub(crate) fn len(&self) -> usize {
        self.complete.iter().map(Bytes::len).sum::<usize>() + self.open.len()
    }

    /// The end of the open piece, from where [`Self::keep_together`] was called or later.
    pub(crate) fn last_mut(&mut self, length: usize) -> &mut [u8] {
        let start = self.open.len() - length;
        &mut self.open[start..]
    }

    /// What was written and not taken before.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.end_piece();
        std::mem::take(&mut self.complete)
    }

    fn end_piece(&mut self) {
        if !self.open.is_empty() {
            self.complete.push(std::mem::take(&mut self.open).into());
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.len() == self.longest {
            self.end_piece();
            self.reserve(PIECE_BYTES);
        }
        let length = bytes.len().min(self.longest - self.open.len());
        self.open.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_out_in_pieces_of_bounded_length() {
        let written: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|at| (at % 251) as u8).collect();
        let mut pieces = Pieces::new();
        for part in written.chunks(PIECE_BYTES / 3 + 1) {
            pieces.write_all(part).expect("in memory");
        }
        assert_eq!(pieces.len(), written.len());
        let taken = pieces.take();
        assert_eq!(taken.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 5]);
        assert_eq!(taken.concat(), written);
        assert!(pieces.take().is_empty());
    }

    #[test]
    fn an_end_that_is_kept_together_is_one_piece() {
        let mut pieces = Pieces::new();
        pieces.write_all(&[1; 7]).expect("in memory");
        pieces.keep_together();
        pieces.write_all(&vec![2; 2 * PIECE_BYTES]).expect("in memory");
        pieces.last_mut(2 * PIECE_BYTES)[0] = 3;
        let taken = pieces.take();
        assert_eq!((taken.len(), taken[0][6], taken[0][7], taken[0].len()), (1, 1, 3, 2 * PIECE_BYTES + 7));
    }
}
