//! No granule that holds what was asked for is ever excluded: compared with looking at every row.

mod support;

use proptest::prelude::*;
use proptest::sample::Index;
use support::{Granule, Stored};
use tailwater_textindex::{GranuleSet, Probe};

fn row() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        "[0-9a-f]{1,20}",
        "[A-Z][a-z]{0,9}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9A-F]{4}",
        "[skKSſK]{1,3}[a-z]{0,4}",
        "[äÖ漢ß\u{130}]{1,4}",
        Just("\n".to_owned()),
        "[ =\"{}:,.]{1,3}",
    ];
    prop_oneof![
        6 => proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => proptest::collection::vec(any::<u8>(), 0..2),
    ]
}

fn granules() -> impl Strategy<Value = Vec<Granule>> {
    let granule = (proptest::collection::vec(row(), 0..8), proptest::collection::vec(row(), 0..3));
    proptest::collection::vec(granule.prop_map(|(lines, values)| Granule { lines, values }), 1..12)
}

fn rows(granule: &Granule) -> impl Iterator<Item = &Vec<u8>> {
    granule.lines.iter().chain(&granule.values)
}

/// A piece of some row: anywhere, at the start, or at the end; and the granule it is from.
#[derive(Debug, Clone)]
struct Cut {
    row: Index,
    ends: (Index, Index),
    edge: u8,
}

impl Cut {
    fn of(&self, granules: &[Granule]) -> Option<(u32, Vec<u8>)> {
        let all: Vec<(u32, &Vec<u8>)> =
            granules.iter().zip(0..).flat_map(|(granule, number)| rows(granule).map(move |row| (number, row))).collect();
        let (number, row) = all.get(self.row.index(all.len().max(1)))?;
        let (one, other) = (self.ends.0.index(row.len() + 1), self.ends.1.index(row.len() + 1));
        let (start, end) = match self.edge {
            0 => (0, other),
            1 => (one, row.len()),
            _ => (one.min(other), one.max(other)),
        };
        Some((*number, row[start..end].to_vec()))
    }
}

fn cut() -> impl Strategy<Value = Cut> {
    (any::<Index>(), any::<(Index, Index)>(), 0_u8..4).prop_map(|(row, ends, edge)| Cut { row, ends, edge })
}

fn contains(row: &[u8], piece: &[u8]) -> bool {
    memchr::memmem::find(&row.to_ascii_lowercase(), &piece.to_ascii_lowercase()).is_some()
}

/// The granules that hold what the probe asks for, by looking; a folded literal is looked for as it is.
fn by_looking(granules: &[Granule], probe: &Probe) -> Vec<bool> {
    match probe {
        Probe::Always => vec![true; granules.len()],
        Probe::Literal { bytes, .. } => granules.iter().map(|granule| rows(granule).any(|row| contains(row, bytes))).collect(),
        Probe::All(parts) => join(granules, parts, true, |left, right| left && right),
        Probe::Any(parts) => join(granules, parts, false, |left, right| left || right),
    }
}

fn join(granules: &[Granule], parts: &[Probe], start: bool, with: impl Fn(bool, bool) -> bool) -> Vec<bool> {
    parts.iter().fold(vec![start; granules.len()], |joined, part| {
        joined.into_iter().zip(by_looking(granules, part)).map(|(left, right)| with(left, right)).collect()
    })
}

/// A tree over literals that are numbers into a list of pieces.
fn tree() -> impl Strategy<Value = Probe> {
    let leaf = prop_oneof![4 => any::<u8>().prop_map(|piece| Probe::text([piece])), 1 => Just(Probe::Always)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let parts = proptest::collection::vec(inner, 0..4);
        prop_oneof![parts.clone().prop_map(Probe::All), parts.prop_map(Probe::Any)]
    })
}

fn with_pieces(tree: &Probe, pieces: &[Vec<u8>]) -> Probe {
    let parts = |parts: &[Probe]| parts.iter().map(|part| with_pieces(part, pieces)).collect();
    match tree {
        Probe::Literal { bytes, fold_case } => {
            Probe::Literal { bytes: pieces[usize::from(bytes[0]) % pieces.len()].clone(), fold_case: *fold_case }
        }
        Probe::All(inner) => Probe::All(parts(inner)),
        Probe::Any(inner) => Probe::Any(parts(inner)),
        Probe::Always => Probe::Always,
    }
}

/// Another case of the same text, by Unicode's simple folding.
fn in_another_case(piece: &[u8], choices: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(piece);
    let other = text.chars().zip(choices.iter().cycle()).map(|(character, choice)| match (character, choice % 4) {
        ('k' | 'K', 0) => '\u{212a}',
        ('s' | 'S', 0) => 'ſ',
        ('\u{212a}', 1) => 'k',
        ('ſ', 1) => 's',
        (character, 0 | 1) => single(character.to_uppercase()).unwrap_or(character),
        (character, _) => single(character.to_lowercase()).unwrap_or(character),
    });
    other.collect::<String>().into_bytes()
}

/// Folding is by character: what becomes two of them is no other case.
fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next();
    first.filter(|_| characters.next().is_none())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_granule_that_holds_any_piece_of_a_row_is_found(granules in granules(), cuts in proptest::collection::vec(cut(), 1..12)) {
        let stored = Stored::new(&granules);
        for (number, piece) in cuts.iter().filter_map(|cut| cut.of(&granules)) {
            let found = stored.granules(&Probe::text(piece.as_slice()));
            prop_assert!(found.contains(number), "granule {} for {:?}", number, String::from_utf8_lossy(&piece));
            for (held, number) in by_looking(&granules, &Probe::text(piece.as_slice())).into_iter().zip(0..) {
                prop_assert!(!held || found.contains(number));
            }
        }
    }

    #[test]
    fn a_folded_piece_is_found_in_whatever_case(granules in granules(), cut in cut(), choices in proptest::collection::vec(any::<u8>(), 1..9)) {
        let stored = Stored::new(&granules);
        let Some((number, piece)) = cut.of(&granules).filter(|(_, piece)| std::str::from_utf8(piece).is_ok()) else { return Ok(()) };
        let bytes = in_another_case(&piece, &choices);
        let found = stored.granules(&Probe::Literal { bytes, fold_case: true });
        prop_assert!(found.contains(number));
    }

    #[test]
    fn trees_of_pieces_exclude_only_what_looking_excludes(granules in granules(), cuts in proptest::collection::vec(cut(), 3), tree in tree()) {
        let mut pieces: Vec<Vec<u8>> = cuts.iter().filter_map(|cut| Some(cut.of(&granules)?.1)).collect();
        pieces.push(b"absent altogether".to_vec());
        let probe = with_pieces(&tree, &pieces);
        let stored = Stored::new(&granules);
        let outcome = stored.probe(&probe);
        for (held, number) in by_looking(&granules, &probe).into_iter().zip(0..) {
            prop_assert!(!held || outcome.granules.contains(number), "granule {} for {:?}", number, probe);
        }
        prop_assert_eq!(outcome.asked, granules.len() as u32);
        prop_assert_eq!(outcome.excluded, outcome.asked - outcome.granules.count());
    }

    #[test]
    fn candidates_and_missing_blocks_only_narrow_and_widen(
        granules in granules(),
        cut in cut(),
        candidates in proptest::collection::vec(any::<bool>(), 12),
        missing in 0_u32..8,
    ) {
        let stored = Stored::new(&granules);
        let Some((_, piece)) = cut.of(&granules) else { return Ok(()) };
        let probe = Probe::text(piece);
        let mut among = GranuleSet::none(granules.len() as u32);
        (0..granules.len() as u32).filter(|number| candidates[*number as usize]).for_each(|number| among.insert(number));
        let outcome = stored.header.probe_among(&probe, among.clone(), |block| Some(stored.rows(block)));
        let mut expected = stored.granules(&probe);
        expected.intersect_with(&among);
        prop_assert_eq!(&outcome.granules, &expected);
        let without = stored.header.probe_among(&probe, among.clone(), |block| (block.number() % 8 != missing).then(|| stored.rows(block)));
        prop_assert!(expected.iter().all(|number| without.granules.contains(number)));
        prop_assert!(without.granules.iter().all(|number| among.contains(number)));
        let blind = stored.header.probe_among(&probe, among.clone(), |_| None);
        prop_assert_eq!(&blind.granules, &among);
    }
}

#[test]
fn needles_at_every_edge_of_rows_and_granules_are_found() {
    let needles = [&b"deadbeef-0123"[..], b"QUOKKAWOMBAT", b"a1b2c3", b"word", b"10.20.30.40"];
    for needle in needles {
        let filler = b"filler of no consequence".as_slice();
        let edges = [needle.to_vec(), [needle, filler].concat(), [filler, needle].concat(), [filler, needle, filler].concat()];
        for edge in edges {
            for place in 0..3 {
                let mut lines = vec![filler.to_vec(); 3];
                lines[place] = edge.clone();
                let mut granules = vec![Granule { lines: vec![filler.to_vec(); 3], values: vec![] }; 3];
                granules[1].lines = lines;
                let found = Stored::new(&granules).granules(&Probe::text(needle));
                assert_eq!(found.iter().collect::<Vec<_>>(), [1], "{}", String::from_utf8_lossy(needle));
            }
        }
    }
}

#[test]
fn grams_over_the_end_of_a_row_or_value_are_not_there() {
    let halves = Granule { lines: vec![b"split".to_vec(), b"token".to_vec()], values: vec![b"other".to_vec(), b"value".to_vec()] };
    let stored = Stored::new(&[halves]);
    for absent in ["splittoken", "tokenother", "othervalue"] {
        assert!(stored.granules(&Probe::text(absent)).is_empty(), "{absent}");
    }
    for present in ["split", "token", "other", "value"] {
        assert_eq!(stored.granules(&Probe::text(present)).count(), 1, "{present}");
    }
}

#[test]
fn an_index_of_nothing_holds_nothing() {
    let stored = Stored::new(&[]);
    assert_eq!(stored.probe(&Probe::text("anything")).asked, 0);
    let empty = Stored::new(&[Granule::default(), Granule { lines: vec![vec![], vec![]], values: vec![] }]);
    assert!(empty.granules(&Probe::text("anything")).is_empty());
    assert_eq!(empty.granules(&Probe::Always).count(), 2);
    assert!(empty.granules(&Probe::Any(vec![])).is_empty());
}
