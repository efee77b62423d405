//! CRI records: `<stamp> <stream> <tag> <text>`, and how a line is cut into them.
//!
//! All records of a line but the last carry `P`, the last one `F`. Cuts may fall inside a UTF-8 character, as a
//! runtime's do, and the last piece may be empty (the program wrote its line feed separately).

use crate::pods::Stream;
use crate::random::Random;
use crate::timestamp::Calendar;

/// A line of which some pieces are not written yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenLine {
    text: Vec<u8>,
    written: usize,
    is_open: bool,
    /// Where the pieces end, the next one last; the end of the text is not among them.
    cuts: Vec<usize>,
}

impl OpenLine {
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes a line that is to be written in the pieces `cuts` makes.
    pub(crate) fn start(&mut self, text: &[u8], cuts: Vec<usize>) {
        self.text.clear();
        self.text.extend_from_slice(text);
        self.written = 0;
        self.is_open = true;
        self.cuts = cuts;
    }

    /// Appends the record of the next piece; true if the line goes on after it.
    pub(crate) fn write_next(&mut self, calendar: &Calendar, stream: Stream, out: &mut Vec<u8>) -> bool {
        let cut = self.cuts.pop();
        let end = cut.unwrap_or(self.text.len());
        write_record(calendar, stream, cut.is_none(), &self.text[self.written..end], out);
        self.written = end;
        self.is_open = cut.is_some();
        self.is_open
    }
}

#[inline]
pub(crate) fn write_record(calendar: &Calendar, stream: Stream, is_last: bool, text: &[u8], out: &mut Vec<u8>) {
    calendar.write_rfc3339(out);
    let head: &[u8; 10] = match (stream, is_last) {
        (Stream::Stdout, true) => b" stdout F ",
        (Stream::Stdout, false) => b" stdout P ",
        (Stream::Stderr, true) => b" stderr F ",
        (Stream::Stderr, false) => b" stderr P ",
    };
    out.extend_from_slice(head);
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Cuts of a line the runtime's buffer cannot hold whole: every `piece_bytes`, the first last.
pub(crate) fn regular_cuts(length: usize, piece_bytes: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (1..).map(|piece| piece * piece_bytes).take_while(|cut| *cut < length).collect();
    cuts.reverse();
    cuts
}

/// One to three cuts at random places after the first byte, no piece longer than `piece_bytes`; the first last.
pub(crate) fn random_cuts(length: usize, piece_bytes: usize, random: &mut Random) -> Vec<usize> {
    let mut cuts = regular_cuts(length, piece_bytes);
    for _ in 0..=random.below(3) {
        cuts.push(1 + random.index(length));
    }
    cuts.sort_by(|a, b| b.cmp(a));
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8], cuts: Vec<usize>) -> String {
        let mut line = OpenLine::default();
        line.start(text, cuts);
        let mut out = Vec::new();
        while line.is_open() {
            line.write_next(&Calendar::new(0), Stream::Stderr, &mut out);
        }
        String::from_utf8(out).unwrap().replace("1970-01-01T00:00:00Z stderr ", "")
    }

    #[test]
    fn pieces_join_to_the_line_and_only_the_last_is_full() {
        assert_eq!(records(b"abcdef", vec![]), "F abcdef\n");
        assert_eq!(records(b"abcdef", vec![4, 1]), "P a\nP bcd\nF ef\n");
        assert_eq!(records(b"abcdef", vec![6, 3]), "P abc\nP def\nF \n");
    }

    #[test]
    fn long_lines_are_cut_at_the_piece_size() {
        assert_eq!(regular_cuts(10, 4), [8, 4]);
        assert_eq!(regular_cuts(8, 4), [4]);
        assert_eq!(regular_cuts(4, 4), [0; 0]);
    }

    #[test]
    fn random_cuts_are_descending_and_in_range() {
        let mut random = Random::new(2);
        for length in 1..200 {
            let cuts = random_cuts(length, 50, &mut random);
            assert!(!cuts.is_empty() && cuts.windows(2).all(|pair| pair[0] > pair[1]), "{cuts:?}");
            assert!(cuts.iter().all(|cut| (1..=length).contains(cut)), "{cuts:?}");
            let mut ends = vec![length];
            ends.extend(&cuts);
            ends.push(0);
            assert!(ends.windows(2).all(|pair| pair[0] - pair[1] <= 50), "{cuts:?}");
        }
    }
}
