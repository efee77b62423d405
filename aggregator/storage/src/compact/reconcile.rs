//! From data files that may repeat each other (outputs and inputs of compactions, outputs that lost) to files that do not.
//!
//! ```text
//! files of a day ── which share intervals of a stream ──→ sets
//!   of each set, newest first: how many rows does each bring that no newer one has?
//!     none          → redundant, left out
//!     all of them   → kept as it is
//!     some          → what is not redundant is merged anew, each entry once
//! ```
//! The rows of what comes out are exactly the rows of what went in, each once. Nothing is deleted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tailwater_textindex::FillLimits;

use crate::catalog::{Catalog, Part};
use crate::compact::erasure::NothingErased;
use crate::compact::error::CompactError;
use crate::compact::merge::{LeftOut, Sink};
use crate::compact::output::FileSpec;
use crate::compact::run::Run;
use crate::compact::source::Source;
use crate::compact::streams::{Streams, merge_streams};
use crate::compact::writer::DayFiles;
use crate::entry::{StreamId, TenantId};
use crate::manifest::{DataFile, FileId};
use crate::pairs::Pairs;
use crate::store::Day;

/// Bytes that all inputs together read ahead.
const READ_AHEAD: u64 = 48 << 20;

/// Bytes of lines of a file that is made here.
const FILE_BYTES: u64 = 1 << 30;

const FINAL_LEVEL: u8 = 2;

/// What became of the files.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Kept as they were, and those that were made.
    pub(crate) files: Vec<DataFile>,
    /// Every row of theirs is in another file.
    pub(crate) redundant: Vec<FileId>,
    /// Their rows are in files that were made.
    pub(crate) merged: Vec<FileId>,
    /// Rows that were left out because another file has them.
    pub(crate) repeated_rows: u64,
}

/// Makes files of `files` that do not repeat each other. `created`: now (ns); `progress` is told of each file that is settled.
pub(crate) async fn reconcile(
    catalog: &Arc<Catalog>,
    tenant: &TenantId,
    files: &[Arc<DataFile>],
    created: i64,
    progress: &(dyn Fn(&DataFile) + Send + Sync),
) -> Result<Reconciled, CompactError> {
    let mut days: BTreeMap<Day, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files {
        days.entry(file.day).or_default().push(file.clone());
    }
    let mut outcome = Reconciled::default();
    for files in days.into_values() {
        let mut opened = Vec::with_capacity(files.len());
        for file in files {
            opened.push((file.clone(), catalog.data_file(tenant, file).await?));
        }
        for set in overlap_sets(opened) {
            let settled: Vec<Arc<DataFile>> = set.iter().map(|(file, _)| file.clone()).collect();
            Set { catalog, tenant, created }.reconcile(set, &mut outcome).await?;
            settled.iter().for_each(|file| progress(file));
        }
    }
    Ok(outcome)
}

/// A file and its parts.
type Opened = (Arc<DataFile>, Arc<[Arc<Part>]>);

/// Groups files that share intervals of a stream, directly or through others.
fn overlap_sets(files: Vec<Opened>) -> Vec<Vec<Opened>> {
    let mut intervals: HashMap<StreamId, Vec<(i64, i64, usize)>> = HashMap::new();
    for (place, (_, parts)) in files.iter().enumerate() {
        for span in parts.iter().flat_map(|part| &part.table().streams) {
            intervals.entry(span.id).or_default().push((span.min_timestamp, span.max_timestamp, place));
        }
    }
    let mut leader: Vec<usize> = (0..files.len()).collect();
    for mut of_stream in intervals.into_values() {
        of_stream.sort_unstable();
        let mut reach: Option<(i64, usize)> = None;
        for (first, last, place) in of_stream {
            match &mut reach {
                Some((end, with)) if first <= *end => {
                    let (one, other) = (root(&leader, *with), root(&leader, place));
                    leader[one.max(other)] = one.min(other);
                    *end = last.max(*end);
                }
                _ => reach = Some((last, place)),
            }
        }
    }
    let mut sets: BTreeMap<usize, Vec<Opened>> = BTreeMap::new();
    for (place, file) in files.into_iter().enumerate() {
        sets.entry(root(&leader, place)).or_default().push(file);
    }
    sets.into_values().collect()
}

fn root(leader: &[usize], mut place: usize) -> usize {
    while leader[place] != place {
        place = leader[place];
    }
    place
}

/// What reconciling one set works with.
struct Set<'a> {
    catalog: &'a Arc<Catalog>,
    tenant: &'a TenantId,
    created: i64,
}

impl Set<'_> {
    async fn reconcile(&self, mut set: Vec<Opened>, outcome: &mut Reconciled) -> Result<(), CompactError> {
        if set.len() > 1 {
            // The newest first: what a compaction made stands before what it was made of.
            set.sort_by_key(|(file, _)| std::cmp::Reverse((file.level, file.id)));
            let left_out = merge_streams(&mut self.sources(&set), &Streams::all(), &mut Uncollected).await?;
            outcome.repeated_rows += left_out.duplicates;
            let (redundant, needed) = split(set, &left_out);
            outcome.redundant.extend(redundant.iter().map(|(file, _)| file.id));
            let is_repeating = needed.iter().any(|(_, repeated)| *repeated > 0);
            set = needed.into_iter().map(|(file, _)| file).collect();
            if is_repeating {
                outcome.merged.extend(set.iter().map(|(file, _)| file.id));
                outcome.files.extend(self.merged(set).await?);
                return Ok(());
            }
        }
        outcome.files.extend(set.iter().map(|(file, _)| file.as_ref().clone()));
        Ok(())
    }

    fn sources(&self, set: &[Opened]) -> Vec<(Source, Option<FileId>)> {
        let read_ahead = READ_AHEAD / set.len() as u64;
        set.iter().map(|(_, parts)| (Source::new(self.catalog.clone(), parts.to_vec(), read_ahead), None)).collect()
    }

    /// One merge of all, in the order in which queries take them.
    async fn merged(&self, mut set: Vec<Opened>) -> Result<Vec<DataFile>, CompactError> {
        set.sort_by_key(|(file, _)| (file.arrived, file.id));
        let spec = FileSpec {
            tenant: self.tenant.clone(),
            day: Day::of(0),
            level: FINAL_LEVEL,
            zstd_level: 1,
            fill: Some(FillLimits::default()),
            arrived: set.first().map_or(0, |(file, _)| file.arrived),
            created: self.created,
            as_of: 0,
        };
        let erasure = Arc::new(NothingErased { as_of: 0 });
        let mut files = DayFiles::new(self.catalog.store().clone(), spec, FILE_BYTES, erasure);
        match merge_streams(&mut self.sources(&set), &Streams::all(), &mut files).await {
            Ok(_) => files.finish().await.map(|written| written.files),
            Err(error) => {
                files.abort().await;
                Err(error)
            }
        }
    }
}

/// Files that bring no row, and the others with the number of rows that they repeat.
fn split(set: Vec<Opened>, left_out: &LeftOut) -> (Vec<Opened>, Vec<(Opened, u64)>) {
    let (mut redundant, mut needed) = (Vec::new(), Vec::new());
    for (place, opened) in set.into_iter().enumerate() {
        let repeated = left_out.duplicates_of.get(&place).copied().unwrap_or(0);
        if repeated == opened.0.rows { redundant.push(opened) } else { needed.push((opened, repeated)) }
    }
    (redundant, needed)
}

/// Rows are counted by the merge and go nowhere.
struct Uncollected;

impl Sink for Uncollected {
    fn begin_stream(&mut self, _id: StreamId, _labels: &Pairs, _bytes: u64) {}

    async fn append(&mut self, _run: &Run, _start: usize, _length: usize) -> Result<(), CompactError> {
        Ok(())
    }
}
