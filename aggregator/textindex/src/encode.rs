//! Collects the granules of a file and writes its index.

use std::collections::BTreeMap;
use std::iter;

use crate::bitmap::FoldedPlane;
use crate::block::{self, CHECKSUM_BYTES};
use crate::gram::Plane;
use crate::granule::GranulePlanes;
use crate::header::{self, GranuleLocation, GranuleRecord, IndexHeader};
use crate::layout::Class;
use crate::parameters::IndexParameters;
use crate::slices::Slices;

/// Holds the planes of the granules so far: about 2 % of their text.
#[derive(Debug)]
pub struct IndexBuilder {
    parameters: IndexParameters,
    records: Vec<GranuleRecord>,
    slices: BTreeMap<Class, Slices>,
}

impl IndexBuilder {
    /// `parameters` must be those of the [`crate::GranuleBuilder`].
    pub fn new(parameters: IndexParameters) -> IndexBuilder {
        IndexBuilder { parameters, records: Vec::new(), slices: BTreeMap::new() }
    }

    /// Adds the next granule, in file order.
    pub fn push(&mut self, location: GranuleLocation, planes: GranulePlanes) {
        let sizes = [self.add(Plane::Text, planes.text), self.add(Plane::Id, planes.id)];
        self.records.push(GranuleRecord { location, sizes });
    }

    fn add(&mut self, plane: Plane, folded: FoldedPlane) -> Option<u8> {
        let FoldedPlane::Bits(words) = folded else {
            return None;
        };
        let bits_log2 = (words.len() * 64).ilog2() as u8;
        self.slices.entry(Class { plane, bits_log2 }).or_insert_with(Slices::new).push(words);
        Some(bits_log2)
    }

    /// Bytes held, for memory budgets.
    pub fn buffered_bytes(&self) -> usize {
        self.slices.values().map(Slices::bytes).sum::<usize>() + self.records.len() * size_of::<GranuleRecord>()
    }

    /// Compresses the blocks, the last of a class first, and lets go of the rows that are done: else planes and blocks would both be held whole.
    pub fn finish(mut self) -> EncodedIndex {
        let layout = header::layout(&self.records);
        let (mut compressor, mut blocks) = (block::compressor(), Vec::new());
        for class in &layout.classes {
            let Some(mut slices) = self.slices.remove(&class.class) else { continue };
            slices.finish();
            let first = blocks.len();
            for block in class.block_ids().rev() {
                let (mut rows, rows_of_block) = (Vec::new(), class.rows_of(block));
                slices.truncate(rows_of_block.end);
                slices.write_rows(rows_of_block, &mut rows);
                blocks.push(block::compressed(&mut compressor, class, rows));
            }
            blocks[first..].reverse();
        }
        let lengths: Vec<u32> = blocks.iter().map(|block| (block.len() + CHECKSUM_BYTES) as u32).collect();
        let (bytes, header) = header::encode(self.parameters, &self.records, layout, &lengths);
        EncodedIndex { bytes, header, blocks }
    }
}

/// An index ready to be written.
#[derive(Debug)]
pub struct EncodedIndex {
    bytes: Vec<u8>,
    header: IndexHeader,
    /// Without their checksums.
    blocks: Vec<Vec<u8>>,
}

impl EncodedIndex {
    /// Bytes of header and blocks.
    pub fn length(&self) -> u64 {
        self.header.index_length()
    }

    pub fn header(&self) -> &IndexHeader {
        &self.header
    }

    /// The whole index, header first, then block by block: each is let go as it is taken.
    pub fn into_pieces(self) -> impl Iterator<Item = Vec<u8>> {
        let Self { bytes, header, blocks } = self;
        let blocks = header.blocks().collect::<Vec<_>>().into_iter().zip(blocks).map(move |(id, mut body)| {
            let checksum = block::checksum(header.checksum(), id, &body);
            body.reserve_exact(CHECKSUM_BYTES);
            body.extend_from_slice(&checksum.to_le_bytes());
            body
        });
        iter::once(bytes).chain(blocks)
    }
}
