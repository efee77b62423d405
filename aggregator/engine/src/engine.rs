//! The engine's face: one method for each kind of question.
//!
//! Queries run on threads of their own, so that a heavy one delays no push; their memory comes from one pool.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use datafusion_common::DataFusionError;
use datafusion_execution::TaskContext;
use datafusion_execution::memory_pool::{FairSpillPool, MemoryConsumer};
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_physical_plan::{ExecutionPlan, collect};
use tailwater_logql::ast::{MetricExpr, Selector};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::pipeline::PipelineOptions;
use tailwater_storage::catalog::Catalog;
use tokio::runtime::{Handle, Runtime};

use crate::answer::{IndexStatistics, LogAnswer, MetricAnswer, MetricValue, Point, Series};
use crate::error::QueryError;
use crate::gather;
use crate::listing;
use crate::operators::grid::StepGrid;
use crate::plan::selection::Selection;
use crate::plan::ties::TieOrder;
use crate::plan::{Planner, constant};
use crate::request::{LogRequest, MetricRequest, QueryLimits, TimeRange, VolumeRequest};
use crate::scan::PageSource;
use crate::scope::Scope;
use crate::statistics::Counters;
use crate::strict_order;
use crate::volume;

/// How an engine works. It changes no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Bytes that all queries together may hold.
    pub memory_bytes: usize,
    /// Ask text indexes which pages to read.
    pub text_index: bool,
}

impl EngineOptions {
    /// The usual ways, within so much memory.
    pub fn new(memory_bytes: usize) -> Self {
        Self { memory_bytes, text_index: true }
    }
}

/// Answers questions about what a catalog shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    catalog: Arc<Catalog>,
    options: EngineOptions,
    context: Arc<TaskContext>,
    threads: Arc<QueryThreads>,
}

/// The threads that queries run on.
#[derive(Debug)]
struct QueryThreads {
    runtime: Option<Runtime>,
    count: usize,
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        // Not waited for: it may be dropped on an async thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// `memory_bytes`: what all queries together may hold. Fails if threads cannot be started.
    pub fn new(catalog: Arc<Catalog>, memory_bytes: usize) -> Result<Self, QueryError> {
        Self::with_options(catalog, EngineOptions::new(memory_bytes))
    }

    /// See [`Self::new`].
    pub fn with_options(catalog: Arc<Catalog>, options: EngineOptions) -> Result<Self, QueryError> {
        let pool = Arc::new(FairSpillPool::new(options.memory_bytes));
        let environment = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
        let context = TaskContext::default().with_runtime(environment);
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(count).thread_name("query").enable_all().build();
        let runtime = runtime.map_err(|error| QueryError::Evaluation(format!("cannot start threads for queries: {error}")))?;
        Ok(Self { catalog, options, context: Arc::new(context), threads: Arc::new(QueryThreads { runtime: Some(runtime), count }) })
    }

    /// Entries of a log query.
    pub async fn logs(&self, scope: impl Into<Scope>, request: LogRequest, limits: &QueryLimits) -> Result<LogAnswer, QueryError> {
        let (engine, scope, options) = (self.clone(), scope.into(), options(limits));
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let started = Instant::now();
            let planned = engine.planner(&scope, options, &counters).logs(&request).await?;
            let batches = engine.execute(planned.plan).await?;
            let mut streams = gather::log_streams(&batches, &request)?;
            if options.strict_loki {
                streams.iter_mut().for_each(|stream| strict_order::reorder(&mut stream.entries, request.direction));
            }
            let returned = streams.iter().map(|stream| stream.entries.len() as u64).sum();
            Ok(LogAnswer { streams, statistics: counters.statistics(planned.parts, started.elapsed().as_secs_f64(), returned) })
        })
        .await
    }

    /// Series of a metric query.
    pub async fn metrics(&self, scope: impl Into<Scope>, request: MetricRequest, limits: &QueryLimits) -> Result<MetricAnswer, QueryError> {
        let (engine, scope, limits_of_query) = (self.clone(), scope.into(), limits.clone());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move { engine.evaluate(&scope, &request, &limits_of_query, &counters).await }).await
    }

    async fn evaluate(
        &self,
        scope: &Scope,
        request: &MetricRequest,
        limits: &QueryLimits,
        counters: &Arc<Counters>,
    ) -> Result<MetricAnswer, QueryError> {
        let started = Instant::now();
        let grid = StepGrid::new(request.start, request.end, request.step);
        if let Some(value) = constant_value(&request.expr, grid, request.start == request.end) {
            return Ok(MetricAnswer {
                value,
                warnings: Vec::new(),
                statistics: counters.statistics(0, started.elapsed().as_secs_f64(), 0),
            });
        }
        let planned = self.planner(scope, options(limits), counters).metric(&request.expr, grid, limits).await?;
        let batches = self.execute(planned.plan).await?;
        let mut series = gather::series(&batches, grid, planned.shape)?;
        let mut warnings = planned.warnings.take();
        if !planned.limits_its_series && series.len() > limits.max_series {
            if !limits.partial_series {
                return Err(QueryError::TooManySeries { limit: limits.max_series });
            }
            series.truncate(limits.max_series);
            warnings
                .push(format!("maximum number of series ({}) reached for a single query; returning partial results", limits.max_series));
        }
        let statistics = counters.statistics(planned.parts, started.elapsed().as_secs_f64(), series.len() as u64);
        Ok(MetricAnswer { value: MetricValue::Series(series), warnings, statistics })
    }

    /// Names of stream labels, sorted.
    pub async fn label_names(
        &self,
        scope: impl Into<Scope>,
        selector: Option<&Selector>,
        range: TimeRange,
    ) -> Result<Vec<String>, QueryError> {
        listing::label_names(&self.catalog, &scope.into(), selector, range).await
    }

    /// Values of a stream label, sorted.
    pub async fn label_values(
        &self,
        scope: impl Into<Scope>,
        name: &str,
        selector: Option<&Selector>,
        range: TimeRange,
    ) -> Result<Vec<String>, QueryError> {
        listing::label_values(&self.catalog, &scope.into(), name, selector, range).await
    }

    /// Label sets of the streams that match any of the selectors; of all streams if there is none.
    pub async fn series(&self, scope: impl Into<Scope>, selectors: &[Selector], range: TimeRange) -> Result<Vec<LabelSet>, QueryError> {
        listing::series(&self.catalog, &scope.into(), selectors, range).await
    }

    /// How much there is to read: streams, chunks (parts), bytes and entries, each entry counted once.
    pub async fn index_stats(&self, scope: impl Into<Scope>, selector: &Selector, range: TimeRange) -> Result<IndexStatistics, QueryError> {
        listing::index_stats(&self.catalog, &scope.into(), selector, range).await
    }

    /// Bytes of lines by groups of streams, those of most bytes first.
    pub async fn volume(&self, scope: impl Into<Scope>, request: VolumeRequest, limits: &QueryLimits) -> Result<MetricAnswer, QueryError> {
        let (engine, scope) = (self.clone(), scope.into());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let started = Instant::now();
            let range = TimeRange { start: request.start, end: request.end };
            let selection = Selection::new(&engine.catalog, &scope, &request.selector, range, TieOrder::LabelText).await?;
            let source = PageSource { catalog: engine.catalog.clone(), selection: Arc::new(selection) };
            let memory = MemoryConsumer::new("volume").register(engine.context.memory_pool());
            let series = volume::volume(&source, &request, &memory).await?;
            let statistics = counters.statistics(source.selection.parts(), started.elapsed().as_secs_f64(), series.len() as u64);
            Ok(MetricAnswer { value: MetricValue::Series(series), warnings: Vec::new(), statistics })
        })
        .await
    }

    /// The plan of a metric or log query as text; for tests and people.
    pub async fn explain_metric(
        &self,
        scope: impl Into<Scope>,
        request: &MetricRequest,
        limits: &QueryLimits,
    ) -> Result<String, QueryError> {
        let counters = Arc::new(Counters::default());
        let grid = StepGrid::new(request.start, request.end, request.step);
        let planned = self.planner(&scope.into(), options(limits), &counters).metric(&request.expr, grid, limits).await?;
        Ok(explain(planned.plan.as_ref()))
    }

    /// See [`Self::explain_metric`].
    pub async fn explain_logs(&self, scope: impl Into<Scope>, request: &LogRequest, limits: &QueryLimits) -> Result<String, QueryError> {
        let counters = Arc::new(Counters::default());
        let planned = self.planner(&scope.into(), options(limits), &counters).logs(request).await?;
        Ok(explain(planned.plan.as_ref()))
    }

    fn planner<'a>(&'a self, scope: &'a Scope, options: PipelineOptions, counters: &Arc<Counters>) -> Planner<'a> {
        Planner {
            catalog: &self.catalog,
            scope,
            options,
            now: now(),
            partitions: self.threads.count,
            text_index: self.options.text_index,
            counters: counters.clone(),
        }
    }

    async fn execute(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<arrow::array::RecordBatch>, QueryError> {
        collect(plan, self.context.clone()).await.map_err(unwrapped)
    }

    /// Runs a query on the query threads, until its deadline. The time is kept by the caller's thread: those of queries may all be busy.
    async fn within<T: Send + 'static>(
        &self,
        limits: &QueryLimits,
        counters: Arc<Counters>,
        query: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let runtime: &Handle = self.threads.runtime.as_ref().expect("threads run until the engine is dropped").handle();
        let mut running = EndOnDrop { task: runtime.spawn(query), counters };
        match tokio::time::timeout(limits.timeout, &mut running.task).await {
            Ok(Ok(outcome)) => outcome,
            Err(_) => Err(QueryError::Timeout),
            Ok(Err(error)) => Err(QueryError::Evaluation(format!("the query's task ended early: {error}"))),
        }
    }
}

/// A query ends with its time, and when its client goes away: tasks at their next pause, loops over rows at the next row.
struct EndOnDrop<T> {
    task: tokio::task::JoinHandle<T>,
    counters: Arc<Counters>,
}

impl<T> Drop for EndOnDrop<T> {
    fn drop(&mut self) {
        self.counters.end();
        self.task.abort();
    }
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

fn options(limits: &QueryLimits) -> PipelineOptions {
    PipelineOptions { strict_loki: limits.strict_loki }
}

fn explain(plan: &dyn ExecutionPlan) -> String {
    datafusion_physical_plan::displayable(plan).indent(false).to_string()
}

/// Finds our own error within DataFusion's wrappings.
fn unwrapped(error: DataFusionError) -> QueryError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(ours) => *ours,
            Err(inner) => match inner.downcast::<tailwater_storage::error::ReadError>() {
                Ok(read) => QueryError::Storage(*read),
                Err(inner) => QueryError::Evaluation(inner.to_string()),
            },
        },
        DataFusionError::Context(_, inner) => unwrapped(*inner),
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(inner) => unwrapped(inner),
            Err(shared) => QueryError::Evaluation(shared.to_string()),
        },
        other => QueryError::Engine(other),
    }
}

fn constant_value(expr: &MetricExpr, grid: StepGrid, is_instant: bool) -> Option<MetricValue> {
    let value = constant(expr)?;
    if is_instant {
        return Some(MetricValue::Scalar(value));
    }
    let points = (0..grid.count).map(|step| Point { timestamp: grid.time(step), value }).collect();
    Some(MetricValue::Series(vec![Series { labels: LabelSet::default(), points }]))
}
