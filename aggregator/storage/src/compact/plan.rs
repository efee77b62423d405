//! What is to be compacted next: decisions only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Part;
use crate::file::read::FileIdentity;
use crate::manifest::{DataFile, ManifestState, WriterFold, is_past};
use crate::store::Day;

/// When and how compaction works.
#[derive(Debug, Clone)]
pub struct CompactionOptions {
    /// Bytes of lines in segments that are folded at once, and as soon as there are so many.
    pub fold_bytes: u64,
    /// So many segments are folded, however small.
    pub fold_segments: usize,
    /// Segments are folded when the oldest is so old.
    pub fold_after: Duration,
    /// Bytes of lines in level-1 files of a day that become one file; also the most that one file is made of.
    pub merge_bytes: u64,
    /// So many level-1 files of a day become one, however small.
    pub merge_files: usize,
    /// Files of a past day are merged when the newest is so old.
    pub settle: Duration,
    /// zstd level of final files.
    pub final_level: i32,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self {
            fold_bytes: 32 << 20,
            fold_segments: 1000,
            fold_after: Duration::from_secs(60),
            merge_bytes: 1 << 30,
            merge_files: 64,
            settle: Duration::from_secs(120),
            final_level: 1,
        }
    }
}

/// When segments are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldWhen {
    /// When there are enough of them or the oldest is old enough.
    Due,
    /// When there is half as much, and only so much at once: what a merge holds and the rows of segments are in memory together.
    BesideMerge,
    AtOnce,
}

impl FoldWhen {
    pub(super) fn adapt(self, options: &CompactionOptions) -> CompactionOptions {
        match self {
            Self::Due => options.clone(),
            Self::BesideMerge => CompactionOptions { fold_bytes: options.fold_bytes / 2, ..options.clone() },
            Self::AtOnce => CompactionOptions { fold_after: Duration::ZERO, ..options.clone() },
        }
    }
}

/// Segments to fold into level-1 files.
#[derive(Debug, Clone)]
pub(super) struct FoldPlan {
    /// By object, in the order in which they count.
    pub(super) objects: Vec<Vec<Arc<Part>>>,
    pub(super) writers: Vec<WriterFold>,
    pub(super) raw_bytes: u64,
}

/// Files of one day to merge into a level-2 file.
#[derive(Debug, Clone)]
pub(super) struct MergePlan {
    pub(super) inputs: Vec<Arc<DataFile>>,
}

/// Bytes of lines of a part.
fn raw(part: &Part) -> u64 {
    part.table().bytes()
}

/// The segments to fold next, if it is time. `known_up_to`: the last number before the first gap of a writer; later ones must wait.
pub(super) fn fold(
    segments: &[Arc<Part>],
    manifest: &ManifestState,
    known_up_to: impl Fn(&str) -> Option<u64>,
    options: &CompactionOptions,
    now: i64,
) -> Option<FoldPlan> {
    let waiting = by_object(segments, known_up_to);
    let oldest = waiting.iter().map(|object| object.flushed).min()?;
    let bytes: u64 = waiting.iter().flat_map(|object| &object.parts).map(|part| raw(part)).sum();
    let is_due = bytes >= options.fold_bytes || waiting.len() >= options.fold_segments || is_past(oldest, options.fold_after, now);
    if !is_due {
        return None;
    }
    let (mut plan, mut to) = (FoldPlan { objects: Vec::new(), writers: Vec::new(), raw_bytes: 0 }, BTreeMap::new());
    for object in waiting {
        if plan.raw_bytes >= options.fold_bytes || plan.objects.len() >= options.fold_segments {
            break;
        }
        plan.raw_bytes += object.parts.iter().map(|part| raw(part)).sum::<u64>();
        to.insert(object.writer, object.sequence);
        plan.objects.push(object.parts);
    }
    let fold = |(writer, to): (String, u64)| WriterFold { from: manifest.watermark(&writer).map(|mark| mark.sequence), writer, to };
    plan.writers = to.into_iter().map(fold).collect();
    Some(plan)
}

/// A segment's parts of one tenant.
struct Object {
    writer: String,
    sequence: u64,
    flushed: i64,
    parts: Vec<Arc<Part>>,
}

/// Segments in the order in which they count; of each writer as far as numbers are known without a gap.
fn by_object(segments: &[Arc<Part>], known_up_to: impl Fn(&str) -> Option<u64>) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for part in segments {
        let FileIdentity::Segment(name) = &part.file().footer.identity else { continue };
        if known_up_to(&name.writer).is_none_or(|known| name.sequence > known) {
            continue;
        }
        match objects.last_mut() {
            Some(last) if last.writer == name.writer && last.sequence == name.sequence => last.parts.push(part.clone()),
            _ => objects.push(Object {
                writer: name.writer.clone(),
                sequence: name.sequence,
                flushed: name.flushed,
                parts: vec![part.clone()],
            }),
        }
    }
    objects
}

/// The files to merge next, if it is time for any day; the oldest day first. `is_input` says which files may be.
pub(super) fn merge(
    manifest: &ManifestState,
    is_input: impl Fn(&DataFile) -> bool,
    options: &CompactionOptions,
    now: i64,
) -> Option<MergePlan> {
    let mut days: BTreeMap<Day, Vec<Arc<DataFile>>> = BTreeMap::new();
    // A file that is large enough is final.
    let is_final = |file: &DataFile| file.level >= 2 && file.raw_bytes >= options.merge_bytes / 2;
    for file in manifest.files().filter(|file| !is_final(file) && is_input(file)) {
        days.entry(file.day).or_default().push(file.clone());
    }
    days.into_iter().find_map(|(day, files)| merge_of_day(day, files, options, now))
}

fn merge_of_day(day: Day, mut files: Vec<Arc<DataFile>>, options: &CompactionOptions, now: i64) -> Option<MergePlan> {
    files.sort_by_key(|file| (file.arrived, file.id));
    let is_over = day < Day::of(now);
    let fresh: Vec<&Arc<DataFile>> = files.iter().filter(|file| file.level < 2).collect();
    let bytes: u64 = fresh.iter().map(|file| file.raw_bytes).sum();
    let newest = files.iter().map(|file| file.created).max()?;
    let is_settled = is_over && is_past(newest, options.settle, now);
    let is_due = bytes >= options.merge_bytes || fresh.len() >= options.merge_files || is_settled;
    if !is_due {
        return None;
    }
    if is_settled {
        return merge_of_past_day(&files, options);
    }
    // During the day only fresh files: what was merged waits for the end of the day.
    let candidates: Vec<Arc<DataFile>> = fresh.into_iter().cloned().collect();
    let inputs = candidates[..run_length(&candidates, options)].to_vec();
    // A single file is in order already.
    (inputs.len() > 1).then_some(MergePlan { inputs })
}

/// How many of these files, from the first, become one.
fn run_length(files: &[Arc<DataFile>], options: &CompactionOptions) -> usize {
    let mut sum = 0;
    let fits = |file: &&Arc<DataFile>| {
        sum += file.raw_bytes;
        sum <= options.merge_bytes
    };
    files.iter().take(options.merge_files).take_while(fits).count().max(1)
}

/// The longest run of neighbours in which no merged file is larger than all others together; of equally long ones the oldest. A file that was
/// never merged is rewritten in any case, if need be alone, so that it becomes final.
///
/// So what was merged is rewritten only into a file of at least twice its size: late lines, however many times some come, cost each line that many
/// rewrites at most as sizes double from its first file to the largest, and of these files there are no more than that.
fn merge_of_past_day(files: &[Arc<DataFile>], options: &CompactionOptions) -> Option<MergePlan> {
    let mut longest: &[Arc<DataFile>] = &[];
    for start in 0..files.len() {
        let most = run_length(&files[start..], options);
        let is_longer = |length: &usize| *length > longest.len();
        let found = (1..=most).rev().take_while(is_longer).find(|length| is_worth_it(&files[start..start + length]));
        if let Some(length) = found {
            longest = &files[start..start + length];
        }
    }
    (!longest.is_empty()).then(|| MergePlan { inputs: longest.to_vec() })
}

fn is_worth_it(files: &[Arc<DataFile>]) -> bool {
    let sum: u64 = files.iter().map(|file| file.raw_bytes).sum();
    let is_small_enough = |file: &Arc<DataFile>| file.level < 2 || file.raw_bytes <= sum / 2;
    files.iter().all(is_small_enough) && (files.len() > 1 || files.iter().any(|file| file.level < 2))
}

/// Bytes of lines that wait to be folded or merged, whether or not it is time.
pub(super) fn pending_bytes(segments: &[Arc<Part>], manifest: &ManifestState, options: &CompactionOptions, now: i64) -> u64 {
    let folds: u64 = segments.iter().map(|part| raw(part)).sum();
    let soon = CompactionOptions { settle: Duration::ZERO, ..options.clone() };
    let merges = merge(manifest, |_| true, &soon, now).map_or(0, |plan| plan.inputs.iter().map(|file| file.raw_bytes).sum());
    folds + merges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compact::tests::erasing::data_file;

    const MIB: u64 = 1 << 20;
    /// Long after the day of the files.
    const LATER: i64 = 400 * 86_400_000_000_000;

    /// The files of one past day, in the order of their arrival.
    #[derive(Default)]
    struct PastDay {
        files: Vec<Arc<DataFile>>,
        made: u64,
        /// Bytes of lines written by merges.
        written: u64,
    }

    impl PastDay {
        fn of(files: &[(u8, u64)]) -> Self {
            let mut day = Self::default();
            files.iter().for_each(|(level, bytes)| day.add(*level, *bytes));
            day
        }

        fn add(&mut self, level: u8, raw_bytes: u64) {
            self.made += 1;
            let file = data_file(self.made);
            let arrived = i64::try_from(self.made).expect("few");
            self.files.push(Arc::new(DataFile { level, raw_bytes, arrived, created: 0, ..file }));
        }

        fn plan(&self, options: &CompactionOptions) -> Option<MergePlan> {
            let is_final = |file: &DataFile| file.level >= 2 && file.raw_bytes >= options.merge_bytes / 2;
            let candidates: Vec<Arc<DataFile>> = self.files.iter().filter(|file| !is_final(file)).cloned().collect();
            let day = candidates.first()?.day;
            merge_of_day(day, candidates, options, LATER)
        }

        /// Merges until nothing is due.
        fn settle(&mut self, options: &CompactionOptions) {
            for _ in 0..10_000 {
                let Some(MergePlan { inputs }) = self.plan(options) else { return };
                let bytes: u64 = inputs.iter().map(|file| file.raw_bytes).sum();
                assert!(inputs.len() == 1 || bytes <= options.merge_bytes && inputs.len() <= options.merge_files);
                self.written += bytes;
                let first = inputs[0].arrived;
                self.files.retain(|file| inputs.iter().all(|input| input.id != file.id));
                self.add(2, bytes);
                let merged = self.files.pop().expect("was added");
                let merged = DataFile { arrived: first, ..(*merged).clone() };
                let at = self.files.partition_point(|file| file.arrived < first);
                self.files.insert(at, Arc::new(merged));
            }
            panic!("merges go on for ever: {:?}", self.sizes());
        }

        fn sizes(&self) -> Vec<(u8, u64)> {
            self.files.iter().map(|file| (file.level, file.raw_bytes)).collect()
        }
    }

    #[test]
    fn a_day_that_is_over_becomes_few_files_and_late_lines_leave_the_large_ones_alone() {
        let options = CompactionOptions::default();
        for (what, before, after, written) in [
            ("one file becomes final", vec![(1, 7)], vec![(2, 7)], 7),
            ("and then stays", vec![(2, 7)], vec![(2, 7)], 0),
            ("fresh files become one", vec![(1, 64), (1, 64), (1, 3)], vec![(2, 131)], 131),
            ("with what was merged during the day", vec![(2, 40), (2, 50), (2, 30), (1, 9)], vec![(2, 129)], 129),
            ("late lines", vec![(2, 400), (1, 1)], vec![(2, 400), (2, 1)], 1),
            ("more of them", vec![(2, 400), (2, 1), (1, 1)], vec![(2, 400), (2, 2)], 2),
            ("not enough for the next size", vec![(2, 400), (2, 4), (1, 1)], vec![(2, 400), (2, 4), (2, 1)], 1),
            ("enough for all of them", vec![(2, 400), (2, 4), (2, 2), (1, 2)], vec![(2, 400), (2, 8)], 8),
            ("as many as there are already", vec![(2, 400), (1, 410)], vec![(2, 810)], 810),
            ("no more than one file holds", vec![(1, 500), (1, 500), (1, 500)], vec![(2, 1000), (2, 500)], 1500),
        ] {
            let mib = |files: Vec<(u8, u64)>| files.into_iter().map(|(level, bytes)| (level, bytes * MIB)).collect::<Vec<_>>();
            let mut day = PastDay::of(&mib(before));
            day.settle(&options);
            assert_eq!((day.sizes(), day.written), (mib(after), written * MIB), "{what}");
        }
    }

    /// A line comes late every minute for two weeks.
    #[test]
    fn late_lines_cost_in_proportion_to_what_they_are() {
        let options = CompactionOptions::default();
        let mut day = PastDay::of(&[(2, 400 * MIB)]);
        let folds = 14 * 24 * 60;
        for _ in 0..folds {
            day.add(1, 1000);
            day.settle(&options);
        }
        // Each is rewritten once, and then as often as sizes double: 15 times up to 20 MB.
        assert!(day.written <= 16 * folds * 1000, "{} bytes for {}", day.written, folds * 1000);
        assert!(day.files.len() <= 16, "{:?}", day.sizes());
        assert_eq!(day.sizes()[0], (2, 400 * MIB));
    }

    proptest! {
        #[test]
        fn rewrites_are_bounded_however_files_come(sizes in proptest::collection::vec((1u64..200_000, any::<bool>()), 1..150)) {
            let options = CompactionOptions { merge_bytes: 1_000_000, merge_files: 16, ..CompactionOptions::default() };
            let mut day = PastDay::default();
            let mut all = 0;
            for (bytes, settles) in sizes {
                day.add(1, bytes);
                all += bytes;
                if settles {
                    day.settle(&options);
                }
            }
            day.settle(&options);
            prop_assert_eq!(day.sizes().iter().map(|(_, bytes)| bytes).sum::<u64>(), all);
            prop_assert!(day.sizes().iter().all(|(level, _)| *level == 2));
            // A line is in a file of at least one byte first, and of half a megabyte at last.
            prop_assert!(day.written <= 21 * all, "{} for {}", day.written, all);
        }
    }
}
