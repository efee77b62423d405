//! The planes of one granule: a page of lines and the metadata values of its entries.

use crate::bitmap::{FoldedPlane, fold};
use crate::error::LinesError;
use crate::gram::Plane;
use crate::mark::Marker;
use crate::parameters::IndexParameters;

/// Rows that lie one after the other in `text`: row i is `text[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// One more than rows, ascending; none at all counts as no rows.
    pub offsets: &'a [i32],
    pub text: &'a [u8],
}

/// The folded planes of one granule, for [`crate::IndexBuilder::push`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GranulePlanes {
    pub(crate) text: FoldedPlane,
    pub(crate) id: FoldedPlane,
}

/// Builds planes; its buffers, some 300 KiB and the longest row, are used again for each granule.
#[derive(Debug)]
pub struct GranuleBuilder {
    parameters: IndexParameters,
    marker: Marker,
}

impl GranuleBuilder {
    pub fn new(parameters: IndexParameters) -> GranuleBuilder {
        GranuleBuilder { parameters, marker: Marker::new(&parameters) }
    }

    /// The planes of a page of lines and of `values`, each of which is a row of its own; give each distinct one once.
    pub fn planes<'v>(&mut self, lines: Lines<'_>, values: impl IntoIterator<Item = &'v [u8]>) -> Result<GranulePlanes, LinesError> {
        check(lines)?;
        self.marker.clear();
        if let [first, ends @ ..] = lines.offsets
            && let Some(last) = ends.last()
        {
            let text = &lines.text[*first as usize..*last as usize];
            self.marker.add_rows(text, ends.iter().map(|end| (end - first) as usize));
        }
        for value in values {
            self.marker.add_rows(value, std::iter::once(value.len()));
        }
        self.marker.flush();
        let limits = self.parameters.limits;
        Ok(GranulePlanes { text: fold(self.marker.plane(Plane::Text), limits.text), id: fold(self.marker.plane(Plane::Id), limits.id) })
    }
}

fn check(lines: Lines<'_>) -> Result<(), LinesError> {
    if !lines.offsets.is_sorted() {
        return Err(LinesError::Unordered);
    }
    let (Some(&first), Some(&last)) = (lines.offsets.first(), lines.offsets.last()) else {
        return Ok(());
    };
    if first < 0 || usize::try_from(last).is_ok_and(|last| last > lines.text.len()) {
        return Err(LinesError::OutOfText { first, last, length: lines.text.len() });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_forgets_the_granule_before() {
        let mut builder = GranuleBuilder::new(IndexParameters::default());
        let lines = Lines { offsets: &[2, 12], text: b"..some lines.." };
        let fresh = builder.planes(lines, [&b"value"[..]]).unwrap();
        builder.planes(Lines { offsets: &[0, 14], text: b"xyzw0123456789" }, []).unwrap();
        assert_eq!(builder.planes(lines, [&b"value"[..]]).unwrap(), fresh);
    }

    #[test]
    fn a_slice_of_a_page_is_indexed_alone() {
        let mut builder = GranuleBuilder::new(IndexParameters::default());
        let sliced = builder.planes(Lines { offsets: &[4, 8], text: b"xxxxsomeyyyy" }, []).unwrap();
        assert_eq!(sliced, builder.planes(Lines { offsets: &[0, 4], text: b"some" }, []).unwrap());
        assert_eq!(sliced, builder.planes(Lines { offsets: &[], text: b"" }, [&b"SOME"[..]]).unwrap());
    }

    #[test]
    fn a_plane_that_is_too_full_tells_nothing() {
        let text: Vec<u8> = (0_u32..200_000).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        let planes = GranuleBuilder::new(IndexParameters::default()).planes(Lines { offsets: &[0, 800_000], text: &text }, []).unwrap();
        assert_eq!(planes.text, FoldedPlane::AlwaysMaybe);
        assert!(matches!(planes.id, FoldedPlane::Bits(_)));
    }

    #[test]
    fn offsets_that_do_not_add_up_are_refused() {
        let mut builder = GranuleBuilder::new(IndexParameters::default());
        for offsets in [&[0, 5, 3][..], &[-1, 3], &[0, 7]] {
            assert!(builder.planes(Lines { offsets, text: b"abcdef" }, []).is_err(), "{offsets:?}");
        }
    }
}
