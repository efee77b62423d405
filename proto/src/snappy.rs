//! Snappy blocks, size-checked: what a block says of itself is checked before a byte is allocated.

/// Why a block was not decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    #[error("snappy: corrupt input")]
    Corrupt,
    #[error("snappy: declared size of {declared} bytes exceeds the limit of {limit} bytes")]
    TooLarge { declared: u64, limit: usize },
}

/// A block cannot expand more than this many times: its densest element copies 64 bytes with 3.
const MAX_EXPANSION: usize = 22;

/// Decompresses one block (not the framed format) of at most `limit` bytes into `out`, replacing what it held.
pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), SnappyError> {
    let declared = snap::raw::decompress_len(block).map_err(|error| match error {
        snap::Error::TooBig { given, .. } => SnappyError::TooLarge { declared: given, limit },
        _ => SnappyError::Corrupt,
    })?;
    if declared > limit {
        return Err(SnappyError::TooLarge { declared: declared as u64, limit });
    }
    if declared > block.len().saturating_mul(MAX_EXPANSION) {
        return Err(SnappyError::Corrupt);
    }
    out.clear();
    out.resize(declared, 0);
    let written = snap::raw::Decoder::new().decompress(block, out).map_err(|_| SnappyError::Corrupt)?;
    out.truncate(written);
    Ok(())
}

/// Compresses `input` as one block into `out`, replacing what it held.
pub fn compress(encoder: &mut snap::raw::Encoder, input: &[u8], out: &mut Vec<u8>) {
    out.resize(snap::raw::max_compress_len(input.len()), 0);
    let written = encoder.compress(input, out).expect("the buffer has the size the encoder asks for");
    out.truncate(written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_declared_size_of_4_gib_allocates_nothing() {
        let mut out = Vec::new();
        let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert_eq!(decompress(&block, 64 << 20, &mut out), Err(SnappyError::TooLarge { declared: u64::from(u32::MAX), limit: 64 << 20 }));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn a_size_no_block_of_that_length_can_reach_is_corrupt() {
        let mut out = Vec::new();
        assert_eq!(decompress(&[0xff, 0xff, 0xff, 0x1f], 64 << 20, &mut out), Err(SnappyError::Corrupt));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn the_densest_block_still_passes() {
        let input = vec![7; 4 << 20];
        let (mut block, mut out) = (Vec::new(), Vec::new());
        compress(&mut snap::raw::Encoder::new(), &input, &mut block);
        assert_eq!(decompress(&block, input.len(), &mut out), Ok(()));
        assert_eq!(out, input);
    }

    proptest! {
        #[test]
        fn round_trip(input in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (mut block, mut out) = (Vec::new(), Vec::new());
            compress(&mut snap::raw::Encoder::new(), &input, &mut block);
            prop_assert_eq!(decompress(&block, input.len(), &mut out), Ok(()));
            prop_assert_eq!(out, input);
        }

        #[test]
        fn any_bytes_are_refused_or_taken_without_panic(block in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decompress(&block, 1 << 20, &mut Vec::new()));
        }
    }
}
