//! Strings planted at seeded places, with the number of lines that hold each.
//!
//! A needle occurs nowhere else: it is made of random digits or of a word that no other text holds. It goes
//! in after a blank, so that a JSON line stays JSON, and a line takes one needle by plan and at most one
//! more, the one that stands in every thousandth line. What is counted is what was planted, and a line that is
//! written again counts again.

use crate::content::pen::Pen;
use crate::random::Random;

/// What kind of search a needle is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedleClass {
    /// A UUID, between blanks.
    Uuid,
    /// 32 hexadecimal digits, between blanks.
    TraceId,
    /// A word between blanks.
    RareWord,
    /// Letters in the middle of a longer token.
    InsideToken,
    /// A word in one line of a thousand.
    PerMille,
}

impl NeedleClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::TraceId => "trace_id",
            Self::RareWord => "rare_word",
            Self::InsideToken => "inside_token",
            Self::PerMille => "per_mille",
        }
    }
}

/// Which needles a line holds, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NeedleSet(u64);

#[derive(Clone, Debug)]
pub(crate) struct Needle {
    pub(crate) class: NeedleClass,
    pub(crate) text: Vec<u8>,
    /// Lines that hold it.
    pub(crate) lines: u64,
}

/// The needles and where they go.
#[derive(Clone, Debug)]
pub(crate) struct Needles {
    random: Random,
    needles: Vec<Needle>,
    /// Bytes written when a needle is due, and its index; the last is due first.
    plan: Vec<(u64, usize)>,
    per_mille: Option<usize>,
}

/// Class and number of lines.
const PLANNED: &[(NeedleClass, u64)] = &[
    (NeedleClass::Uuid, 1),
    (NeedleClass::Uuid, 3),
    (NeedleClass::Uuid, 10),
    (NeedleClass::TraceId, 5),
    (NeedleClass::RareWord, 7),
    (NeedleClass::InsideToken, 20),
];

impl Needles {
    pub(crate) fn none() -> Self {
        Self { random: Random::new(0), needles: Vec::new(), plan: Vec::new(), per_mille: None }
    }

    /// Needles spread over a tree of `total_bytes`.
    pub(crate) fn planned(seed: u64, total_bytes: u64) -> Self {
        let mut random = Random::new(seed ^ 0x6e65_6564_6c65);
        let mut needles = Vec::new();
        let mut plan = Vec::new();
        // The end stays free, so that lines still come after the last needle is due.
        let range = total_bytes - total_bytes / 50;
        for (class, lines) in PLANNED {
            for _ in 0..*lines {
                plan.push((random.below(range), needles.len()));
            }
            needles.push(Needle { class: *class, text: needle_text(*class, &mut random), lines: 0 });
        }
        plan.sort_by(|a, b| b.cmp(a));
        let per_mille = needles.len();
        needles.push(Needle { class: NeedleClass::PerMille, text: needle_text(NeedleClass::PerMille, &mut random), lines: 0 });
        Self { random, needles, plan, per_mille: Some(per_mille) }
    }

    /// Plants what is due after `written` bytes into the line that begins at `start` of `out`, and counts it.
    #[inline]
    pub(crate) fn plant(&mut self, written: u64, start: usize, out: &mut Vec<u8>) -> NeedleSet {
        let mut planted = NeedleSet::default();
        if let Some(index) = self.per_mille
            && self.random.below(1000) == 0
        {
            self.insert(index, start, out, &mut planted);
        }
        if self.plan.last().is_some_and(|(due, _)| *due <= written)
            && let Some((_, index)) = self.plan.pop()
        {
            self.insert(index, start, out, &mut planted);
        }
        planted
    }

    /// Counts the needles of a line that is written once more.
    pub(crate) fn count_again(&mut self, planted: NeedleSet) {
        for (index, needle) in self.needles.iter_mut().enumerate() {
            needle.lines += planted.0 >> index & 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Needle> {
        self.needles.iter()
    }

    fn insert(&mut self, index: usize, start: usize, out: &mut Vec<u8>, planted: &mut NeedleSet) {
        let needle = &mut self.needles[index];
        let mut token = Vec::with_capacity(needle.text.len() + 16);
        if needle.class == NeedleClass::InsideToken {
            Pen(&mut token).text("req").hex(self.random.next(), 6).bytes(&needle.text).hex(self.random.next(), 6);
        } else {
            token.extend_from_slice(&needle.text);
        }
        let from = start + self.random.index(out.len() - start);
        let blank_in = |range: std::ops::Range<usize>| out[range.clone()].iter().position(|byte| *byte == b' ').map(|at| range.start + at);
        match blank_in(from..out.len()).or_else(|| blank_in(start..from)) {
            Some(blank) => {
                token.push(b' ');
                out.splice(blank + 1..blank + 1, token);
            }
            None => {
                out.push(b' ');
                out.extend_from_slice(&token);
            }
        }
        needle.lines += 1;
        planted.0 |= 1 << index;
    }
}

fn needle_text(class: NeedleClass, random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    let mut pen = Pen(&mut text);
    match class {
        NeedleClass::Uuid => pen.uuid(random),
        NeedleClass::TraceId => pen.hex(random.next(), 16).hex(random.next(), 16),
        NeedleClass::RareWord => pen.text("quillfeather").hex(random.next(), 4),
        NeedleClass::InsideToken => pen.text("ZEBRAFINCH"),
        NeedleClass::PerMille => pen.text("wobbegong"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[Vec<u8>], needle: &[u8]) -> u64 {
        lines.iter().filter(|line| line.windows(needle.len()).any(|window| window == needle)).count() as u64
    }

    #[test]
    fn counts_equal_the_lines_that_hold_a_needle() {
        let mut needles = Needles::planned(3, 100_000);
        let mut lines = Vec::new();
        for index in 0..5_000_u64 {
            let mut line = if index % 3 == 0 { b"nothing".to_vec() } else { format!("prefix a b c {index}").into_bytes() };
            needles.plant(index * 20, 0, &mut line);
            lines.push(line);
        }
        for needle in needles.iter() {
            assert!(needle.lines > 0, "{needle:?}");
            assert_eq!(count(&lines, &needle.text), needle.lines, "{needle:?}");
        }
        let planned: Vec<u64> = needles.iter().take(PLANNED.len()).map(|needle| needle.lines).collect();
        assert_eq!(planned, PLANNED.iter().map(|(_, lines)| *lines).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_written_again_counts_again() {
        let mut needles = Needles::planned(3, 1);
        let mut line = b"a b".to_vec();
        let planted = needles.plant(1, 0, &mut line);
        let before: u64 = needles.iter().map(|needle| needle.lines).sum();
        assert_eq!(before, 1);
        needles.count_again(planted);
        assert_eq!(needles.iter().map(|needle| needle.lines).sum::<u64>(), 2);
        needles.count_again(NeedleSet::default());
        assert_eq!(needles.iter().map(|needle| needle.lines).sum::<u64>(), 2);
    }

    #[test]
    fn only_the_line_itself_is_touched() {
        let mut needles = Needles::planned(3, 1);
        let mut out = b"before before ".to_vec();
        let start = out.len();
        out.extend_from_slice(b"x y z");
        needles.plant(1, start, &mut out);
        assert_eq!(&out[..start], b"before before ");
        assert!(out.len() > start + 5);
    }
}
