//! Fetches groups of pages one after the other, each while the one before it is looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion_common::{DataFusionError, Result};
use tailwater_storage::catalog::Catalog;
use tailwater_storage::error::ReadError;
use tailwater_storage::file::columns::Wanted;
use tailwater_storage::file::pages::Pages;
use tokio::task::JoinSet;

use crate::plan::selection::SharedSelection;
use crate::scan::pages::PageGroup;

/// Where pages come from: what every leaf needs to read them.
#[derive(Debug, Clone)]
pub(crate) struct PageSource {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) selection: SharedSelection,
}

impl PageSource {
    /// Fetches the pages of a group; lines too where some were deleted by line.
    pub(crate) async fn fetch(&self, group: &PageGroup, wanted: Wanted) -> Result<Pages> {
        let is_erased = group.pages.iter().any(|page| page.is_erased_by_line(&self.selection));
        let wanted = Wanted { lines: wanted.lines || is_erased, timestamps: wanted.timestamps || is_erased, ..wanted };
        let fetched = self.catalog.fetch(self.selection.part(group.part), group.numbers(), wanted).await;
        fetched.map_err(|error: ReadError| DataFusionError::External(Box::new(error)))
    }

    /// Fetches groups in their order, one ahead.
    pub(crate) fn ahead(&self, groups: Vec<PageGroup>, wanted: Wanted) -> FetchAhead {
        FetchAhead { source: self.clone(), wanted, groups: groups.into(), coming: JoinSet::new() }
    }
}

/// Groups on their way. At most two are in memory: the one handed out and the next. Dropping it ends the fetch under way.
pub(crate) struct FetchAhead {
    source: PageSource,
    wanted: Wanted,
    groups: VecDeque<PageGroup>,
    coming: JoinSet<Result<(PageGroup, Pages)>>,
}

impl FetchAhead {
    /// The next group and its pages; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<(PageGroup, Pages)>> {
        if self.coming.is_empty() {
            self.start_next();
        }
        let fetched = self.coming.join_next().await?;
        self.start_next();
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
