//! The manifest against an independent, naive reading of the tree: every file read whole, records parsed by
//! splitting at blanks, pieces joined per stream across files in the order of their names.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tailwater_podwriter::{BatchOptions, LiveOptions, Manifest, TreeOptions, UnixNanoseconds, Writer, generate};

/// Namespace, pod, uid, container, stream.
type StreamName = [String; 5];

#[derive(Debug, Default)]
struct Reread {
    lines: BTreeMap<StreamName, Vec<Vec<u8>>>,
    file_bytes: u64,
    records: u64,
    pieces: u64,
    longest_piece: usize,
    rotated_files: u64,
    /// Files whose last record of some stream is a piece.
    cut_files: u64,
    /// Stamps per container, in the order of the records.
    stamps: Vec<Vec<String>>,
}

fn folders(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Rotated files by name, then the live one.
fn files(container: &Path) -> Vec<PathBuf> {
    let mut found = folders(container);
    let live = found.remove(0);
    assert!(live.ends_with("0.log"), "{live:?}");
    found.push(live);
    found
}

fn reread(directory: &Path) -> Reread {
    let mut reread = Reread::default();
    for pod in folders(directory) {
        let name = pod.file_name().unwrap().to_str().unwrap().to_owned();
        let parts: Vec<&str> = name.split('_').collect();
        assert_eq!(parts.len(), 3, "{name}");
        for container in folders(&pod) {
            let container_name = container.file_name().unwrap().to_str().unwrap();
            read_container(&container, &[parts[0], parts[1], parts[2], container_name], &mut reread);
        }
    }
    reread
}

fn read_container(folder: &Path, names: &[&str; 4], reread: &mut Reread) {
    let mut open: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut stamps = Vec::new();
    let files = files(folder);
    reread.rotated_files += files.len() as u64 - 1;
    for file in files {
        let bytes = fs::read(&file).unwrap();
        reread.file_bytes += bytes.len() as u64;
        if bytes.is_empty() {
            continue;
        }
        assert_eq!(bytes.last(), Some(&b'\n'), "{file:?}");
        for record in bytes[..bytes.len() - 1].split(|byte| *byte == b'\n') {
            let parts: Vec<&[u8]> = record.splitn(4, |byte| *byte == b' ').collect();
            let [stamp, stream, tag, text] = parts[..] else { panic!("{:?}", String::from_utf8_lossy(record)) };
            let stream = String::from_utf8(stream.to_vec()).unwrap();
            stamps.push(String::from_utf8(stamp.to_vec()).unwrap());
            reread.records += 1;
            let line = open.entry(stream.clone()).or_default();
            line.extend_from_slice(text);
            match tag {
                b"P" => {
                    reread.pieces += 1;
                    reread.longest_piece = reread.longest_piece.max(text.len());
                }
                b"F" => {
                    let line = open.remove(&stream).unwrap();
                    let [namespace, pod, uid, container] = names.map(str::to_owned);
                    reread.lines.entry([namespace, pod, uid, container, stream]).or_default().push(line);
                }
                other => panic!("{other:?}"),
            }
        }
        reread.cut_files += u64::from(!open.is_empty());
    }
    assert!(open.is_empty(), "every line is written to its end");
    reread.stamps.push(stamps);
}

fn holds(line: &[u8], needle: &[u8]) -> bool {
    line.windows(needle.len()).any(|window| window == needle)
}

/// Everything the manifest says, counted anew.
fn check(manifest: &Manifest, directory: &Path) -> Reread {
    let reread = reread(directory);
    assert_eq!(manifest.file_bytes, reread.file_bytes);
    assert_eq!(manifest.records, reread.records);
    assert_eq!(manifest.pieces, reread.pieces);
    assert_eq!(manifest.lines, reread.lines.values().map(|lines| lines.len() as u64).sum::<u64>());
    assert_eq!(manifest.rotations, reread.rotated_files);
    let mut counted = BTreeMap::new();
    for stream in &manifest.streams {
        let parts = [&stream.namespace, &stream.pod, &stream.uid, &stream.container].map(Clone::clone);
        let [namespace, pod, uid, container] = parts;
        let name = [namespace, pod, uid, container, stream.stream.as_str().to_owned()];
        assert!(counted.insert(name, (stream.lines, stream.text_bytes)).is_none());
    }
    let of = |lines: &Vec<Vec<u8>>| (lines.len() as u64, lines.iter().map(|line| line.len() as u64).sum::<u64>());
    let read: BTreeMap<_, _> = reread.lines.iter().map(|(name, lines)| (name.clone(), of(lines))).collect();
    assert_eq!(counted, read);
    assert_eq!(manifest.text_bytes, read.values().map(|(_, bytes)| bytes).sum::<u64>());
    for needle in &manifest.needles {
        let lines = reread.lines.values().flatten().filter(|line| holds(line, needle.text.as_bytes())).count();
        assert_eq!(needle.lines, lines as u64, "{needle:?}");
        assert!(needle.lines > 0, "{needle:?}");
    }
    assert_stamps_never_go_back(&reread);
    reread
}

/// Stamps of one tree are all of one zone, so they sort as text once their fractions have nine digits.
fn assert_stamps_never_go_back(reread: &Reread) {
    let sortable = |stamp: &String| {
        let fraction: String = stamp[19..].chars().skip(1).take_while(char::is_ascii_digit).collect();
        let fraction = if stamp[19..].starts_with('.') { fraction } else { String::new() };
        format!("{}.{fraction:0<9}", &stamp[..19])
    };
    for stamps in &reread.stamps {
        assert!(stamps.iter().map(sortable).is_sorted());
    }
}

fn options(directory: &Path, seed: u64, bytes: u64) -> BatchOptions {
    BatchOptions::new(TreeOptions { rotate_bytes: 100_000, ..TreeOptions::new(directory, seed) }, bytes)
}

/// Bytes of every file by path.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for pod in folders(directory) {
        for container in folders(&pod) {
            for file in folders(&container) {
                contents.insert(file.strip_prefix(directory).unwrap().to_owned(), fs::read(&file).unwrap());
            }
        }
    }
    contents
}

#[test]
fn defaults_are_counted_right() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = generate(&BatchOptions::new(TreeOptions::new(folder.path(), 1), 3_000_000)).unwrap();
    let reread = check(&manifest, folder.path());
    assert!(reread.lines.len() >= 15, "{} streams", reread.lines.len());
    assert!((3_000_000..3_200_000).contains(&manifest.file_bytes));
}

#[test]
fn rotation_with_pieces_and_cut_lines_is_counted_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 2, 3_000_000);
    options.tree.partial_share = 0.3;
    options.tree.long_line_share = 0.005;
    options.tree.rotation_cut_share = 0.7;
    options.tree.second_stream_share = 0.4;
    let manifest = generate(&options).unwrap();
    let reread = check(&manifest, folder.path());
    assert!(manifest.rotations > 15 && manifest.cut_rotations > 5, "{manifest:?}");
    assert!(manifest.cut_rotations <= reread.cut_files, "{} files end in a piece", reread.cut_files);
    assert_eq!(reread.longest_piece, options.tree.piece_bytes);
}

#[test]
fn equal_stamps_and_repeated_lines_are_counted_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 3, 3_000_000);
    options.stamp_granularity = 1_000_000;
    options.tree.repeat_share = 0.05;
    options.tree.partial_share = 0.1;
    let manifest = generate(&options).unwrap();
    let reread = check(&manifest, folder.path());
    let share = manifest.repeated_lines as f64 / manifest.lines as f64;
    assert!((0.04..0.06).contains(&share), "{share}");
    assert!(manifest.equal_stamps * 10 > manifest.lines * 9 / 10, "{manifest:?}");
    let equal_neighbours: usize = reread.lines.values().map(|lines| lines.windows(2).filter(|pair| pair[0] == pair[1]).count()).sum();
    assert!(equal_neighbours as u64 >= manifest.repeated_lines);
    let fractions = reread.stamps.iter().flatten().filter_map(|stamp| stamp.split_once('.'));
    assert!(fractions.map(|(_, fraction)| fraction.len()).all(|length| length <= "123Z".len()));
}

#[test]
fn tiny_pieces_and_a_zone_are_counted_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), 4, 1_500_000);
    options.tree.piece_bytes = 64;
    options.tree.utc_offset_minutes = -210;
    let manifest = generate(&options).unwrap();
    let reread = check(&manifest, folder.path());
    assert_eq!(reread.longest_piece, 64);
    assert!(reread.stamps.iter().flatten().all(|stamp| stamp.ends_with("-03:30")));
}

#[test]
fn a_pace_changes_no_byte() {
    let (fast, paced) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fast_manifest = generate(&options(fast.path(), 5, 200_000)).unwrap();
    let paced_manifest = generate(&BatchOptions { pace: Some(20_000.0), ..options(paced.path(), 5, 200_000) }).unwrap();
    assert_eq!(fast_manifest, paced_manifest);
    assert_eq!(contents(fast.path()), contents(paced.path()));
}

#[test]
fn the_same_options_give_the_same_bytes_and_another_seed_gives_others() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let seeds = [6, 6, 7];
    for (folder, seed) in folders.iter().zip(seeds) {
        generate(&options(folder.path(), seed, 1_000_000)).unwrap();
    }
    let [first, second, third] = folders.each_ref().map(|folder| contents(folder.path()));
    assert!(first == second);
    assert!(first != third);
}

#[test]
fn a_live_tree_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = LiveOptions::new(folder.path(), 8, 10_000.0);
    let start = 1_768_471_200_000_000_000;
    let mut written = 0;
    let run = |from_seconds: i64, steps: i64| {
        let mut now = UnixNanoseconds(start + from_seconds * 1_000_000_000);
        let mut writer = Writer::new(&options, now).unwrap();
        let mut lines = 0;
        for _ in 0..steps {
            now.0 += 20_000_000;
            lines += writer.step(now).unwrap();
        }
        lines
    };
    written += run(0, 50);
    let first = contents(folder.path());
    assert_eq!(written, 10_000);
    // The clock went back by an hour: stamps must not.
    written += run(-3600, 50);
    let second = contents(folder.path());
    let folders = |files: &BTreeMap<PathBuf, Vec<u8>>| {
        files.keys().map(|path| path.parent().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(folders(&first), folders(&second), "the pods stay the same");
    for (path, bytes) in &first {
        if path.ends_with("0.log") && second.keys().filter(|other| other.parent() == path.parent()).count() == 1 {
            assert!(second[path].starts_with(bytes), "{path:?} is appended to");
        }
    }
    let reread = reread(folder.path());
    assert_eq!(reread.lines.values().map(|lines| lines.len() as u64).sum::<u64>(), written);
    assert_stamps_never_go_back(&reread);
    for lines in reread.lines.values() {
        let long: std::collections::BTreeSet<_> = lines.iter().filter(|line| line.len() > 100).collect();
        assert_eq!(long.len(), lines.iter().filter(|line| line.len() > 100).count(), "lines after the restart are new");
    }
}

#[test]
fn a_live_tree_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = LiveOptions::new(folder.path(), 9, 10_000.0);
    options.tree.rotate_bytes = 20_000;
    options.tree.max_files = Some(3);
    let mut now = UnixNanoseconds(1_768_471_200_000_000_000);
    let mut writer = Writer::new(&options, now).unwrap();
    let mut rotated = 0;
    for _ in 0..200 {
        now.0 += 20_000_000;
        writer.step(now).unwrap();
        for pod in folders(folder.path()) {
            for container in folders(&pod) {
                let files = folders(&container);
                assert!(files.len() <= 3, "{files:?}");
                rotated += files.len() / 3;
            }
        }
    }
    assert!(rotated > 0, "files were rotated and deleted");
}
