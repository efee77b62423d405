//! `TopEntriesExec`: the newest (or oldest) entries that pass a pipeline, in order, from as few pages as can be.
//!
//! Pages are looked at in [`Waves`], those first that may hold the newest entries, until no page is left that may hold a newer one than the
//! last of those found. Only places are kept then; lines and metadata are read of the winners alone. Without filters, stamps decide.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion_common::{DataFusionError, Result};
use datafusion_physical_plan::ExecutionPlan;
use futures::{StreamExt, stream};
use tailwater_storage::file::columns::Wanted;
use tailwater_storage::file::pages::Pages;
use tailwater_storage::pairs::Pairs;
use tokio::task::JoinSet;

use crate::batch;
use crate::memory::OperatorMemory;
use crate::operators::entries::{SelectedPipeline, StreamPipelines};
use crate::operators::exec::{BatchStream, deferred};
use crate::operators::series::SeriesIndex;
use crate::request::Direction;
use crate::scan::exec::{pages_text, wanted_rows};
use crate::scan::fetch::{PageSource, each_group};
use crate::scan::leaf::{Leaf, leaf};
use crate::scan::open_page::{OpenPage, Run, file_error};
use crate::scan::order::{Key, Portion, Top};
use crate::scan::pages::{PageGroup, SelectedPage, groups};
use crate::scan::rows;
use crate::scan::search::LineSearch;
use crate::scan::waves::Waves;
use crate::statistics::Counters;

/// Groups under way for each core: one is fetched while another is searched, and none waits for the longest.
const GROUPS_OF_A_CORE: usize = 2;

/// Memory that an entry takes besides its line and metadata.
const ENTRY_BYTES: usize = 128;

/// The leaf of log queries with a limit.
#[derive(Debug)]
pub(crate) struct TopEntries {
    source: PageSource,
    search: LineSearch,
    /// The stages behind the line filters; `None` if every line that passes these is wanted.
    stages: Option<SelectedPipeline>,
    portion: Portion,
    at_once: usize,
    counters: Arc<Counters>,
    /// Those first that may hold the first entries.
    pages: Vec<SelectedPage>,
    schema: SchemaRef,
}

impl TopEntries {
    /// `stages`: the pipeline, if there is more to it than line filters.
    pub(crate) fn plan(
        source: PageSource,
        mut pages: Vec<SelectedPage>,
        search: LineSearch,
        stages: Option<SelectedPipeline>,
        portion: Portion,
        at_once: usize,
        counters: Arc<Counters>,
    ) -> Arc<dyn ExecutionPlan> {
        pages.retain(|page| portion.touches(page));
        pages.sort_by_key(|page| portion.order.first_of(page));
        let schema = batch::scanned(true, true);
        leaf(Self { source, search, stages, portion, at_once: at_once.max(1), counters, pages, schema })
    }

    /// Looks at pages until the first entries are known. Entries come along where their lines were read anyway.
    async fn find(self: &Arc<Self>, memory: &Arc<OperatorMemory>) -> Result<BTreeMap<Key, Option<Entry>>> {
        let reads_entries = self.reads_entries();
        let wanted = Wanted { timestamps: true, lines: reads_entries, metadata: reads_entries, ..Wanted::default() };
        let at_once = self.at_once * GROUPS_OF_A_CORE;
        let (mut top, mut first) = (Top::new(self.portion.limit), BTreeMap::new());
        let (mut waves, mut groups, mut running) = (Waves::new(&self.pages), VecDeque::new(), JoinSet::new());
        loop {
            while running.len() < at_once {
                if groups.is_empty() && (running.is_empty() || waves.found_nothing()) {
                    groups = self.groups(waves.next(&self.portion.order, &top), wanted, at_once).into();
                }
                let Some(mut group): Option<PageGroup> = groups.pop_front() else { break };
                group.pages.retain(|page| top.admits(self.portion.order.first_of(page)));
                if group.pages.is_empty() {
                    continue;
                }
                running.spawn(self.clone().look_at(group, wanted, top.clone(), memory.another()));
            }
            let Some(done) = running.join_next().await else { return Ok(first) };
            let found = done.unwrap_or_else(|error| Err(DataFusionError::External(Box::new(error))))?;
            waves.note(found.len());
            for (key, entry) in found {
                top.add(key);
                first.insert(key, entry);
            }
            self.cut(&mut first, &top);
            memory.try_resize(first.values().map(|entry| ENTRY_BYTES + entry.as_ref().map_or(0, Entry::bytes)).sum())?;
        }
    }

    /// Drops what is behind the last entry wanted.
    fn cut(&self, first: &mut BTreeMap<Key, Option<Entry>>, top: &Top) {
        let ends_whole = self.portion.ends_whole;
        #[cfg(feature = "planted-faults")]
        let ends_whole = ends_whole && !tailwater_planted::Fault::PageCut.is_planted();
        let is_wanted = |key: Key| ends_whole && top.last().is_some_and(|last| key.ties(last));
        while first.len() > self.portion.limit && first.last_key_value().is_some_and(|(key, _)| !is_wanted(*key)) {
            first.pop_last();
        }
    }

    /// Entries of a group that may be among the first.
    async fn look_at(self: Arc<Self>, group: PageGroup, wanted: Wanted, so_far: Top, memory: OperatorMemory) -> Result<Vec<Found>> {
        memory.take_patiently(self.source.bytes(&group, wanted)).await?;
        let fetched = self.source.fetch(&group, wanted).await?;
        let pages = self.source.open(&group, fetched.as_ref(), wanted);
        self.look_at_group(pages, so_far)
    }

    /// Whether lines and metadata have to be read to know which entries are wanted. Who passes over damage needs to know of it before a
    /// row is among the first.
    fn reads_entries(&self) -> bool {
        !self.search.is_empty() || self.stages.is_some() || self.source.selection.tolerance().is_partial()
    }

    /// About `count` groups of the pages, in the order of parts and pages.
    fn groups(&self, mut pages: Vec<SelectedPage>, wanted: Wanted, count: usize) -> Vec<PageGroup> {
        pages.sort_by_key(|page| (page.part, page.page));
        let share = pages.iter().map(|page| page.bytes).sum::<u64>() / count as u64;
        groups(&self.source.selection, pages, wanted, share.max(1))
    }

    /// New entries of a group that are among the first so far.
    fn look_at_group<'p>(&self, pages: impl Iterator<Item = Result<OpenPage<'p>>>, so_far: Top) -> Result<Vec<Found>> {
        let mut top = so_far;
        let mut found = Vec::new();
        let pipeline = self.stages.as_ref();
        let mut pipelines = pipeline.map(|stages| StreamPipelines::new(&stages.pipeline, &stages.selection, &self.counters));
        for page in pages {
            let page = page?;
            if top.admits(self.portion.order.first_of(page.selected())) {
                found.extend(self.look_at_page(&page, pipelines.as_mut(), &mut top)?);
            }
        }
        // Some were pushed out by later ones since.
        found.retain(|(key, _)| top.admits(key.0));
        self.counters.add_kept(found.len() as u64);
        Ok(found)
    }

    fn look_at_page(&self, page: &OpenPage<'_>, pipelines: Option<&mut StreamPipelines<'_>>, top: &mut Top) -> Result<Vec<Found>> {
        let runs = self.admitted(page, wanted_rows(page, &self.search, &self.counters)?, top)?;
        let mut keys = Vec::new();
        let mut add = |stamp, stream, arrival| {
            let key = self.portion.order.key(stamp, stream, arrival);
            if self.portion.reaches(key) && top.admits(key.0) {
                top.add(key);
                keys.push(key);
            }
        };
        match pipelines {
            Some(pipelines) => self.filter(page, &runs, pipelines, &mut add)?,
            None => self.add_rows(page, &runs, &mut add)?,
        }
        keys.retain(|key| top.admits(key.0));
        if !self.reads_entries() || keys.is_empty() {
            return Ok(keys.into_iter().map(|key| (key, None)).collect());
        }
        let (lines, metadata) = (page.lines()?, page.metadata()?);
        let entry = |key: Key| {
            let row = page.row_of(self.portion.order.place(key).2);
            (key, Some(Entry::of(lines.line(row).to_vec(), metadata.row(row))))
        };
        Ok(keys.into_iter().map(entry).collect())
    }

    /// The rows of runs that are not too late in the order.
    fn admitted(&self, page: &OpenPage<'_>, runs: Vec<Run>, top: &Top) -> Result<Vec<Run>> {
        let Some(last) = top.last() else { return Ok(runs) };
        let (stamp, ..) = self.portion.order.place(last);
        let column = page.stamps()?;
        let cut = |run: Run| {
            let stamps = &column[run.rows.clone()];
            let rows = match self.portion.order.0 {
                Direction::Forward => run.rows.start..run.rows.start + stamps.partition_point(|other| *other <= stamp),
                Direction::Backward => run.rows.start + stamps.partition_point(|other| *other < stamp)..run.rows.end,
            };
            (!rows.is_empty()).then_some(Run { rows, ..run })
        };
        Ok(runs.into_iter().filter_map(cut).collect())
    }

    /// Adds the first rows of each run: no more than the limit can be wanted, and those that tie with the last.
    fn add_rows(&self, page: &OpenPage<'_>, runs: &[Run], add: &mut impl FnMut(i64, u32, u64)) -> Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let stamps = page.stamps()?;
        for run in runs {
            let rows: &mut dyn Iterator<Item = usize> = match self.portion.order.0 {
                Direction::Forward => &mut run.rows.clone(),
                Direction::Backward => &mut run.rows.clone().rev(),
            };
            let key = |row: usize| self.portion.order.key(stamps[row], run.stream, page.arrival(row));
            let mut last = None;
            for (count, row) in rows.skip_while(|row| !self.portion.reaches(key(*row))).enumerate() {
                let goes_on = self.portion.ends_whole && last.is_some_and(|last: Key| last.ties(key(row)));
                if count >= self.portion.limit && !goes_on {
                    break;
                }
                last = Some(key(row));
                add(stamps[row], run.stream, page.arrival(row));
            }
        }
        Ok(())
    }

    /// Adds the rows that pass the stages.
    fn filter(
        &self,
        page: &OpenPage<'_>,
        runs: &[Run],
        pipelines: &mut StreamPipelines<'_>,
        add: &mut impl FnMut(i64, u32, u64),
    ) -> Result<()> {
        for rows in rows::batches(&self.schema, page, runs)? {
            let stamps: &TimestampNanosecondArray = batch::column(&rows, batch::TIMESTAMP)?;
            let arrivals: &UInt64Array = batch::column(&rows, batch::ARRIVAL)?;
            pipelines.run(&rows, |row, stream, _| {
                add(stamps.value(row), stream, arrivals.value(row));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The lines and metadata of entries.
    async fn read(self: &Arc<Self>, keys: impl Iterator<Item = Key>, memory: &Arc<OperatorMemory>) -> Result<Vec<(Key, Entry)>> {
        let mut rows_of: BTreeMap<(usize, usize), Vec<(usize, Key)>> = BTreeMap::new();
        for key in keys {
            let (.., arrival) = self.portion.order.place(key);
            let (part, row) = ((arrival >> 32) as usize, (arrival & u64::from(u32::MAX)) as usize);
            let table = self.source.selection.part(part).pages();
            let page = table.holding(&(row..row + 1)).start;
            rows_of.entry((part, page)).or_default().push((row - table.rows(page).start, key));
        }
        rows_of.values_mut().for_each(|rows| rows.sort_unstable());
        let holds_entry = |page: &&SelectedPage| rows_of.contains_key(&(page.part, page.page));
        let read: Vec<SelectedPage> = self.pages.iter().filter(holds_entry).cloned().collect();
        let wanted = Wanted { lines: true, metadata: true, ..Wanted::default() };
        let rows_of = Arc::new(rows_of);
        let entries = each_group(self.groups(read, wanted, self.at_once), self.at_once, |group| {
            let (leaf, rows_of, memory) = (self.clone(), rows_of.clone(), memory.clone());
            async move {
                let of_group = memory.another();
                of_group.take_patiently(leaf.source.bytes(&group, wanted)).await?;
                let fetched = leaf.source.fetch(&group, wanted).await?;
                let Some(fetched) = fetched else { return Ok(Vec::new()) };
                let entries = leaf.read_group(&group, &fetched, &rows_of)?;
                memory.try_grow(entries.iter().map(|(_, entry)| entry.bytes()).sum())?;
                Ok(entries)
            }
        })
        .await?;
        Ok(entries.into_iter().flatten().collect())
    }

    fn read_group(
        &self,
        group: &PageGroup,
        pages: &Pages,
        rows_of: &BTreeMap<(usize, usize), Vec<(usize, Key)>>,
    ) -> Result<Vec<(Key, Entry)>> {
        let part = self.source.selection.part(group.part);
        let mut entries = Vec::new();
        for selected in &group.pages {
            let Some(rows) = rows_of.get(&(selected.part, selected.page)) else { continue };
            let places: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
            let lines = pages.lines_of(selected.page, &places).map_err(|error| file_error(part, error))?;
            let metadata = pages.metadata_of(selected.page, &places).map_err(|error| file_error(part, error))?;
            for ((line, (_, key)), metadata) in lines.into_iter().zip(rows).zip(metadata) {
                let entry = Entry::of(line, &metadata);
                self.counters.add_scanned(0, entry.line.len() as u64);
                entries.push((*key, entry));
            }
        }
        Ok(entries)
    }

    fn batch(&self, entries: &BTreeMap<Key, Entry>) -> Result<RecordBatch> {
        let places: Vec<(i64, u32, u64)> = entries.keys().map(|key| self.portion.order.place(*key)).collect();
        let lines = BinaryArray::from_iter_values(entries.values().map(|entry| &entry.line));
        let mut distinct = SeriesIndex::default();
        let metadata: Vec<u32> = entries.values().map(|entry| distinct.number(&entry.metadata).0).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(places.iter().map(|place| place.1))),
            Arc::new(TimestampNanosecondArray::from_iter_values(places.iter().map(|place| place.0))),
            Arc::new(UInt64Array::from_iter_values(places.iter().map(|place| place.2))),
            Arc::new(lines),
            distinct.column(&metadata)?,
        ];
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// What is shown of an entry, besides its place.
#[derive(Debug, Clone)]
struct Entry {
    line: Vec<u8>,
    metadata: Vec<u8>,
}

/// An entry that may be among the first; with its line where that was read.
type Found = (Key, Option<Entry>);

impl Entry {
    fn of(line: Vec<u8>, metadata: &Pairs) -> Self {
        Self { line, metadata: metadata.as_bytes().to_vec() }
    }

    fn bytes(&self) -> usize {
        self.line.len() + self.metadata.len()
    }
}

impl fmt::Display for TopEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = if self.portion.order.0 == Direction::Backward { "newest" } else { "oldest" };
        write!(f, "{which} {}, {}", self.portion.limit, pages_text(&self.source.selection, self.pages.len()))?;
        match self.search.searched() {
            Some(searched) => write!(f, ", search={searched}"),
            None => Ok(()),
        }
    }
}

impl Leaf for TopEntries {
    const NAME: &'static str = "TopEntriesExec";

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> usize {
        1
    }

    fn run(self: Arc<Self>, _partition: usize, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let memory = Arc::new(memory);
            let found = self.find(&memory).await?;
            let unread: Vec<Key> = found.iter().filter(|(_, entry)| entry.is_none()).map(|(key, _)| *key).collect();
            let mut entries: BTreeMap<Key, Entry> = found.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect();
            entries.extend(self.read(unread.into_iter(), &memory).await?);
            let batch = self.batch(&entries);
            Ok(stream::iter([(batch, memory)]).map(|(batch, _)| batch).boxed())
        })
    }
}
