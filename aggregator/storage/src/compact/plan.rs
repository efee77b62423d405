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
            fold_bytes: 48 << 20,
            fold_segments: 1000,
            fold_after: Duration::from_secs(60),
            merge_bytes: 1 << 30,
            merge_files: 64,
            settle: Duration::from_secs(60),
            final_level: 1,
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
    // During the day only fresh files: what was merged waits for the end of the day.
    let candidates = if is_settled { files } else { fresh.into_iter().cloned().collect() };
    let (mut inputs, mut sum): (Vec<Arc<DataFile>>, u64) = (Vec::new(), 0);
    for file in candidates {
        if !inputs.is_empty() && (sum + file.raw_bytes > options.merge_bytes || inputs.len() >= options.merge_files) {
            break;
        }
        sum += file.raw_bytes;
        inputs.push(file);
    }
    // A single file is in order already.
    (inputs.len() > 1).then_some(MergePlan { inputs })
}

/// Bytes of lines that wait to be folded or merged, whether or not it is time.
pub(super) fn pending_bytes(segments: &[Arc<Part>], manifest: &ManifestState, options: &CompactionOptions, now: i64) -> u64 {
    let folds: u64 = segments.iter().map(|part| raw(part)).sum();
    let soon = CompactionOptions { settle: Duration::ZERO, ..options.clone() };
    let merges = merge(manifest, |_| true, &soon, now).map_or(0, |plan| plan.inputs.iter().map(|file| file.raw_bytes).sum());
    folds + merges
}
