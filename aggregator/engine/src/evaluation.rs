//! Metric queries: planned and run whole, or by pieces where results are kept.
//!
//! One snapshot is pinned for the whole query, so that all its leaves and pieces are of one moment.

use std::ops::Range;
use std::sync::Arc;

use tailwater_logql::ast::MetricExpr;

use crate::answer::{MetricAnswer, MetricValue};
use crate::engine::{Engine, Gathered};
use crate::error::QueryError;
use crate::gather::{SeriesGatherer, SeriesShape};
use crate::operators::grid::StepGrid;
use crate::plan::leaves::Leaves;
use crate::plan::metrics::PlannedMetric;
use crate::plan::{Planner, constant_answer};
use crate::request::{MetricRequest, QueryLimits};
use crate::results::{Division, Leaf, PieceKey, PieceResults, Question, ResultCache, Stretch, cut};
use crate::scope::Scope;
use crate::statistics::Counters;

/// What was computed of a query, and what was known.
#[derive(Default)]
struct Evaluated {
    computed: Vec<Computed>,
    /// With the first step of each.
    known: Vec<(u32, Arc<PieceResults>)>,
}

/// The points of neighbouring steps.
struct Computed {
    /// The first step.
    first: u32,
    gathered: Gathered,
    planned: PlannedMetric,
}

impl Evaluated {
    /// Series stay in the order of rows only where one plan made them all; labels are shown alike in all parts.
    fn shape(&self) -> SeriesShape {
        match (self.computed.as_slice(), self.known.first()) {
            ([all], None) => all.planned.shape,
            ([first, ..], _) => SeriesShape { is_ordered: false, ..first.planned.shape },
            ([], known) => SeriesShape { hides_empty_labels: known.is_some_and(|(_, piece)| piece.hides_empty_labels), is_ordered: false },
        }
    }
}

impl Engine {
    /// The answer of a metric query.
    pub(crate) async fn evaluate(
        &self,
        scope: &Scope,
        request: &MetricRequest,
        limits: &QueryLimits,
        counters: &Arc<Counters>,
    ) -> Result<MetricAnswer, QueryError> {
        let started = std::time::Instant::now();
        let grid = StepGrid::new(request.start, request.end, request.step);
        if let Some(value) = constant_answer(&request.expr, grid, request.start == request.end) {
            let statistics = counters.statistics(0, started.elapsed().as_secs_f64(), 0);
            return Ok(MetricAnswer { value, warnings: Vec::new(), statistics });
        }
        let planner = self.planner(scope, limits, counters);
        let query =
            Query { engine: self, planner, request, grid, limits, leaves: Leaves::pin(self.catalog(), scope, request, grid).await? };
        let evaluated = query.run().await?;
        let parts = evaluated.computed.iter().map(|run| run.planned.parts).sum();
        let (series, warnings) = query.gather(evaluated)?;
        let returned = match &series {
            MetricValue::Series(series) => series.len() as u64,
            MetricValue::Scalar(_) => 0,
        };
        Ok(MetricAnswer { value: series, warnings, statistics: counters.statistics(parts, started.elapsed().as_secs_f64(), returned) })
    }
}

struct Query<'q> {
    engine: &'q Engine,
    planner: Planner<'q>,
    request: &'q MetricRequest,
    grid: StepGrid,
    limits: &'q QueryLimits,
    leaves: Leaves,
}

impl Query<'_> {
    async fn run(&self) -> Result<Evaluated, QueryError> {
        // An answer without what is damaged is nothing to keep.
        let is_whole = !self.planner.scope.tolerance().is_partial();
        let cache = self.engine.results().filter(|_| is_whole && is_divisible(&self.request.expr));
        match (cache, Division::new(self.grid)) {
            (Some(cache), Some(division)) => self.run_by_pieces(cache, &division).await,
            _ => Ok(Evaluated { computed: vec![self.compute(self.grid, 0).await?], known: Vec::new() }),
        }
    }

    async fn compute(&self, grid: StepGrid, first: u32) -> Result<Computed, QueryError> {
        let planned = self.planner.metric(&self.request.expr, grid, self.limits, &self.leaves).await?;
        let gathered = self.engine.execute(planned.plan.clone()).await?;
        Ok(Computed { first, gathered, planned })
    }

    async fn run_by_pieces(&self, cache: &ResultCache, division: &Division) -> Result<Evaluated, QueryError> {
        let leaves = Leaf::all(&self.request.expr);
        let question = Question {
            scope: self.planner.scope,
            expr: &self.request.expr,
            options: self.planner.options,
            leaves: &leaves,
            pinned: self.leaves.pinned(),
        };
        let keys = question.keys(division)?;
        let known: Vec<Option<Arc<PieceResults>>> = keys.iter().map(|key| cache.get(key.as_ref()?)).collect();
        let is_known: Vec<bool> = known.iter().map(Option::is_some).collect();
        let longest_window = leaves.iter().map(|leaf| leaf.window.range).max().unwrap_or(0);
        let runs = division.runs(&is_known, longest_window);
        let mut evaluated = Evaluated::default();
        for run in &runs {
            let stretches = &division.stretches()[run.clone()];
            let computed = self.compute(division.grid_of(stretches), stretches[0].first).await?;
            // Who is not waited for any more may have left rows out.
            self.planner.counters.check()?;
            keep(cache, &computed, stretches, &keys[run.clone()])?;
            evaluated.computed.push(computed);
        }
        let is_computed = |place: usize| runs.iter().any(|run: &Range<usize>| run.contains(&place));
        for (place, (stretch, piece)) in division.stretches().iter().zip(known).enumerate() {
            evaluated.known.extend(piece.filter(|_| !is_computed(place)).map(|piece| (stretch.first, piece)));
        }
        Ok(evaluated)
    }

    /// The series of all steps, within the limits.
    fn gather(&self, evaluated: Evaluated) -> Result<(MetricValue, Vec<String>), QueryError> {
        let mut gatherer = SeriesGatherer::default();
        for run in &evaluated.computed {
            run.gathered.batches.iter().try_for_each(|batch| gatherer.add_batch(batch, run.first))?;
        }
        for (first, piece) in &evaluated.known {
            piece.points_from(*first).for_each(|(labels, step, value)| gatherer.add(labels, step, value));
        }
        let mut series = gatherer.into_series(self.grid, evaluated.shape());
        let mut warnings: Vec<String> = evaluated.computed.iter().flat_map(|run| run.planned.warnings.take()).collect();
        warnings.extend(self.planner.scope.tolerance().warnings());
        let QueryLimits { max_series, partial_series, .. } = *self.limits;
        let is_limited = evaluated.computed.iter().any(|run| run.planned.limits_its_series);
        if !is_limited && series.len() > max_series {
            if !partial_series {
                return Err(QueryError::TooManySeries { limit: max_series });
            }
            series.truncate(max_series);
            warnings.push(format!("maximum number of series ({max_series}) reached for a single query; returning partial results"));
        }
        Ok((MetricValue::Series(series), warnings))
    }
}

/// Whether the points of a step follow from what is stored alone. Variants have limits of their own within the plan; templates may ask for the
/// time of day.
fn is_divisible(expr: &MetricExpr) -> bool {
    let is_timeless = |leaf: &Leaf| leaf.is_timeless;
    !matches!(expr, MetricExpr::Variants { .. }) && Leaf::all(expr).iter().all(is_timeless)
}

/// Keeps the pieces of a run.
fn keep(cache: &ResultCache, run: &Computed, stretches: &[Stretch], keys: &[Option<PieceKey>]) -> Result<(), QueryError> {
    let pieces =
        stretches.iter().zip(keys).filter_map(|(stretch, key)| Some((Stretch { first: stretch.first - run.first, ..*stretch }, (*key)?)));
    let (pieces, keys): (Vec<Stretch>, Vec<PieceKey>) = pieces.unzip();
    if pieces.is_empty() {
        return Ok(());
    }
    for (key, results) in keys.into_iter().zip(cut(&run.gathered.batches, &pieces, run.planned.shape.hides_empty_labels)?) {
        cache.keep(key, results);
    }
    Ok(())
}
