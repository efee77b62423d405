//! Answers a probe from the blocks of an index.
//!
//! Candidates only ever leave the set: a row of bits is and-ed to what is left of a class, and the look at a class
//! ends as soon as nothing is. A block that the caller does not have leaves its candidates in.

use std::collections::BTreeSet;

use crate::granule_set::GranuleSet;
use crate::header::IndexHeader;
use crate::layout::{BlockId, ClassLayout};
use crate::parameters::folded_place;
use crate::probe::{Places, Probe, Question};
use crate::rows::eight_at;

/// What a probe found, with figures for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// Those that may hold what was asked for.
    pub granules: GranuleSet,
    /// Candidates before.
    pub asked: u32,
    /// Candidates that certainly do not hold it; `asked - excluded` are left.
    pub excluded: u32,
    /// Looks that went without their block.
    pub missing_blocks: u32,
}

impl IndexHeader {
    /// The blocks that answering the probe may need, ascending, each once.
    pub fn blocks_for(&self, probe: &Probe) -> Vec<BlockId> {
        let mut blocks = BTreeSet::new();
        self.collect_blocks(&probe.question(&self.parameters), &mut blocks);
        blocks.into_iter().collect()
    }

    fn collect_blocks(&self, question: &Question, blocks: &mut BTreeSet<BlockId>) {
        match question {
            Question::Maybe => {}
            Question::All(parts) | Question::Any(parts) => parts.iter().for_each(|part| self.collect_blocks(part, blocks)),
            Question::Grams(places) => {
                for class in &self.layout.classes {
                    blocks.extend(rows(class, places).map(|row| class.block_of(row)));
                }
            }
        }
    }

    /// Which granules may hold what is asked for. `block` gives the rows of a block ([`IndexHeader::open_block`]), or `None` if it is not there.
    pub fn probe<'b>(&self, probe: &Probe, block: impl FnMut(BlockId) -> Option<&'b [u8]>) -> ProbeOutcome {
        self.probe_among(probe, GranuleSet::all(self.granules().len() as u32), block)
    }

    /// The same for some of the granules; `candidates` has one place for each granule of this index.
    pub fn probe_among<'b>(&self, probe: &Probe, candidates: GranuleSet, block: impl FnMut(BlockId) -> Option<&'b [u8]>) -> ProbeOutcome {
        assert_eq!(candidates.capacity() as usize, self.granules().len(), "candidates of another index");
        let asked = candidates.count();
        let mut search = Search { header: self, block, missing_blocks: 0 };
        let granules = search.narrow(&probe.question(&self.parameters), candidates);
        let excluded = asked - granules.count();
        ProbeOutcome { granules, asked, excluded, missing_blocks: search.missing_blocks }
    }
}

/// The rows of a class that tell about places.
fn rows(class: &ClassLayout, places: &Places) -> impl Iterator<Item = u32> {
    let (plane, bits_log2) = (class.class.plane, class.class.bits_log2);
    places.of(plane).iter().map(move |place| folded_place(*place, plane, bits_log2))
}

struct Search<'h, B> {
    header: &'h IndexHeader,
    block: B,
    missing_blocks: u32,
}

impl<'b, B: FnMut(BlockId) -> Option<&'b [u8]>> Search<'_, B> {
    fn narrow(&mut self, question: &Question, mut candidates: GranuleSet) -> GranuleSet {
        if candidates.is_empty() {
            return candidates;
        }
        match question {
            Question::Maybe => candidates,
            Question::Grams(places) => {
                for class in &self.header.layout.classes {
                    self.narrow_class(class, places, &mut candidates);
                }
                candidates
            }
            Question::All(parts) => parts.iter().fold(candidates, |left, part| self.narrow(part, left)),
            Question::Any(parts) => {
                let mut found = GranuleSet::none(candidates.capacity());
                for part in parts {
                    found.union_with(&self.narrow(part, candidates.clone()));
                }
                found
            }
        }
    }

    fn narrow_class(&mut self, class: &ClassLayout, places: &Places, candidates: &mut GranuleSet) {
        if places.of(class.class.plane).is_empty() {
            return;
        }
        let mut columns = vec![0_u8; class.row_bytes()];
        for (column, granule) in class.granules.iter().enumerate() {
            columns[column / 8] |= u8::from(candidates.contains(*granule)) << (column % 8);
        }
        for row in rows(class, places) {
            if columns.iter().all(|byte| *byte == 0) {
                break;
            }
            let place = class.row_in_block(row);
            let Some(block) = (self.block)(class.block_of(row)).filter(|block| place.end <= block.len() * 8) else {
                self.missing_blocks += 1;
                continue;
            };
            columns.iter_mut().zip(place.step_by(8)).for_each(|(column, at)| *column &= eight_at(block, at));
        }
        for (column, granule) in class.granules.iter().enumerate() {
            if columns[column / 8] >> (column % 8) & 1 == 0 {
                candidates.remove(*granule);
            }
        }
    }
}
