//! Turns planes into bit slices, eight granules at a time.
//!
//! A [`Slices`] takes planes of one size in order; eight of them become a *strip*: byte b of it is bit b of the eight.
//! A row of the index is one byte of every strip. So a page's planes are turned when they arrive, and writing the
//! index later needs no second copy of it.

#[derive(Debug, Clone)]
pub(crate) struct Slices {
    /// Up to eight planes that are not turned yet.
    pending: Vec<Vec<u64>>,
    strips: Vec<Vec<u8>>,
}

impl Slices {
    pub(crate) fn new() -> Slices {
        Slices { pending: Vec::with_capacity(8), strips: Vec::new() }
    }

    /// Takes the next plane, of the size of those before.
    pub(crate) fn push(&mut self, plane: Vec<u64>) {
        self.pending.push(plane);
        if self.pending.len() == 8 {
            self.turn();
        }
    }

    /// To be called once after the last plane.
    pub(crate) fn finish(&mut self) {
        if !self.pending.is_empty() {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let words = self.pending[0].len();
        let mut strip = Vec::with_capacity(words * 64);
        for word in 0..words {
            let mut eight = [[0; 8]; 8];
            for (slot, plane) in eight.iter_mut().zip(&self.pending) {
                *slot = plane[word].to_le_bytes();
            }
            for byte in 0..8 {
                strip.extend_from_slice(&transposed(eight.map(|bytes| bytes[byte])));
            }
        }
        self.strips.push(strip);
        self.pending.clear();
    }

    /// Forgets the rows from `rows` on, and gives their memory back an eighth at a time.
    pub(crate) fn truncate(&mut self, rows: usize) {
        for strip in &mut self.strips {
            strip.truncate(rows);
            if strip.len() <= strip.capacity() / 8 * 7 {
                strip.shrink_to_fit();
            }
        }
    }

    /// Appends rows; each has one byte of each strip.
    pub(crate) fn write_rows(&self, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + rows.len() * self.strips.len(), 0);
        for (index, strip) in self.strips.iter().enumerate() {
            let column = out[start + index..].iter_mut().step_by(self.strips.len());
            for (slot, byte) in column.zip(&strip[rows.clone()]) {
                *slot = *byte;
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pending.iter().map(|plane| plane.len() * 8).sum::<usize>() + self.strips.iter().map(Vec::len).sum::<usize>()
    }
}

/// The planes of which a strip was made; what stands behind fewer than eight of them means nothing.
pub(crate) fn planes_of(strip: &[u8]) -> [Vec<u64>; 8] {
    let (words, _) = strip.as_chunks::<64>();
    let mut planes: [Vec<u64>; 8] = std::array::from_fn(|_| Vec::with_capacity(words.len()));
    for word in words {
        let (turned, _) = word.as_chunks::<8>();
        let mut eight = [[0; 8]; 8];
        for (byte, of_planes) in turned.iter().enumerate() {
            for (plane, bits) in eight.iter_mut().zip(transposed(*of_planes)) {
                plane[byte] = bits;
            }
        }
        for (plane, bytes) in planes.iter_mut().zip(eight) {
            plane.push(u64::from_le_bytes(bytes));
        }
    }
    planes
}

/// Bit j of byte i becomes bit i of byte j.
fn transposed(bytes: [u8; 8]) -> [u8; 8] {
    let mut bits = u64::from_le_bytes(bytes);
    for (shift, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)] {
        let swapped = (bits ^ (bits >> shift)) & mask;
        bits ^= swapped ^ (swapped << shift);
    }
    bits.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_hold_the_bits_of_all_planes(planes in proptest::collection::vec([any::<u64>(), any::<u64>()], 1..20)) {
            let mut slices = Slices::new();
            planes.iter().for_each(|plane| slices.push(plane.to_vec()));
            slices.finish();
            let mut rows = Vec::new();
            slices.write_rows(0..50, &mut rows);
            slices.write_rows(50..128, &mut rows);
            let row_bytes = planes.len().div_ceil(8);
            prop_assert_eq!(rows.len(), 128 * row_bytes);
            for (strip, eight) in planes.chunks(8).enumerate() {
                let back = planes_of(&rows.iter().skip(strip).step_by(row_bytes).copied().collect::<Vec<u8>>());
                prop_assert_eq!(&back[..eight.len()], eight);
            }
            for bit in 0..128 {
                for column in 0..row_bytes * 8 {
                    let expected = planes.get(column).is_some_and(|plane| plane[bit / 64] >> (bit % 64) & 1 == 1);
                    prop_assert_eq!(rows[bit * row_bytes + column / 8] >> (column % 8) & 1 == 1, expected);
                }
            }
        }
    }
}
