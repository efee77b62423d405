//! Planes taken out of an index are those that its lines would give anew.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::generated::stream_text;
use support::{Granule, Stored};
use tailwater_textindex::{FillLimit, FillLimits, GranuleBuilder, GranulePlanes, GranuleSet, IndexParameters};

/// A granule of text of one stream.
fn granule(seed: u64, bytes: usize) -> Granule {
    let mut granule = Granule { lines: Vec::new(), values: vec![format!("trace-{seed:x}").into_bytes()] };
    stream_text(seed, bytes, &mut granule.lines);
    granule
}

fn fuller() -> IndexParameters {
    let limit = |ratio| FillLimit::from_ratio(ratio).expect("a share");
    IndexParameters::new(FillLimits { text: limit(0.6), id: limit(0.9) })
}

fn taken(stored: &Stored, wanted: &GranuleSet, parameters: &IndexParameters) -> BTreeMap<u32, GranulePlanes> {
    stored.header.planes(wanted, parameters, |block| Some(stored.rows(block).to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn they_are_bit_for_bit_the_same(
        granules in proptest::collection::vec((any::<u64>(), 0_usize..60_000, any::<bool>()), 1..20),
        keeps_limits: bool,
    ) {
        let parameters = if keeps_limits { IndexParameters::default() } else { fuller() };
        let made: Vec<Granule> = granules.iter().map(|(seed, bytes, _)| granule(*seed, *bytes)).collect();
        let mut wanted = GranuleSet::none(made.len() as u32);
        (0..).zip(&granules).filter(|(_, (.., is_wanted))| *is_wanted).for_each(|(number, _)| wanted.insert(number));
        let mut builder = GranuleBuilder::new(parameters);
        let expected: BTreeMap<u32, GranulePlanes> =
            wanted.iter().map(|number| (number, made[number as usize].planes(&mut builder))).collect();
        prop_assert_eq!(taken(&Stored::new(&made), &wanted, &parameters), expected);
    }
}

#[test]
fn what_cannot_be_the_same_is_left_out() {
    let stored = Stored::new(&[granule(1, 20_000), granule(2, 20_000)]);
    let all = GranuleSet::all(2);
    assert_eq!(taken(&stored, &all, &IndexParameters::default()).len(), 2);
    let emptier = IndexParameters::new(FillLimits { text: FillLimit::from_ratio(0.4).expect("a share"), ..FillLimits::default() });
    assert!(taken(&stored, &all, &emptier).is_empty(), "it is folded too far already");
    assert!(stored.header.planes(&all, &IndexParameters::default(), |_| None).is_empty(), "its blocks are missing");
    // 128 KiB of noise: every text gram there is.
    let noise: Vec<u8> = (0_u32..1 << 20).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let full = Stored::new(&[Granule { lines: vec![noise], values: Vec::new() }, granule(3, 20_000)]);
    let kept: Vec<u32> = taken(&full, &all, &IndexParameters::default()).into_keys().collect();
    assert_eq!(kept, [1], "a plane that was too full might not be under another limit");
}
