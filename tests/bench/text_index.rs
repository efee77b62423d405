//! How fast the text index is built, how large it is, and how many granules it spares.
//!
//! `cargo bench -p tailwater-textindex --bench text_index -- [FILE]`. FILE holds lines; lines of JSON with `_msg` are
//! grouped by their other members except `_time`, as data files are ordered by stream. Without FILE, generated text.
//! The yardstick is memchr looking for an absent byte in the same granules, in the same run. Each speed is the best
//! of nine rounds, by CPU time. A needle that a granule holds does not count for that granule.

#[path = "../../aggregator/textindex/tests/support/generated.rs"]
mod generated;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use generated::Numbers;
use memchr::memmem;
use tailwater_textindex::{
    BlockId, FillLimit, FillLimits, GranuleBuilder, GranuleLocation, GranuleSet, IndexBuilder, IndexHeader, IndexParameters, Lines, Plane,
    Probe,
};

const ROUNDS: usize = 9;
const GRANULE_BYTES: usize = 1 << 20;
const NEEDLES: usize = 40;

struct Granule {
    offsets: Vec<i32>,
    text: Vec<u8>,
}

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let lines = match &file {
        Some(path) => read(path),
        None => (0..256).fold(Vec::new(), |mut lines, seed| {
            generated::stream_text(seed, 1 << 18, &mut lines);
            lines
        }),
    };
    let granules = granules(&lines);
    let bytes: usize = granules.iter().map(|granule| granule.text.len()).sum();
    println!("{} MB in {} granules, {} lines", bytes / 1_000_000, granules.len(), lines.len());
    let yardstick = best(bytes, || granules.iter().map(|granule| memchr::memchr_iter(b'\0', &granule.text).count()).sum());
    println!("{yardstick:>8.0} MB/s  yardstick: memchr");
    for (text, id) in [(0.5, 0.7), (0.5, 0.8), (0.5, 0.88), (0.5, 0.93), (0.25, 0.88), (0.12, 0.88)] {
        let share = |ratio| FillLimit::from_ratio(ratio).expect("a share");
        println!("\ntext fill {text}, id fill {id}");
        report(&granules, bytes, IndexParameters::new(FillLimits { text: share(text), id: share(id) }), yardstick);
    }
}

fn report(granules: &[Granule], bytes: usize, parameters: IndexParameters, yardstick: f64) {
    let mut builder = GranuleBuilder::new(parameters);
    let planes = best(bytes, || granules.iter().map(|granule| black_box(builder.planes(lines(granule), [])).is_ok() as usize).sum());
    let whole = best(bytes, || build(granules, parameters).len());
    let index = build(granules, parameters);
    let header = IndexHeader::parse(&index).expect("just built");
    let share = |plane: usize| plane as f64 / bytes as f64;
    println!("  {:.4} B/B, {} blocks", share(index.len()), header.blocks().count());
    println!("{planes:>8.0} MB/s  planes alone, {:.1} % of the yardstick", 100.0 * planes / yardstick);
    println!("{whole:>8.0} MB/s  planes, slices, encoding");
    println!("  always maybe: {} text, {} id", header.always_maybe(Plane::Text), header.always_maybe(Plane::Id));
    for (class, needles) in needles(granules) {
        let read = read_all_the_same(granules, &header, &index, &needles);
        println!("  {class:<24} {:>6.2} %", 100.0 * read);
    }
}

fn build(granules: &[Granule], parameters: IndexParameters) -> Vec<u8> {
    let (mut builder, mut index) = (GranuleBuilder::new(parameters), IndexBuilder::new(parameters));
    for (granule, page) in granules.iter().zip(0..) {
        let planes = builder.planes(lines(granule), []).expect("offsets of lines");
        index.push(GranuleLocation { row_group: page / 64, page: page % 64, first_row: 0, rows: granule.offsets.len() as u32 - 1 }, planes);
    }
    index.finish().into_pieces().flatten().collect()
}

fn lines(granule: &Granule) -> Lines<'_> {
    Lines { offsets: &granule.offsets, text: &granule.text }
}

fn best(bytes: usize, mut run: impl FnMut() -> usize) -> f64 {
    let mut seconds = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = cpu_nanoseconds();
        black_box(run());
        seconds = seconds.min((cpu_nanoseconds() - start) as f64 / 1e9);
    }
    bytes as f64 / seconds / 1e6
}

/// What this thread has used of a processor: other programs disturb that less than the time of day.
fn cpu_nanoseconds() -> u64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel with scheduler statistics");
    schedule.split(' ').next().and_then(|used| used.parse().ok()).expect("nanoseconds come first")
}

/// The share of the granules without the needle that are read all the same.
fn read_all_the_same(granules: &[Granule], header: &IndexHeader, index: &[u8], needles: &[Vec<u8>]) -> f64 {
    let open = |block| {
        let range = header.block_range(block);
        header.open_block(block, &index[range.start as usize..range.end as usize]).expect("just built")
    };
    let blocks: HashMap<BlockId, Vec<u8>> = header.blocks().map(|block| (block, open(block))).collect();
    let (mut without, mut read) = (0_u32, 0_u32);
    for needle in needles {
        let found = header.probe(&Probe::text(needle.as_slice()), |block| blocks.get(&block).map(Vec::as_slice));
        let mut absent = GranuleSet::all(granules.len() as u32);
        for (granule, number) in granules.iter().zip(0..) {
            if memmem::find(&granule.text, needle).is_some() {
                assert!(found.granules.contains(number), "granule {number} holds the needle and was excluded");
                absent.remove(number);
            }
        }
        without += absent.count();
        absent.intersect_with(&found.granules);
        read += absent.count();
    }
    f64::from(read) / f64::from(without.max(1))
}

/// Needles of each class: half of them from the text where it has such, half made up.
fn needles(granules: &[Granule]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut numbers = Numbers::new(42);
    let mut made = |make: &dyn Fn(&mut Numbers) -> String| (0..NEEDLES).map(|_| make(&mut numbers).into_bytes()).collect::<Vec<_>>();
    let mut classes = vec![
        ("uuid", made(&Numbers::uuid)),
        ("32 hex", made(&|numbers| numbers.hex(32))),
        ("16 hex", made(&|numbers| numbers.hex(16))),
        ("12 hex", made(&|numbers| numbers.hex(12))),
        ("8 hex", made(&|numbers| numbers.hex(8))),
        ("IPv4", made(&Numbers::address)),
        ("IPv4, 10.x", made(&|numbers| format!("10.{}.{}.{}", numbers.below(256), numbers.below(256), numbers.below(256)))),
    ];
    for (class, words) in [
        ("rare word", &["xylophonequark", "zwiebelfisch", "snickerdoodle"][..]),
        ("phrase", &["flux capacitor overload in sector 7G", "no such phrase anywhere"]),
        ("inside a token", &["QUOKKAWOMBAT", "ERRCODE_ZX81_OVERFLOW"]),
    ] {
        classes.push((class, words.iter().map(|word| word.as_bytes().to_vec()).collect()));
    }
    classes.push(("uuid of the text", pieces(granules, 36, |piece| piece.iter().filter(|byte| **byte == b'-').count() == 4)));
    classes.push(("32 hex of the text", pieces(granules, 32, |piece| !piece.contains(&b'-'))));
    classes
}

/// Whole runs of id bytes of one length from the text.
fn pieces(granules: &[Granule], length: usize, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let is_id = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let runs = granules.iter().step_by(granules.len() / NEEDLES + 1).filter_map(|granule| {
        let mut runs = granule.text.split(|byte| !is_id(byte));
        runs.find(|run| run.len() == length && is_wanted(run)).map(<[u8]>::to_vec)
    });
    runs.collect()
}

fn granules(lines: &[Vec<u8>]) -> Vec<Granule> {
    let mut granules = Vec::new();
    let mut current = Granule { offsets: vec![0], text: Vec::new() };
    for line in lines {
        current.text.extend_from_slice(line);
        current.offsets.push(current.text.len() as i32);
        if current.text.len() >= GRANULE_BYTES {
            granules.push(std::mem::replace(&mut current, Granule { offsets: vec![0], text: Vec::new() }));
        }
    }
    if !current.text.is_empty() {
        granules.push(current);
    }
    granules
}

/// Lines of a file, streams one after the other where they are told apart.
fn read(path: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let mut streams: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for line in file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let (stream, text) = message(line).unwrap_or((Vec::new(), line.to_vec()));
        streams.entry(stream).or_default().push(text);
    }
    println!("{} streams, one after the other", streams.len());
    streams.into_values().flatten().collect()
}

/// The members behind `_msg`, and its text with quotes, backslashes and line breaks unescaped.
fn message(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let start = memmem::find(line, b"\"_msg\":\"")? + 8;
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line[start..].iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return Some((rest.as_slice().to_vec(), text)),
            b'\\' => text.push(match rest.next()? {
                b'n' => b'\n',
                b't' => b'\t',
                other => *other,
            }),
            other => text.push(*other),
        }
    }
    None
}
