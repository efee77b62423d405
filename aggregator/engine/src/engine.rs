//! The engine's face: one method for each kind of question.
//!
//! Queries run on threads of their own, so that a heavy one delays no push; their memory comes from one pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use arrow::array::RecordBatch;
use datafusion_common::DataFusionError;
use datafusion_execution::TaskContext;
use datafusion_execution::memory_pool::MemoryConsumer;
use datafusion_physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_logql::pipeline::PipelineOptions;
use tailwater_storage::catalog::Catalog;
use tokio::runtime::{Handle, Runtime};

use crate::answer::{IndexStatistics, LogAnswer, LogStream, MetricAnswer, MetricValue, Series};
use crate::error::QueryError;
use crate::gather::{self, Pace};
use crate::listing;
use crate::loki_order;
use crate::memory::{self, OperatorMemory, SpillFolder, is_exhausted};
use crate::operators::grid::StepGrid;
use crate::plan::Planner;
use crate::plan::leaves::Leaves;
use crate::plan::selection::Selection;
use crate::request::{EqualStamps, LogRequest, MetricRequest, QueryLimits, TimeRange, VolumeRequest};
use crate::restart::{self, Restarts};
use crate::results::{ResultCache, ResultCounters};
use crate::scan::PageSource;
use crate::scope::Scope;
use crate::statistics::Counters;
use crate::volume;

/// At most so many entries are read for one that is asked for, where stages make them equal.
const MOST_REPEATED: usize = 64;

/// How an engine works. It changes no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Bytes that all queries together may hold.
    pub memory_bytes: usize,
    /// Ask text indexes which pages to read.
    pub text_index: bool,
    /// Bytes of results of metric queries that are kept; 0: none are.
    pub result_bytes: usize,
    /// Where queries go on that need more memory than there is; `None`: they end in an error.
    pub spill: Option<SpillFolder>,
}

impl EngineOptions {
    /// The usual ways, within so much memory; no results are kept, and nothing goes to disk.
    pub fn new(memory_bytes: usize) -> Self {
        Self { memory_bytes, text_index: true, result_bytes: 0, spill: None }
    }
}

/// Answers questions about what a catalog shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    catalog: Arc<Catalog>,
    options: EngineOptions,
    context: Arc<TaskContext>,
    threads: Arc<QueryThreads>,
    results: Option<Arc<ResultCache>>,
    restarts: Arc<AtomicU64>,
}

/// Address space of a query thread's stack. A chain of as many operators as the parser takes is planned and run one within the other, at some kilobytes
/// each; what is not used of it takes no memory.
const STACK_BYTES: usize = 64 << 20;

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
        let environment = memory::environment(options.memory_bytes, options.spill.as_ref())?;
        let context = TaskContext::default().with_runtime(environment);
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| QueryError::Evaluation(format!("cannot start threads for queries: {error}")))?;
        let threads = Arc::new(QueryThreads { runtime: Some(runtime), count });
        let results = (options.result_bytes > 0).then(|| Arc::new(ResultCache::new(options.result_bytes)));
        Ok(Self { catalog, options, context: Arc::new(context), threads, results, restarts: Arc::default() })
    }

    /// The same engine for a query that neither uses kept results nor has its own kept.
    pub fn uncached(&self) -> Self {
        Self { results: None, ..self.clone() }
    }

    /// What is counted of kept results.
    pub fn result_counters(&self) -> ResultCounters {
        self.results.as_ref().map_or_else(ResultCounters::default, |results| results.counters())
    }

    /// Bytes that running queries hold, and may hold.
    pub fn memory_bytes(&self) -> (usize, usize) {
        (self.context.memory_pool().reserved(), self.options.memory_bytes)
    }

    /// Bytes that running queries have on disk.
    pub fn spilled_bytes(&self) -> u64 {
        self.context.runtime_env().disk_manager.used_disk_space()
    }

    /// Times that a question was begun again, because an object of its plan had been replaced and deleted meanwhile.
    pub fn restarted(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts<'a>(&'a self, scope: &'a Scope) -> Restarts<'a> {
        Restarts::new(&self.catalog, scope, &self.restarts)
    }

    pub(crate) fn results(&self) -> Option<&ResultCache> {
        self.results.as_deref()
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Entries of a log query.
    pub async fn logs(&self, scope: impl Into<Scope>, request: LogRequest, limits: &QueryLimits) -> Result<LogAnswer, QueryError> {
        let (engine, scope, limits_of_query) = (self.clone(), scope.into(), limits.clone());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let started = Instant::now();
            let mut restarts = engine.restarts(&scope);
            let (parts, mut streams) = loop {
                let found = engine.log_streams(&scope, &request, &limits_of_query, &counters).await;
                if let Some(settled) = restarts.settled(found).await {
                    break settled?;
                }
            };
            if request.equal_stamps == EqualStamps::AsLoki {
                streams.iter_mut().for_each(|stream| loki_order::reorder(&mut stream.entries, request.direction));
            }
            let returned = streams.iter().map(|stream| stream.entries.len() as u64).sum();
            let warnings = scope.tolerance().warnings();
            Ok(LogAnswer { streams, warnings, statistics: counters.statistics(parts, started.elapsed().as_secs_f64(), returned) })
        })
        .await
    }

    /// The streams of a log query, and how many parts were read. Where stages make entries equal, which then are one, more are asked for.
    async fn log_streams(
        &self,
        scope: &Scope,
        request: &LogRequest,
        limits: &QueryLimits,
        counters: &Arc<Counters>,
    ) -> Result<(usize, Vec<LogStream>), QueryError> {
        let pace = if limits.strict_loki { Pace::Hourly } else { Pace::Throughout };
        let mut wanted = request.clone();
        loop {
            let planned = self.planner(scope, limits, counters).logs(&wanted).await?;
            let gathered = self.execute(planned.plan).await?;
            let rows: usize = gathered.batches.iter().map(RecordBatch::num_rows).sum();
            let found = gather::log_streams(&gathered.batches, request, pace)?;
            let is_all = found.repeated == 0 || found.taken == request.limit || rows < wanted.limit || request.interval > 0;
            if is_all || wanted.limit >= request.limit.saturating_mul(MOST_REPEATED) {
                return Ok((planned.parts, found.streams));
            }
            wanted.limit = wanted.limit.saturating_mul(4);
        }
    }

    /// Series of a metric query.
    pub async fn metrics(&self, scope: impl Into<Scope>, request: MetricRequest, limits: &QueryLimits) -> Result<MetricAnswer, QueryError> {
        let (engine, scope, limits_of_query) = (self.clone(), scope.into(), limits.clone());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let mut restarts = engine.restarts(&scope);
            loop {
                let answer = engine.evaluate(&scope, &request, &limits_of_query, &counters).await;
                if let Some(settled) = restarts.settled(answer).await {
                    return settled;
                }
            }
        })
        .await
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
        let scope = scope.into();
        let mut restarts = self.restarts(&scope);
        loop {
            let statistics = listing::index_stats(&self.catalog, &scope, selector, range).await;
            if let Some(settled) = restarts.settled(statistics).await {
                return settled;
            }
        }
    }

    /// Bytes of lines by groups of streams, those of most bytes first.
    pub async fn volume(&self, scope: impl Into<Scope>, request: VolumeRequest, limits: &QueryLimits) -> Result<MetricAnswer, QueryError> {
        let (engine, scope) = (self.clone(), scope.into());
        let counters = Arc::new(Counters::default());
        self.within(limits, counters.clone(), async move {
            let started = Instant::now();
            let mut restarts = engine.restarts(&scope);
            let (parts, series) = loop {
                let volumes = engine.volumes(&scope, &request).await;
                if let Some(settled) = restarts.settled(volumes).await {
                    break settled?;
                }
            };
            let statistics = counters.statistics(parts, started.elapsed().as_secs_f64(), series.len() as u64);
            Ok(MetricAnswer { value: MetricValue::Series(series), warnings: scope.tolerance().warnings(), statistics })
        })
        .await
    }

    /// The series of a question about volume, and how many parts they are of.
    async fn volumes(&self, scope: &Scope, request: &VolumeRequest) -> Result<(usize, Vec<Series>), QueryError> {
        let range = TimeRange { start: request.start, end: request.end };
        let selection = Selection::new(&self.catalog, scope, &request.selector, range).await?;
        let source = PageSource { catalog: self.catalog.clone(), selection: Arc::new(selection) };
        let memory = MemoryConsumer::new("volume").register(self.context.memory_pool());
        let series = volume::volume(&source, request, &memory).await?;
        Ok((source.selection.parts(), series))
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
        let scope = scope.into();
        let leaves = Leaves::pin(&self.catalog, &scope, request, grid).await?;
        let planned = self.planner(&scope, limits, &counters).metric(&request.expr, grid, limits, &leaves).await?;
        Ok(explain(planned.plan.as_ref()))
    }

    /// See [`Self::explain_metric`].
    pub async fn explain_logs(&self, scope: impl Into<Scope>, request: &LogRequest, limits: &QueryLimits) -> Result<String, QueryError> {
        let counters = Arc::new(Counters::default());
        let planned = self.planner(&scope.into(), limits, &counters).logs(request).await?;
        Ok(explain(planned.plan.as_ref()))
    }

    pub(crate) fn planner<'a>(&'a self, scope: &'a Scope, limits: &QueryLimits, counters: &Arc<Counters>) -> Planner<'a> {
        Planner {
            catalog: &self.catalog,
            scope,
            options: PipelineOptions { strict_loki: limits.strict_loki },
            now: now(),
            partitions: self.threads.count,
            text_index: self.options.text_index,
            counters: counters.clone(),
        }
    }

    /// Runs a plan. What it gives is paid for, twice over, as it is made into an answer next.
    pub(crate) async fn execute(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Gathered, QueryError> {
        let memory = OperatorMemory::new("answer", false, &self.context);
        self.collect(plan, &memory).await.map(|batches| Gathered { batches, memory }).map_err(unwrapped)
    }

    async fn collect(&self, plan: Arc<dyn ExecutionPlan>, memory: &OperatorMemory) -> datafusion_common::Result<Vec<RecordBatch>> {
        let mut stream = execute_stream(plan, self.context.clone())?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await.transpose()? {
            memory.try_grow(2 * batch.get_array_memory_size())?;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Runs a query on the query threads, until its deadline. The time is kept by the caller's thread: those of queries may all be busy.
    pub(crate) async fn within<T: Send + 'static>(
        &self,
        limits: &QueryLimits,
        counters: Arc<Counters>,
        query: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let runtime: &Handle = self.threads.runtime.as_ref().expect("threads run until the engine is dropped").handle();
        let mut running = EndOnDrop { task: runtime.spawn(query), counters };
        match tokio::time::timeout(limits.timeout, &mut running.task).await {
            Ok(Ok(Err(QueryError::Engine(error)))) if is_exhausted(&error) => {
                Err(QueryError::OutOfMemory { limit: self.options.memory_bytes })
            }
            Ok(Ok(outcome)) => outcome,
            Err(_) => Err(QueryError::Timeout),
            Ok(Err(error)) => Err(QueryError::Evaluation(format!("the query's task ended early: {error}"))),
        }
    }
}

/// What a plan gave. Its memory is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) memory: OperatorMemory,
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
            // Others hold it as well: what can be copied of it is.
            Err(shared) => restart::failed_read(&*shared).map_or_else(|| QueryError::Evaluation(shared.to_string()), QueryError::Storage),
        },
        other => QueryError::Engine(other),
    }
}
