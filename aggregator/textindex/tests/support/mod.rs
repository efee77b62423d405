//! Indexes of rows for tests: built, encoded, read back.

#![allow(dead_code)] // each test program uses its own part

pub(crate) mod generated;

use std::collections::HashMap;

use tailwater_textindex::{
    BlockId, EncodedIndex, GranuleBuilder, GranuleLocation, GranulePlanes, GranuleSet, IndexBuilder, IndexHeader, IndexParameters, Lines,
    Probe, ProbeOutcome,
};

/// The lines of a granule, and its metadata values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Granule {
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) values: Vec<Vec<u8>>,
}

impl Granule {
    pub(crate) fn planes(&self, builder: &mut GranuleBuilder) -> GranulePlanes {
        let mut offsets = vec![0];
        let mut text = Vec::new();
        for line in &self.lines {
            text.extend_from_slice(line);
            offsets.push(text.len() as i32);
        }
        builder.planes(Lines { offsets: &offsets, text: &text }, self.values.iter().map(Vec::as_slice)).expect("offsets of rows")
    }
}

pub(crate) fn build(granules: &[Granule]) -> EncodedIndex {
    let parameters = IndexParameters::default();
    let (mut builder, mut index) = (GranuleBuilder::new(parameters), IndexBuilder::new(parameters));
    for (granule, page) in granules.iter().zip(0..) {
        let location = GranuleLocation { row_group: 0, page, first_row: 0, rows: granule.lines.len() as u32 };
        index.push(location, granule.planes(&mut builder));
    }
    index.finish()
}

/// An index as a reader has it.
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: IndexHeader,
    rows: HashMap<BlockId, Vec<u8>>,
}

impl Stored {
    pub(crate) fn new(granules: &[Granule]) -> Stored {
        Stored::read(build(granules).into_pieces().flatten().collect())
    }

    pub(crate) fn read(bytes: Vec<u8>) -> Stored {
        let header = IndexHeader::parse(&bytes).expect("an index just built");
        assert_eq!(header.index_length(), bytes.len() as u64);
        let open = |block| header.open_block(block, &bytes[range(&header, block)]).expect("a block just built");
        let rows = header.blocks().map(|block| (block, open(block))).collect();
        Stored { bytes, header, rows }
    }

    pub(crate) fn rows(&self, block: BlockId) -> &[u8] {
        &self.rows[&block]
    }

    /// As stored.
    pub(crate) fn block(&self, block: BlockId) -> &[u8] {
        &self.bytes[range(&self.header, block)]
    }

    /// Probes with the blocks that the header says are needed, and no others.
    pub(crate) fn probe(&self, probe: &Probe) -> ProbeOutcome {
        let needed = self.header.blocks_for(probe);
        assert!(needed.is_sorted_by(|left, right| left < right), "blocks are sorted and unique");
        let outcome = self.header.probe(probe, |block| needed.contains(&block).then(|| self.rows(block)));
        assert_eq!(outcome.missing_blocks, 0, "blocks_for told all blocks");
        outcome
    }

    pub(crate) fn granules(&self, probe: &Probe) -> GranuleSet {
        self.probe(probe).granules
    }
}

pub(crate) fn range(header: &IndexHeader, block: BlockId) -> std::ops::Range<usize> {
    let range = header.block_range(block);
    range.start as usize..range.end as usize
}
