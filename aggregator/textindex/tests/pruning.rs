//! The index prunes: counted over granules of full size, at most twice what the design measured.

mod support;

use support::generated::{Numbers, stream_text};
use support::{Granule, Stored};
use tailwater_textindex::Probe;

type MakeNeedle<'a> = &'a dyn Fn(&mut Numbers) -> String;

const GRANULES: u64 = 16;
const NEEDLES: u64 = 24;

/// Sixteen granules of 1 MiB, each of two streams.
fn index() -> Stored {
    let granule = |number: u64| {
        let mut granule = Granule::default();
        (0..2).for_each(|stream| stream_text(2 * number + stream, 1 << 19, &mut granule.lines));
        granule
    };
    Stored::new(&(0..GRANULES).map(granule).collect::<Vec<_>>())
}

/// The share of granules that are read although none of the needles is anywhere.
fn read_all_the_same(stored: &Stored, mut needle: impl FnMut(&mut Numbers) -> String) -> f64 {
    let mut numbers = Numbers::new(u64::MAX / 3);
    let read: u32 = (0..NEEDLES).map(|_| stored.granules(&Probe::text(needle(&mut numbers))).count()).sum();
    f64::from(read) / (GRANULES * NEEDLES) as f64
}

#[test]
fn absent_needles_exclude_granules() {
    let stored = index();
    let share_of_text = stored.bytes.len() as f64 / (GRANULES << 20) as f64;
    assert!(share_of_text < 0.03, "{share_of_text} bytes of index a byte of text");
    let rare = |numbers: &mut Numbers| {
        let words = ["xylophonequark", "flux capacitor overload", "ERRCODE_ZX81", "QUOKKAWOMBAT", "Zwiebelfisch in aspic"];
        words[numbers.below(words.len() as u64) as usize].to_owned()
    };
    let cases: [(&str, f64, MakeNeedle<'_>); 7] = [
        ("uuid", 0.01, &Numbers::uuid),
        ("32 hex", 0.01, &|numbers| numbers.hex(32)),
        ("16 hex", 0.028, &|numbers| numbers.hex(16)),
        ("12 hex", 0.16, &|numbers| numbers.hex(12)),
        ("8 hex", 0.64, &|numbers| numbers.hex(8)),
        ("IPv4", 0.18, &Numbers::address),
        ("rare", 0.0, &rare),
    ];
    for (name, limit, needle) in cases {
        let share = read_all_the_same(&stored, needle);
        println!("{name}: {:.2} % of granules read, at most {:.1} %", share * 100.0, limit * 100.0);
        assert!(share <= limit, "{name}: {share} of granules are read");
    }
}
