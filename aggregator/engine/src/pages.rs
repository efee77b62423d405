//! Pages of a log query: a portion of its entries, and where the next one begins.
//!
//! Each page looks at what is visible at its time. It ends behind all entries of a stream and stamp, so that what changes the order
//! within these, a fold or a late push, moves no entry from one page to another.

use std::sync::Arc;
use std::time::Instant;

use crate::answer::{ListedEntry, LogAnswer, LogPage};
use crate::engine::{Engine, Gathered};
use crate::error::QueryError;
use crate::gather;
use crate::plan::Planner;
use crate::plan::selection::SharedSelection;
use crate::request::{PageRequest, QueryLimits};
use crate::scope::Scope;
use crate::statistics::Counters;

impl Engine {
    /// A page of the entries of a log query.
    pub async fn page(&self, scope: impl Into<Scope>, request: PageRequest, limits: &QueryLimits) -> Result<LogPage, QueryError> {
        let (engine, scope, limits_of_query) = (self.clone(), scope.into(), limits.clone());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let started = Instant::now();
            let planner = engine.planner(&scope, &limits_of_query, &counters);
            let mut restarts = engine.restarts(&scope);
            let (parts, selection, gathered) = loop {
                let read = engine.read_page(&planner, &request).await;
                if let Some(settled) = restarts.settled(read).await {
                    break settled?;
                }
            };
            let found = gather::entries(&gathered.batches)?;
            let last = found.last().filter(|_| found.len() >= request.log.limit).map(|last| last.place);
            let next = last.map(|(timestamp, stream, _)| selection.streams()[stream as usize].page_end(timestamp));
            let statistics = counters.statistics(parts, started.elapsed().as_secs_f64(), found.len() as u64);
            let entries: Vec<ListedEntry> = found.into_iter().map(|placed| placed.listed).collect();
            Ok(LogPage { entries, next, warnings: scope.tolerance().warnings(), statistics, _memory: gathered.memory })
        })
        .await
    }

    /// How many parts it is of, the selection that the streams of its rows stand in, and the rows.
    async fn read_page(&self, planner: &Planner<'_>, request: &PageRequest) -> Result<(usize, SharedSelection, Gathered), QueryError> {
        let (planned, selection) = planner.page(request).await?;
        Ok((planned.parts, selection, self.execute(planned.plan).await?))
    }
}

impl LogPage {
    /// Its entries by the streams that they are shown in.
    pub fn answer(&self) -> LogAnswer {
        LogAnswer { streams: gather::in_streams(&self.entries), warnings: self.warnings.clone(), statistics: self.statistics }
    }
}
