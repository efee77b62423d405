//! Entries with their neighbours: what stands before and after each in its stream.
//!
//! Found entries and neighbours come from one pinned selection over the range and its surroundings, so that places in it mean the same
//! throughout. Access, retention and deletes hold for neighbours as for all else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::answer::{ContextAnswer, LogAnswer, LogEntry, Neighbours};
use crate::engine::Engine;
use crate::error::QueryError;
use crate::gather::{self, PlacedEntry};
use crate::plan::Planner;
use crate::plan::selection::SharedSelection;
use crate::request::{ContextRequest, Direction, QueryLimits, TimeRange};
use crate::scan::order::{Order, Portion};
use crate::scope::Scope;
use crate::statistics::Counters;

/// Stamp, stream, arrival.
type Place = (i64, u32, u64);

impl Engine {
    /// Entries of a log query and the neighbours of each.
    pub async fn context(
        &self,
        scope: impl Into<Scope>,
        request: ContextRequest,
        limits: &QueryLimits,
    ) -> Result<ContextAnswer, QueryError> {
        let (engine, scope, limits_of_query) = (self.clone(), scope.into(), limits.clone());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let started = Instant::now();
            let planner = engine.planner(&scope, &limits_of_query, &counters);
            let mut restarts = engine.restarts(&scope);
            let (parts, found, neighbours) = loop {
                let read = engine.read_context(&planner, &request).await;
                if let Some(settled) = restarts.settled(read).await {
                    break settled?;
                }
            };
            let statistics = counters.statistics(parts, started.elapsed().as_secs_f64(), found.len() as u64);
            let streams = gather::in_streams(found.iter().map(|entry| &entry.listed));
            Ok(ContextAnswer { found: LogAnswer { streams, warnings: scope.tolerance().warnings(), statistics }, neighbours })
        })
        .await
    }

    /// How many parts it is of, the entries found, and the neighbours of each.
    async fn read_context(
        &self,
        planner: &Planner<'_>,
        request: &ContextRequest,
    ) -> Result<(usize, Vec<PlacedEntry>, Vec<Neighbours>), QueryError> {
        let log = &request.log;
        let last = log.end.saturating_sub(1);
        let around = TimeRange { start: log.start.saturating_sub(request.reach), end: last.saturating_add(request.reach) };
        let wide = planner.select(&log.expr.selector, around).await?;
        let selection = Arc::new(wide.clipped(log.start, last));
        let portion = Portion::first(log.direction, log.limit);
        let plan = planner.portion(&selection, &log.expr.stages, portion, log.categorize).await?;
        let gathered = self.execute(plan).await?;
        let found = gather::entries(&gathered.batches)?;
        let places: Vec<Place> = found.iter().map(|entry| entry.place).collect();
        let neighbours = Surroundings { engine: self, planner, request, wide: &wide }.of(&places).await?;
        Ok((wide.parts(), found, neighbours))
    }
}

/// Looks for neighbours in a selection.
struct Surroundings<'a> {
    engine: &'a Engine,
    planner: &'a Planner<'a>,
    request: &'a ContextRequest,
    wide: &'a SharedSelection,
}

impl Surroundings<'_> {
    /// The neighbours of each entry, in the order of the entries.
    async fn of(&self, places: &[Place]) -> Result<Vec<Neighbours>, QueryError> {
        let mut streams: BTreeMap<u32, SharedSelection> = BTreeMap::new();
        let mut all = Vec::with_capacity(places.len());
        for (timestamp, stream, arrival) in places {
            let own = streams.entry(*stream).or_insert_with(|| Arc::new(self.wide.of_stream(*stream)));
            all.extend(self.around(own, *timestamp, *arrival).await?);
        }
        Ok(all)
    }

    /// The neighbours of an entry of the only stream of a selection.
    async fn around(&self, stream: &SharedSelection, timestamp: i64, arrival: u64) -> Result<Option<Neighbours>, QueryError> {
        let from = Order(Direction::Forward).key(timestamp, 0, arrival);
        let forward = Portion { from: Some(from), ..Portion::first(Direction::Forward, self.request.after + 1) };
        let mut found = self.portion(stream, forward).await?.into_iter();
        let Some(PlacedEntry { listed, .. }) = found.next() else { return Ok(None) };
        let before = match self.request.before {
            0 => Vec::new(),
            wanted => {
                let from = Order(Direction::Backward).key(timestamp, 0, arrival).next();
                let backward = Portion { from: Some(from), ..Portion::first(Direction::Backward, wanted) };
                let mut before: Vec<LogEntry> = self.portion(stream, backward).await?.into_iter().map(|entry| entry.listed.entry).collect();
                before.reverse();
                before
            }
        };
        let after = found.map(|entry| entry.listed.entry).collect();
        Ok(Some(Neighbours { labels: listed.labels, before, entry: listed.entry, after }))
    }

    /// Entries as they are stored, in the order of the portion.
    async fn portion(&self, stream: &SharedSelection, portion: Portion) -> Result<Vec<PlacedEntry>, QueryError> {
        let plan = self.planner.portion(stream, &[], portion, true).await?;
        let gathered = self.engine.execute(plan).await?;
        Ok(gather::entries(&gathered.batches)?)
    }
}
