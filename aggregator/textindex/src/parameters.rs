//! What an index was built with, and where a gram's bit is.

use crate::fill::FillLimits;
use crate::gram::{Gram, Plane};

/// Odd, with its bits spread evenly: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bits below those that number the bits of the larger plane.
pub(crate) const PLACE_SHIFT: u32 = 64 - 20;

/// Written into the header, so that a reader need not assume them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexParameters {
    pub(crate) multiplier: u64,
    pub limits: FillLimits,
}

impl IndexParameters {
    pub fn new(limits: FillLimits) -> IndexParameters {
        IndexParameters { multiplier: MULTIPLIER, limits }
    }

    /// Whether planes of these parameters become those of `other` when they are folded on.
    pub(crate) fn is_continued_by(&self, other: &IndexParameters) -> bool {
        self.multiplier == other.multiplier && self.limits.text <= other.limits.text && self.limits.id <= other.limits.id
    }

    /// The number of a gram's bit in the plane at full size: the top 20 bits of `value × multiplier` modulo 2^64 for
    /// ids, its top 17 bits modulo 2^61 for text. One shift serves both.
    pub(crate) fn place(&self, gram: Gram) -> u32 {
        let product = gram.value.wrapping_mul(self.multiplier) >> PLACE_SHIFT;
        (product & (gram.plane.full_bits() as u64 - 1)) as u32
    }
}

impl Default for IndexParameters {
    fn default() -> IndexParameters {
        IndexParameters::new(FillLimits::default())
    }
}

/// The number of the bit once the plane has been folded to 2^`bits_log2` bits.
pub(crate) fn folded_place(place: u32, plane: Plane, bits_log2: u8) -> u32 {
    place >> (plane.full_bits_log2() - bits_log2)
}
