//! Planes taken out of an index again: a page that goes unchanged into another file takes its planes along.

use std::collections::BTreeMap;

use crate::bitmap::{FoldedPlane, fold};
use crate::fill::FillLimit;
use crate::gram::Plane;
use crate::granule::GranulePlanes;
use crate::granule_set::GranuleSet;
use crate::header::IndexHeader;
use crate::layout::{BlockId, ClassLayout};
use crate::parameters::IndexParameters;
use crate::rows::eight_at;
use crate::slices;

impl IndexHeader {
    /// The planes of the wanted granules, by number: bit for bit what a [`crate::GranuleBuilder`] of `parameters` makes of their lines.
    ///
    /// `open` gives the rows of a block, or `None` if it cannot be read. Left out are granules with a plane that was too full to be stored or
    /// that lacks a block, and all of an index that is folded further than `parameters` allow.
    pub fn planes(
        &self,
        wanted: &GranuleSet,
        parameters: &IndexParameters,
        mut open: impl FnMut(BlockId) -> Option<Vec<u8>>,
    ) -> BTreeMap<u32, GranulePlanes> {
        if !self.parameters.is_continued_by(parameters) {
            return BTreeMap::new();
        }
        let texts = self.folded(Plane::Text, parameters.limits.text, wanted, &mut open);
        let mut ids = self.folded(Plane::Id, parameters.limits.id, wanted, &mut open);
        texts.into_iter().filter_map(|(granule, text)| Some((granule, GranulePlanes { text, id: ids.remove(&granule)? }))).collect()
    }

    /// One kind of plane; holds the blocks of one class at a time.
    fn folded(
        &self,
        plane: Plane,
        limit: FillLimit,
        wanted: &GranuleSet,
        open: &mut impl FnMut(BlockId) -> Option<Vec<u8>>,
    ) -> BTreeMap<u32, FoldedPlane> {
        let mut planes = BTreeMap::new();
        for class in self.layout.classes.iter().filter(|class| class.class.plane == plane) {
            let is_wanted = |granule: &u32| wanted.contains(*granule);
            if !class.granules.iter().any(is_wanted) {
                continue;
            }
            let Some(blocks) = class.block_ids().map(&mut *open).collect::<Option<Vec<_>>>() else { continue };
            for (strip, granules) in class.granules.chunks(8).enumerate().filter(|(_, granules)| granules.iter().any(is_wanted)) {
                let words = slices::planes_of(&strip_of(class, &blocks, strip));
                let of_strip = granules.iter().zip(words).filter(|(granule, _)| is_wanted(granule));
                planes.extend(of_strip.map(|(granule, words)| (*granule, fold(&words, limit))));
            }
        }
        planes
    }
}

/// Eight columns of all rows.
fn strip_of(class: &ClassLayout, blocks: &[Vec<u8>], strip: usize) -> Vec<u8> {
    let rows = blocks.iter().zip(class.block_ids()).flat_map(|(rows, block)| class.rows_of(block).map(move |row| (rows, row as u32)));
    rows.map(|(rows, row)| eight_at(rows, class.row_in_block(row).start + strip * 8)).collect()
}
