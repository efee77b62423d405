//! Each entry once: which rows of overlapping parts repeat an entry that an earlier part holds.
//!
//! Entries of a stream with equal stamp, line and metadata are one. Compaction leaves no entry in two data files, so only segments can
//! repeat what another part holds, and only where the intervals [first stamp, last stamp] of a stream overlap. There, stamps are
//! compared; only where two are equal, the hashes (of segments); and only where those are equal too, line and metadata (by SHA-256, so
//! that few pages are in memory at a time). The answer is a set of rows to leave out, so that everything after it can treat parts as independent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::catalog::{Catalog, Part};
use crate::entry::StreamId;
use crate::error::{FileError, ReadError};
use crate::file::columns::Wanted;
use crate::file::pages::Pages;
use crate::tolerance::Tolerance;

/// Rows to leave out, by part (index into the parts given), ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetitions {
    rows: HashMap<usize, Arc<[u32]>>,
    overlapping: BTreeSet<usize>,
}

impl Repetitions {
    /// Rows of a part that repeat an earlier part's entries, ascending.
    pub fn of(&self, part: usize) -> &[u32] {
        self.rows.get(&part).map_or(&[], |rows| rows)
    }

    pub fn total(&self) -> usize {
        self.rows.values().map(|rows| rows.len()).sum()
    }

    /// Parts that were compared with others; all the rest is trusted as it is.
    pub fn compared(&self) -> usize {
        self.overlapping.len()
    }
}

/// A stream's rows in one part.
#[derive(Debug, Clone)]
struct Piece {
    part: usize,
    rows: Range<usize>,
    first: i64,
    last: i64,
}

/// A row of a part.
type Row = (usize, u32);

/// Finds the repetitions among `streams` in `parts` (in the order in which they count) that touch `[start, end]`. What the reader passes over is
/// compared with nothing: its rows count as they are.
pub async fn repetitions(
    catalog: &Catalog,
    parts: &[Arc<Part>],
    streams: impl IntoIterator<Item = StreamId> + Clone,
    (start, end): (i64, i64),
    tolerance: &Tolerance,
) -> Result<Repetitions, ReadError> {
    #[cfg(feature = "planted-faults")]
    if tailwater_planted::Fault::DeduplicationOff.is_planted() {
        return Ok(Repetitions::default());
    }
    if parts.iter().all(|part| !part.file().is_segment()) {
        return Ok(Repetitions::default());
    }
    let reader = Reader { catalog, parts, tolerance };
    loop {
        let overlaps: Vec<Vec<Piece>> = streams.clone().into_iter().flat_map(|stream| reader.overlap_sets(stream, start, end)).collect();
        // What was passed over is not compared the next time.
        if let Some(rows) = tolerance.pass_over(reader.repeated(&overlaps).await)? {
            let found = Repetitions { rows, overlapping: overlaps.iter().flatten().map(|piece| piece.part).collect() };
            catalog.rows_repeated(found.total());
            return Ok(found);
        }
    }
}

/// Groups pieces whose closed intervals overlap, directly or through others; pieces that stand alone fall out.
fn overlap_sets(mut pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    pieces.sort_by_key(|piece| piece.first);
    let mut sets: Vec<Vec<Piece>> = Vec::new();
    let mut reach = i64::MIN;
    for piece in pieces {
        match sets.last_mut() {
            Some(set) if piece.first <= reach => {
                reach = reach.max(piece.last);
                set.push(piece);
            }
            _ => {
                reach = piece.last;
                sets.push(vec![piece]);
            }
        }
    }
    sets.retain(|set| set.len() > 1);
    sets
}

/// Reads what comparing needs.
struct Reader<'a> {
    catalog: &'a Catalog,
    parts: &'a [Arc<Part>],
    tolerance: &'a Tolerance,
}

impl Reader<'_> {
    /// The repeated rows of some overlap sets, by part.
    async fn repeated(&self, overlaps: &[Vec<Piece>]) -> Result<HashMap<usize, Arc<[u32]>>, ReadError> {
        if overlaps.is_empty() {
            return Ok(HashMap::new());
        }
        let equal_stamps = self.rows_with_equal_stamps(overlaps).await?;
        let equal_hashes = self.split_by_hash(equal_stamps).await?;
        let repeated = self.later_of_equal(equal_hashes).await?;
        Ok(repeated.into_iter().map(|(part, rows)| (part, rows.into_iter().collect::<Vec<u32>>().into())).collect())
    }

    /// Sets of a stream's overlapping pieces, at least one of a segment in each.
    fn overlap_sets(&self, stream: StreamId, start: i64, end: i64) -> Vec<Vec<Piece>> {
        let compared = self.parts.iter().enumerate().filter(|(_, part)| !self.tolerance.has_passed_over(part.key()));
        let spans = compared.filter_map(|(part, found)| Some((part, found.table().find(stream)?)));
        let pieces = spans.filter(|(_, span)| span.min_timestamp <= end && span.max_timestamp >= start).map(|(part, span)| Piece {
            part,
            rows: span.rows.clone(),
            first: span.min_timestamp,
            last: span.max_timestamp,
        });
        let mut sets = overlap_sets(pieces.collect());
        sets.retain(|set| set.iter().any(|piece| self.is_segment(piece.part)));
        sets
    }

    fn is_segment(&self, part: usize) -> bool {
        self.parts[part].file().is_segment()
    }

    /// The pages that hold rows of a part.
    fn pages_of(&self, part: usize, rows: &BTreeSet<u32>) -> BTreeMap<usize, Vec<u32>> {
        let table = self.parts[part].pages();
        let mut pages: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for &row in rows {
            let page = table.holding(&(row as usize..row as usize + 1)).start;
            pages.entry(page).or_default().push(row);
        }
        pages
    }

    async fn fetch(&self, part: usize, pages: impl IntoIterator<Item = usize> + Clone, wanted: Wanted) -> Result<Pages, ReadError> {
        self.catalog.fetch(&self.parts[part], pages, wanted).await
    }

    fn read<T>(&self, part: usize, outcome: Result<T, FileError>) -> Result<T, ReadError> {
        outcome.map_err(|error| ReadError::file(self.parts[part].key(), error))
    }

    /// Groups of rows of one stream, in different parts, with one stamp.
    async fn rows_with_equal_stamps(&self, overlaps: &[Vec<Piece>]) -> Result<Vec<Vec<Row>>, ReadError> {
        let mut needed: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (piece, shared) in overlaps.iter().flat_map(|set| pieces_with_shared_interval(set)) {
            needed.entry(piece.part).or_default().extend(self.pages_within(piece, shared));
        }
        let mut stamps = HashMap::new();
        for (part, pages) in needed {
            let wanted = Wanted { timestamps: true, ..Wanted::default() };
            let fetched = self.fetch(part, pages.iter().copied(), wanted).await?;
            for page in pages {
                stamps.insert((part, page), self.read(part, fetched.timestamps(page))?);
            }
        }
        let mut groups = Vec::new();
        for set in overlaps {
            let mut rows: Vec<(i64, usize, u32)> = Vec::new();
            for (piece, (first, last)) in pieces_with_shared_interval(set) {
                let table = self.parts[piece.part].pages();
                for page in self.pages_within(piece, (first, last)) {
                    let of_page = table.rows(page);
                    let of_piece = piece.rows.start.max(of_page.start)..piece.rows.end.min(of_page.end);
                    let column = &stamps[&(piece.part, page)][of_piece.start - of_page.start..of_piece.end - of_page.start];
                    let (from, to) = (column.partition_point(|&stamp| stamp < first), column.partition_point(|&stamp| stamp <= last));
                    rows.extend((from..to).map(|row| (column[row], piece.part, (of_piece.start + row) as u32)));
                }
            }
            rows.sort_unstable();
            for group in rows.chunk_by(|left, right| left.0 == right.0) {
                if group.first().map(|row| row.1) != group.last().map(|row| row.1) {
                    groups.push(group.iter().map(|&(_, part, row)| (part, row)).collect());
                }
            }
        }
        Ok(groups)
    }

    /// Pages of a piece that may hold stamps of an interval.
    fn pages_within(&self, piece: &Piece, (first, last): (i64, i64)) -> Vec<usize> {
        let table = self.parts[piece.part].pages();
        let touches = |page: &usize| {
            let (least, greatest) = table.stamps(*page);
            least <= last && greatest >= first
        };
        table.holding(&piece.rows).filter(touches).collect()
    }

    /// Splits the groups by line hash where all rows have one; what stands alone in its part or with its hash falls out.
    async fn split_by_hash(&self, groups: Vec<Vec<Row>>) -> Result<Vec<Vec<Row>>, ReadError> {
        let (hashed, mixed): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.iter().all(|(part, _)| self.is_segment(*part)));
        let mut hashes: HashMap<Row, u64> = HashMap::new();
        for (part, rows) in by_part(&hashed) {
            let pages = self.pages_of(part, &rows);
            let wanted = Wanted { line_hashes: true, ..Wanted::default() };
            let fetched = self.fetch(part, pages.keys().copied(), wanted).await?;
            for (page, rows) in pages {
                let (column, start) = (self.read(part, fetched.line_hashes(page))?, self.parts[part].pages().rows(page).start);
                hashes.extend(rows.into_iter().map(|row| ((part, row), column[row as usize - start])));
            }
        }
        let mut split = split_by(hashed, |row| hashes[row]);
        split.extend(mixed);
        Ok(split)
    }

    /// Compares what is left by line and metadata; of equal rows all but the first part's are repetitions.
    async fn later_of_equal(&self, groups: Vec<Vec<Row>>) -> Result<BTreeMap<usize, BTreeSet<u32>>, ReadError> {
        let mut digests: HashMap<Row, [u8; 32]> = HashMap::new();
        for (part, rows) in by_part(&groups) {
            let wanted = Wanted { lines: true, metadata: true, ..Wanted::default() };
            for (page, rows) in self.pages_of(part, &rows) {
                let fetched = self.fetch(part, [page], wanted).await?;
                let (lines, metadata) = (self.read(part, fetched.lines(page))?, self.read(part, fetched.metadata(page))?);
                let start = self.parts[part].pages().rows(page).start;
                for row in rows {
                    let (line, set) = (lines.line(row as usize - start), metadata.row(row as usize - start));
                    let mut digest = Sha256::new();
                    digest.update((line.len() as u64).to_le_bytes());
                    digest.update(line);
                    digest.update(set.as_bytes());
                    digests.insert((part, row), digest.finalize().into());
                }
            }
        }
        let mut repeated: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
        for group in split_by(groups, |row| digests[row]) {
            // Parts are given in the order in which they count.
            for (part, row) in group.into_iter().skip(1) {
                repeated.entry(part).or_default().insert(row);
            }
        }
        Ok(repeated)
    }
}

/// Each piece of a set, with the interval from the first to the last stamp of the other pieces.
fn pieces_with_shared_interval(set: &[Piece]) -> impl Iterator<Item = (&Piece, (i64, i64))> {
    set.iter().enumerate().map(|(index, piece)| {
        let others = || set.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, other)| other);
        let first = others().map(|other| other.first).min().unwrap_or(i64::MAX);
        (piece, (first, others().map(|other| other.last).max().unwrap_or(i64::MIN)))
    })
}

fn by_part(groups: &[Vec<Row>]) -> BTreeMap<usize, BTreeSet<u32>> {
    let mut parts: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    for &(part, row) in groups.iter().flatten() {
        parts.entry(part).or_default().insert(row);
    }
    parts
}

fn split_by<K: Ord>(groups: Vec<Vec<Row>>, key: impl Fn(&Row) -> K) -> Vec<Vec<Row>> {
    let mut split = Vec::new();
    for group in groups {
        let mut by_key: BTreeMap<K, Vec<Row>> = BTreeMap::new();
        for row in group {
            by_key.entry(key(&row)).or_default().push(row);
        }
        split.extend(by_key.into_values().filter(|rows| rows.len() > 1));
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CacheBudget;
    use crate::entry::{Metadata, PushBatch, StreamEntries, StreamLabels, TenantId};
    use crate::file::read::SegmentName;
    use crate::pairs::Pairs;
    use crate::segment::encode::encode;
    use crate::segment::rows::SegmentRows;
    use crate::store::{Store, paths};
    use crate::tolerance::Tolerance;
    use object_store::memory::InMemory;
    use proptest::prelude::*;
    use std::time::Duration;

    type Entry = (u8, i64, u8, u8);

    fn labels(stream: u8) -> Arc<StreamLabels> {
        Arc::new(StreamLabels::new(Pairs::from_pairs([("app", stream.to_string())]), None))
    }

    fn push(entries: &[Entry]) -> PushBatch {
        let mut streams: BTreeMap<u8, StreamEntries> = BTreeMap::new();
        for &(stream, stamp, line, metadata) in entries {
            let stream = streams.entry(stream).or_insert_with(|| StreamEntries::new(labels(stream)));
            let pushed = if metadata == 0 { Pairs::default() } else { Pairs::from_pairs([("m", metadata.to_string())]) };
            let handle = stream.intern(Metadata { pushed, derived: Pairs::default() });
            stream.push(stamp, &format!("line {line}"), handle);
        }
        PushBatch { tenant: TenantId::new("t"), streams: streams.into_values().collect() }
    }

    /// Stores each batch as a segment of its own; half of them stay in memory.
    async fn catalog_of(segments: &[Vec<Entry>]) -> Catalog {
        let store = Store::new(Arc::new(InMemory::new()), "");
        let budget = CacheBudget { recent_rows: 1 << 20, footers: 1 << 20, index: 1 << 20 };
        let catalog = Catalog::new(store.clone(), budget, "test", Arc::new(|| 0));
        for (sequence, entries) in segments.iter().enumerate() {
            let rows = SegmentRows::from_pushes(&[push(entries)]);
            if rows.rows() == 0 {
                continue;
            }
            let writer = if sequence % 2 == 0 { "OWN" } else { "OTHER" };
            let name = SegmentName { writer: writer.into(), sequence: sequence as u64, flushed: sequence as i64 };
            let (bytes, footer) = encode(&name, &rows).expect("encodes");
            let size = bytes.len() as u64;
            store.create(&paths::segment(writer, name.sequence), bytes, Duration::from_secs(1)).await.expect("stores");
            if writer == "OWN" {
                catalog.publish(&name, size, footer, rows);
            }
        }
        catalog.discover(|_, _| ()).await.expect("lists");
        catalog
    }

    async fn kept(catalog: &Catalog, start: i64, end: i64) -> Vec<(i64, Vec<u8>, Pairs, u64)> {
        let snapshot = catalog.snapshot(&TenantId::new("t"), &[(i64::MIN, i64::MAX)], &Tolerance::default()).await.expect("reads");
        let ids: BTreeSet<StreamId> = snapshot.iter().flat_map(|part| part.table().streams.iter().map(|span| span.id)).collect();
        let repeated = repetitions(catalog, &snapshot, ids, (start, end), &Tolerance::default()).await.expect("reads");
        let mut rows = Vec::new();
        for (index, part) in snapshot.iter().enumerate() {
            let all = Wanted { timestamps: true, lines: true, metadata: true, line_hashes: false };
            let pages = catalog.fetch(part, 0..part.pages().len(), all).await.expect("reads");
            for page in 0..part.pages().len() {
                let (stamps, lines) = (pages.timestamps(page).expect("intact"), pages.lines(page).expect("intact"));
                let metadata = pages.metadata(page).expect("intact");
                for (at, row) in part.pages().rows(page).enumerate() {
                    let span = part.table().streams.iter().find(|span| span.rows.contains(&row)).expect("every row has a stream");
                    if repeated.of(index).binary_search(&(row as u32)).is_err() && (start..=end).contains(&stamps[at]) {
                        rows.push((stamps[at], lines.line(at).to_vec(), metadata.row(at).clone(), span.id.0));
                    }
                }
            }
        }
        rows.sort();
        rows
    }

    fn truth(segments: &[Vec<Entry>], start: i64, end: i64) -> Vec<(i64, Vec<u8>, Pairs, u64)> {
        let distinct: BTreeSet<Entry> = segments.iter().flatten().copied().filter(|entry| (start..=end).contains(&entry.1)).collect();
        let mut rows: Vec<_> = distinct
            .into_iter()
            .map(|(stream, stamp, line, metadata)| {
                let pairs = if metadata == 0 { Pairs::default() } else { Pairs::from_pairs([("m", metadata.to_string())]) };
                (stamp, format!("line {line}").into_bytes(), pairs, labels(stream).id().0)
            })
            .collect();
        rows.sort();
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_entry_is_seen_once_however_segments_overlap(
            segments in proptest::collection::vec(proptest::collection::vec((0u8..3, 0i64..12, 0u8..3, 0u8..2), 0..20), 1..6),
            start in 0i64..12, length in 0i64..12,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let catalog = catalog_of(&segments).await;
                let seen = kept(&catalog, start, start + length).await;
                prop_assert_eq!(seen, truth(&segments, start, start + length));
                Ok(())
            })?;
        }
    }

    #[test]
    fn pieces_that_stand_alone_are_not_compared() {
        let piece = |part, first, last| Piece { part, rows: 0..1, first, last };
        assert!(overlap_sets(vec![piece(0, 0, 4), piece(1, 5, 9), piece(2, 10, 10)]).is_empty());
        let sets = overlap_sets(vec![piece(0, 0, 5), piece(1, 5, 9), piece(2, 10, 12), piece(3, 20, 30), piece(4, 12, 12)]);
        let parts: Vec<Vec<usize>> = sets.iter().map(|set| set.iter().map(|piece| piece.part).collect()).collect();
        assert_eq!(parts, [vec![0, 1], vec![2, 4]]);
    }

    #[tokio::test]
    async fn the_copy_that_counts_is_the_earliest_flushed() {
        let catalog = catalog_of(&[vec![(0, 1, 1, 0)], vec![(0, 1, 1, 0), (0, 1, 2, 0)], vec![(0, 1, 1, 0)]]).await;
        let snapshot = catalog.snapshot(&TenantId::new("t"), &[(i64::MIN, i64::MAX)], &Tolerance::default()).await.expect("reads");
        let repeated = repetitions(&catalog, &snapshot, [labels(0).id()], (0, 10), &Tolerance::default()).await.expect("reads");
        assert_eq!((repeated.of(0), repeated.of(1), repeated.of(2)), ([].as_slice(), [0].as_slice(), [0].as_slice()));
        assert_eq!(repeated.total(), 2);
    }
}
