//! Collects the granules of a file and writes its index.

use std::collections::BTreeMap;
use std::mem;

use crate::bitmap::FoldedPlane;
use crate::gram::Plane;
use crate::granule::GranulePlanes;
use crate::header::{self, GranuleLocation, GranuleRecord, IndexHeader, block_checksum};
use crate::layout::{BlockId, Class};
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

    pub fn finish(mut self) -> EncodedIndex {
        self.slices.values_mut().for_each(Slices::finish);
        let (bytes, header) = header::encode(self.parameters, &self.records);
        EncodedIndex { bytes, header, slices: self.slices }
    }
}

/// An index ready to be written: the header, and the blocks one by one, so that no second copy of it is held.
#[derive(Debug)]
pub struct EncodedIndex {
    bytes: Vec<u8>,
    header: IndexHeader,
    slices: BTreeMap<Class, Slices>,
}

impl EncodedIndex {
    /// Bytes of header and blocks.
    pub fn length(&self) -> u64 {
        self.header.index_length()
    }

    pub fn header(&self) -> &IndexHeader {
        &self.header
    }

    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blocks that follow the header, in order.
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks { index: self, ids: self.header.blocks().collect::<Vec<_>>().into_iter() }
    }

    /// The whole index.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.bytes);
        bytes.reserve_exact((self.length() as usize).saturating_sub(bytes.len()));
        for block in self.blocks() {
            bytes.extend_from_slice(&block);
        }
        bytes
    }

    fn block(&self, block: BlockId) -> Option<Vec<u8>> {
        let class = self.header.layout.class_of(block)?;
        let mut bytes = Vec::with_capacity(class.block_length());
        self.slices.get(&class.class)?.write_rows(class.rows_of(block), &mut bytes);
        let checksum = block_checksum(self.header.checksum(), block, &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Some(bytes)
    }
}

/// The blocks of an index, encoded when asked for.
#[derive(Debug)]
pub struct Blocks<'a> {
    index: &'a EncodedIndex,
    ids: std::vec::IntoIter<BlockId>,
}

impl Iterator for Blocks<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.index.block(self.ids.next()?)
    }
}
