//! Every damaged bit and every cut is noticed: a named error, never a wrong answer.

mod support;

use support::generated::{Numbers, stream_text};
use support::{Granule, Stored, range};
use tailwater_textindex::{BlockError, HeaderError, IndexHeader, PREFIX_LENGTH};

fn index(granules: u64, bytes: usize) -> Stored {
    let granule = |seed| {
        let mut granule = Granule::default();
        stream_text(seed, bytes, &mut granule.lines);
        granule
    };
    Stored::new(&(0..granules).map(granule).collect::<Vec<_>>())
}

/// Whether reading the index as a query would says that it is damaged.
fn is_noticed(intact: &Stored, bytes: &[u8]) -> bool {
    let Ok(header) = IndexHeader::parse(bytes) else {
        return true;
    };
    assert_eq!(header.granules(), intact.header.granules(), "a header that parses is the one written");
    header.blocks().any(|block| bytes.get(range(&header, block)).is_none_or(|stored| header.open_block(block, stored).is_err()))
}

#[test]
fn every_flipped_bit_of_a_small_index_is_noticed() {
    let intact = index(3, 60);
    assert!(!is_noticed(&intact, &intact.bytes));
    let mut bytes = intact.bytes.clone();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(is_noticed(&intact, &bytes), "bit {bit} of {}", bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_thousand_flipped_bits_of_a_larger_index_are_noticed() {
    let intact = index(20, 60_000);
    assert!(intact.bytes.len() > 20_000, "{} bytes", intact.bytes.len());
    let (mut bytes, mut numbers) = (intact.bytes.clone(), Numbers::new(7));
    for _ in 0..1000 {
        let bit = numbers.below(bytes.len() as u64 * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(is_noticed(&intact, &bytes), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_cut_is_noticed() {
    let intact = index(3, 60);
    for length in 0..intact.bytes.len() {
        assert!(is_noticed(&intact, &intact.bytes[..length]), "{length} of {}", intact.bytes.len());
    }
    let header = intact.header.header_length();
    assert_eq!(IndexHeader::parse(&intact.bytes[..header - 1]).err(), Some(HeaderError::Short { needed: header, actual: header - 1 }));
    assert_eq!(IndexHeader::length(&intact.bytes[..PREFIX_LENGTH]), Ok(header));
    assert!(IndexHeader::parse(&intact.bytes[..header]).is_ok(), "the header is enough to parse");
}

#[test]
fn a_block_in_another_place_or_of_another_index_is_refused() {
    let (one, other) = (index(40, 100_000), index(39, 100_000));
    let blocks: Vec<_> = one.header.blocks().collect();
    for pair in blocks.windows(2) {
        assert!(one.header.open_block(pair[0], one.block(pair[1])).is_err(), "block {} for block {}", pair[1], pair[0]);
        assert!(other.header.open_block(pair[0], one.block(pair[0])).is_err(), "block {} of another index", pair[0]);
    }
    let wrong_length = one.header.open_block(blocks[0], &one.block(blocks[0])[1..]);
    assert!(matches!(wrong_length, Err(BlockError::Length { .. })), "{wrong_length:?}");
    let last = *blocks.last().expect("blocks");
    let unknown = index(1, 60).header.open_block(last, one.block(last));
    assert!(matches!(unknown, Err(BlockError::Unknown { .. })), "{unknown:?}");
    assert!(index(1, 60).header.block_range(last).is_empty());
}
