//! Fetches groups of pages one after the other, each while the one before it is looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion_common::{DataFusionError, Result};
use tailwater_storage::catalog::Catalog;
use tailwater_storage::file::columns::Wanted;
use tailwater_storage::file::pages::Pages;
use tokio::task::JoinSet;

use crate::memory::OperatorMemory;
use crate::plan::selection::SharedSelection;
use crate::scan::open_page::{OpenPage, read_error};
use crate::scan::pages::{PageGroup, SelectedPage, fetched_bytes};

/// Where pages come from: what every leaf needs to read them.
#[derive(Debug, Clone)]
pub(crate) struct PageSource {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) selection: SharedSelection,
}

impl PageSource {
    /// Fetches the pages of a group, and of them also what tells which rows may be seen. `None`: the reader passes over them.
    pub(crate) async fn fetch(&self, group: &PageGroup, wanted: Wanted) -> Result<Option<Pages>> {
        let (part, needed) = (self.selection.part(group.part), self.needed(&group.pages, wanted));
        let fetched = self.catalog.fetch_by(self.selection.reads(), part, group.numbers(), needed).await;
        self.selection.tolerance().pass_over(fetched).map_err(read_error)
    }

    /// The pages of a group, without those that the reader passes over: these are looked at whole before any row of them counts.
    pub(crate) fn open<'a>(
        &'a self,
        group: &'a PageGroup,
        fetched: Option<&'a Pages>,
        wanted: Wanted,
    ) -> impl Iterator<Item = Result<OpenPage<'a>>> {
        let pages = fetched.into_iter().flat_map(|pages| group.pages.iter().map(move |selected| (selected, pages)));
        pages.filter_map(move |(selected, pages)| {
            let page = OpenPage::new(&self.selection, selected, pages);
            let tolerance = self.selection.tolerance();
            if !tolerance.is_partial() {
                return Some(Ok(page));
            }
            let is_intact = tolerance.pass_over(page.check(self.needed(std::slice::from_ref(selected), wanted)));
            is_intact.map_err(read_error).transpose().map(|outcome| outcome.map(|()| page))
        })
    }

    /// Lines too where some were deleted by line, and metadata where a namespace had incarnations.
    fn needed(&self, pages: &[SelectedPage], wanted: Wanted) -> Wanted {
        let is_erased = pages.iter().any(|page| page.is_erased_by_line(&self.selection));
        let is_mixed = pages.iter().any(SelectedPage::is_mixed);
        Wanted {
            lines: wanted.lines || is_erased,
            timestamps: wanted.timestamps || is_erased || is_mixed,
            metadata: wanted.metadata || is_mixed,
            ..wanted
        }
    }

    /// Bytes that a group takes while it is looked at: what is fetched, and a page of it decoded.
    pub(crate) fn bytes(&self, group: &PageGroup, wanted: Wanted) -> usize {
        let wanted = self.needed(&group.pages, wanted);
        let fetched: u64 = group.pages.iter().map(|page| fetched_bytes(self.selection.part(group.part), page.page, wanted)).sum();
        let longest = group.pages.iter().map(|page| page.bytes).max().unwrap_or(0);
        usize::try_from(fetched + COPIES_OF_A_PAGE * longest).unwrap_or(usize::MAX)
    }

    /// Fetches groups in their order, one ahead where memory allows it.
    pub(crate) fn ahead(&self, groups: Vec<PageGroup>, wanted: Wanted, memory: OperatorMemory) -> FetchAhead {
        FetchAhead { source: self.clone(), wanted, groups: groups.into(), coming: JoinSet::new(), in_use: memory.another(), memory }
    }
}

/// The text of a page as it is decoded, and as it is in batches on their way.
const COPIES_OF_A_PAGE: u64 = 3;

/// Groups on their way. At most two are in memory: the one handed out and the next. Dropping it ends the fetch under way.
pub(crate) struct FetchAhead {
    source: PageSource,
    wanted: Wanted,
    groups: VecDeque<PageGroup>,
    coming: JoinSet<Result<(PageGroup, Option<Pages>)>>,
    /// What is coming.
    memory: OperatorMemory,
    /// What was handed out.
    in_use: OperatorMemory,
}

impl FetchAhead {
    /// The next group and its pages, if these are not passed over; `None` after the last. The one before must not be in use any more.
    pub(crate) async fn next(&mut self) -> Option<Result<(PageGroup, Option<Pages>)>> {
        self.in_use.free();
        if self.coming.is_empty() {
            let group = self.groups.front()?;
            if let Err(error) = self.memory.take_patiently(self.source.bytes(group, self.wanted)).await {
                return Some(Err(error));
            }
            self.start_next();
        }
        let fetched = self.coming.join_next().await?;
        self.in_use = std::mem::replace(&mut self.memory, self.in_use.another());
        // The one after it has time: without memory it is fetched when it is asked for.
        if let Some(group) = self.groups.front()
            && self.memory.try_grow(self.source.bytes(group, self.wanted)).is_ok()
        {
            self.start_next();
        }
        Some(fetched.unwrap_or_else(|error| Err(DataFusionError::External(Box::new(error)))))
    }

    fn start_next(&mut self) {
        let Some(group) = self.groups.pop_front() else { return };
        let (source, wanted) = (self.source.clone(), self.wanted);
        self.coming.spawn(async move {
            let pages = source.fetch(&group, wanted).await?;
            Ok((group, pages))
        });
    }
}

/// Does some work with each of some groups, a few at once; results in no certain order.
pub(crate) async fn each_group<T, F>(groups: Vec<PageGroup>, at_once: usize, work: impl Fn(PageGroup) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut results = Vec::with_capacity(groups.len());
    let mut groups = groups.into_iter();
    loop {
        while running.len() < at_once
            && let Some(group) = groups.next()
        {
            running.spawn(work(group));
        }
        let Some(done) = running.join_next().await else { return Ok(results) };
        results.push(done.unwrap_or_else(|error| Err(DataFusionError::External(Box::new(error))))?);
    }
}
