//! Why a query has no answer, and whose fault that is.

/// Display is the text a client sees; the HTTP surface maps the variants to statuses.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// 400.
    #[error("{0}")]
    Stage(#[from] tailwater_logql::pipeline::CompileError),
    /// 400: a matcher's regular expression.
    #[error("parse error : {0}")]
    Matcher(#[from] tailwater_logql::matcher::MatcherError),
    /// 400: nothing is left of a selector without its matchers of the tenant.
    #[error("log selector is invalid after matcher update: {0}")]
    SelectorOfTenants(tailwater_logql::ParseError),
    /// 400: a sample carries an error that the query does not ask for.
    #[error(
        "pipeline error: '{error}' for series: '{series}'.\nUse a label filter to intentionally skip this error. (e.g | __error__!=\"{error}\").\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\nThe label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    )]
    Pipeline { error: String, series: String },
    /// 400.
    #[error(
        "maximum number of series ({limit}) reached for a single query; consider reducing query cardinality by adding more specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()"
    )]
    TooManySeries { limit: usize },
    /// 400.
    #[error("the query hit the max number of series limit (limit: {limit} series)")]
    TooManyVolumes { limit: usize },
    /// 400: queries need more memory than they may take, and there is no disk, or not enough, to go on with.
    #[error(
        "maximum memory of queries ({limit} bytes) reached; consider reducing query cardinality by adding more specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()"
    )]
    OutOfMemory { limit: usize },
    /// 400: part of the language that this version does not evaluate.
    #[error("{what} is not supported yet")]
    NotSupported { what: String },
    /// 504.
    #[error(
        "request timed out, decrease the duration of the request or add more label matchers (prefer exact match over regex match) to reduce the amount of data processed"
    )]
    Timeout,
    /// 500: vector matching and the like.
    #[error("{0}")]
    Evaluation(String),
    /// 500: the store failed or holds damaged data; names the object.
    #[error("{0}")]
    Storage(#[from] tailwater_storage::error::ReadError),
    /// 500.
    #[error("query engine: {0}")]
    Engine(#[from] datafusion_common::DataFusionError),
}
