//! Which block of an index holds which rows of bits: follows from the sizes of the planes alone.
//!
//! Planes of the same kind and size are a *class*; the granule that brought the n-th of them has column n in it. Row b
//! of a class is bit b of all its planes; rows of text are filled up to whole bytes, those of ids follow bit upon bit. A
//! block holds as many rows of one class as fit into [`BLOCK_BYTES`], a power of two and at least one. Classes follow each
//! other by plane and size.
//! Blocks are compressed, so where they lie is told by their lengths.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::gram::Plane;

/// What a block holds at most, unless a single row is longer.
pub(crate) const BLOCK_BYTES: usize = 16 * 1024;

/// A block of an index, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub(crate) u32);

impl BlockId {
    /// For keys of caches.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) plane: Plane,
    pub(crate) bits_log2: u8,
}

/// The blocks of one class.
#[derive(Debug, Clone)]
pub(crate) struct ClassLayout {
    pub(crate) class: Class,
    /// By column, ascending.
    pub(crate) granules: Vec<u32>,
    /// From row to row.
    pub(crate) row_bits: usize,
    rows_in_block_log2: u32,
    first_block: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) classes: Vec<ClassLayout>,
}

impl Layout {
    /// `classes` says for each granule and plane which class it is in; granules ascending within a class.
    pub(crate) fn new(classes: impl Iterator<Item = (Class, u32)>) -> Layout {
        let mut granules: BTreeMap<Class, Vec<u32>> = BTreeMap::new();
        for (class, granule) in classes {
            granules.entry(class).or_default().push(granule);
        }
        let mut layout = Layout { classes: Vec::with_capacity(granules.len()) };
        let mut first_block = 0;
        for (class, granules) in granules {
            let placed = ClassLayout::new(class, granules, first_block);
            first_block += placed.blocks();
            layout.classes.push(placed);
        }
        layout
    }

    /// Every block, in the order in which they lie.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.classes.last().map_or(0, |class| class.first_block + class.blocks())).map(BlockId)
    }

    pub(crate) fn class_of(&self, block: BlockId) -> Option<&ClassLayout> {
        let after = self.classes.partition_point(|class| class.first_block <= block.0);
        let class = &self.classes[after.checked_sub(1)?];
        (block.0 - class.first_block < class.blocks()).then_some(class)
    }
}

impl ClassLayout {
    fn new(class: Class, granules: Vec<u32>, first_block: u32) -> ClassLayout {
        let row_bytes = granules.len().div_ceil(8);
        // Rows of ids are chance, bit by bit: what fills up their bytes would be up to a tenth of what is stored. Rows of text repeat those before,
        // and compress better where they begin alike.
        let row_bits = match class.plane {
            Plane::Id => granules.len(),
            Plane::Text => row_bytes * 8,
        };
        let rows = (BLOCK_BYTES / row_bytes).max(1);
        let rows_in_block_log2 = rows.ilog2().min(u32::from(class.bits_log2));
        ClassLayout { class, granules, row_bits, rows_in_block_log2, first_block }
    }

    pub(crate) fn blocks(&self) -> u32 {
        1 << (u32::from(self.class.bits_log2) - self.rows_in_block_log2)
    }

    pub(crate) fn block_ids(&self) -> impl DoubleEndedIterator<Item = BlockId> + use<> {
        (self.first_block..self.first_block + self.blocks()).map(BlockId)
    }

    /// Bytes of the rows of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        (self.row_bits << self.rows_in_block_log2).div_ceil(8)
    }

    /// Of a row that is filled up to whole bytes.
    pub(crate) fn row_bytes(&self) -> usize {
        self.granules.len().div_ceil(8)
    }

    /// The rows that a block of this class holds.
    pub(crate) fn rows_of(&self, block: BlockId) -> Range<usize> {
        let index = (block.0 - self.first_block) as usize;
        index << self.rows_in_block_log2..(index + 1) << self.rows_in_block_log2
    }

    pub(crate) fn block_of(&self, row: u32) -> BlockId {
        BlockId(self.first_block + (row >> self.rows_in_block_log2))
    }

    /// The bits of its block that are a row.
    pub(crate) fn row_in_block(&self, row: u32) -> Range<usize> {
        let start = (row as usize & ((1 << self.rows_in_block_log2) - 1)) * self.row_bits;
        start..start + self.row_bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_and_cover_every_row_once() {
        let text = Class { plane: Plane::Text, bits_log2: 17 };
        let id = Class { plane: Plane::Id, bits_log2: 6 };
        let many = Class { plane: Plane::Id, bits_log2: 20 };
        let granules = (0..9).flat_map(|granule| [(text, granule), (if granule < 7 { many } else { id }, granule)]);
        let layout = Layout::new(granules);
        assert_eq!(layout.classes.iter().map(|class| class.class).collect::<Vec<_>>(), [text, id, many]);
        let mut number = 0;
        for class in &layout.classes {
            let mut row = 0;
            for block in class.block_ids() {
                assert_eq!((block.0, class.rows_of(block).start), (number, row as usize));
                assert_eq!(layout.class_of(block).map(|found| found.class), Some(class.class));
                for row in class.rows_of(block) {
                    assert_eq!(class.block_of(row as u32), block);
                }
                assert_eq!(class.row_in_block(class.rows_of(block).end as u32 - 1).end.div_ceil(8), class.block_bytes());
                assert!(class.block_bytes() <= BLOCK_BYTES);
                (number, row) = (number + 1, class.rows_of(block).end as u32);
            }
            assert_eq!(row, 1 << class.class.bits_log2);
        }
        assert_eq!(layout.blocks().count(), number as usize);
        assert!(layout.class_of(BlockId(number)).is_none());
    }

    #[test]
    fn a_row_longer_than_a_block_has_one_of_its_own() {
        let class = Class { plane: Plane::Text, bits_log2: 6 };
        let layout = Layout::new((0..600_000).map(|granule| (class, granule)));
        assert_eq!((layout.classes[0].blocks(), layout.classes[0].block_bytes()), (64, 75_000));
    }
}
