//! Limits per tenant, under Loki's names: what may be pushed, what a query may ask.
//!
//! `limits` of the configuration holds for every tenant; `overrides.<tenant>` changes single ones. They are resolved
//! once, at the start and whenever the configuration file changes; a look-up is one hash.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tailwater_storage::entry::TenantId;

use crate::config::blocked_query::BlockedQuery;
use crate::config::moment::Moment;
use crate::config::retention_rule::RetentionRule;
use crate::config::size::ByteSize;
use crate::config::span::Span;
use crate::ingest::otlp::rules::OtlpConfig;

/// The limits of one tenant. Names and defaults are Loki's, but for `reject_old_samples` (lines of any age are taken) and
/// the rates and the number of streams (off where tenancy is off), unless `strict_loki` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Megabytes a second that a tenant may push; 0: no limit. Not set: 4 with tenancy or `strict_loki`, else no limit.
    pub ingestion_rate_mb: Option<f64>,
    /// Megabytes that may come at once. Not set: 6.
    pub ingestion_burst_size_mb: Option<f64>,
    /// Streams that a tenant may write to within half an hour, counted by each replica; 0: no limit. Not set: 5,000 with tenancy or `strict_loki`.
    pub max_global_streams_per_user: Option<usize>,
    /// Bytes a second of one stream; 0: no limit. Not set: 3 MB with tenancy or `strict_loki`.
    pub per_stream_rate_limit: Option<ByteSize>,
    /// Bytes of one stream that may come at once. Not set: 15 MB.
    pub per_stream_rate_limit_burst: Option<ByteSize>,
    /// Until then nothing is taken from the tenant.
    pub block_ingestion_until: Option<Moment>,
    /// How pushes are answered until then. 200: as if they were taken.
    pub block_ingestion_status_code: u16,
    /// Labels that every stream has to have.
    pub enforced_labels: Vec<String>,
    /// Bytes of one line; 0: no limit.
    pub max_line_size: ByteSize,
    /// Cut longer lines instead of refusing them.
    pub max_line_size_truncate: bool,
    pub max_label_name_length: usize,
    pub max_label_value_length: usize,
    /// `service_name` is not counted.
    pub max_label_names_per_series: usize,
    /// Refuse entries older than `reject_old_samples_max_age`. Not set: only with `strict_loki`.
    pub reject_old_samples: Option<bool>,
    pub reject_old_samples_max_age: Span,
    /// How far ahead of the clock an entry may be.
    pub creation_grace_period: Span,
    pub allow_structured_metadata: bool,
    /// Bytes of names and values of one entry's metadata; 0: no limit.
    pub max_structured_metadata_size: ByteSize,
    /// Pairs of one entry's metadata; 0: no limit.
    pub max_structured_metadata_entries_count: usize,
    /// Derive `detected_level`.
    pub discover_log_levels: bool,
    /// Labels that name the service, most preferred first; empty: no `service_name` is derived.
    pub discover_service_name: Vec<String>,
    /// Which attributes of OTLP requests become stream labels, which metadata, which nothing.
    pub otlp_config: OtlpConfig,
    /// Tails that may be open at a time; 0: no limit.
    pub max_concurrent_tail_requests: usize,
    /// Largest `limit` of a log query; 0: no limit.
    pub max_entries_limit_per_query: usize,
    /// Longest range of a query; 0: no limit.
    pub max_query_length: Span,
    /// Longest `[range]` of a metric query; 0: no limit.
    pub max_query_range: Span,
    /// Distinct series of an answer.
    pub max_query_series: usize,
    /// How far back a query may look; 0: no limit.
    pub max_query_lookback: Span,
    pub max_streams_matchers_per_query: usize,
    /// Bytes of lines that a query may have to look at, by the statistics of its selectors; 0: no limit.
    pub max_query_bytes_read: ByteSize,
    /// Labels that every selector of a query has to name.
    pub required_labels: Vec<String>,
    /// Queries that are refused.
    pub blocked_queries: Vec<BlockedQuery>,
    /// Answer questions about volume.
    pub volume_enabled: bool,
    /// Groups of a question about volume.
    pub volume_max_series: usize,
    pub query_timeout: Span,
    /// How long lines are kept that no rule of `retention_stream` names; 0: for ever.
    pub retention_period: Span,
    /// How long lines of single streams are kept. Of several rules that match, the one with the highest priority counts, of equal
    /// priorities the shortest period.
    pub retention_stream: Vec<RetentionRule>,
    /// Bytes that the tenant's data files may take as stored; the oldest files go first. 0: no limit.
    pub retention_bytes: ByteSize,
    pub deletion_mode: DeletionMode,
}

/// What delete requests do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletionMode {
    /// None are taken. Those there are go on hiding lines.
    Disabled,
    /// They hide lines, which stay stored.
    FilterOnly,
    /// They hide lines at once and erase them later.
    #[default]
    FilterAndDelete,
}

impl DeletionMode {
    pub const NAMES: &'static [&'static str] = &["disabled", "filter-only", "filter-and-delete"];
}

impl Default for Limits {
    fn default() -> Self {
        const SERVICE_NAMES: [&str; 13] = [
            "service",
            "app",
            "application",
            "app_name",
            "name",
            "app_kubernetes_io_name",
            "container",
            "container_name",
            "k8s_container_name",
            "component",
            "workload",
            "job",
            "k8s_job_name",
        ];
        Self {
            ingestion_rate_mb: None,
            ingestion_burst_size_mb: None,
            max_global_streams_per_user: None,
            per_stream_rate_limit: None,
            per_stream_rate_limit_burst: None,
            block_ingestion_until: None,
            block_ingestion_status_code: 260,
            enforced_labels: Vec::new(),
            max_line_size: ByteSize::kibibytes(256),
            max_line_size_truncate: false,
            max_label_name_length: 1024,
            max_label_value_length: 2048,
            max_label_names_per_series: 15,
            reject_old_samples: None,
            reject_old_samples_max_age: Span::hours(7 * 24),
            creation_grace_period: Span::minutes(10),
            allow_structured_metadata: true,
            max_structured_metadata_size: ByteSize::kibibytes(64),
            max_structured_metadata_entries_count: 128,
            discover_log_levels: true,
            discover_service_name: SERVICE_NAMES.map(str::to_owned).to_vec(),
            otlp_config: OtlpConfig::default(),
            max_concurrent_tail_requests: 10,
            max_entries_limit_per_query: 5000,
            max_query_length: Span::hours(721),
            max_query_range: Span::ZERO,
            max_query_series: 500,
            max_query_lookback: Span::ZERO,
            max_streams_matchers_per_query: 1000,
            max_query_bytes_read: ByteSize::bytes(0),
            required_labels: Vec::new(),
            blocked_queries: Vec::new(),
            volume_enabled: true,
            volume_max_series: 1000,
            query_timeout: Span::minutes(1),
            retention_period: Span::ZERO,
            retention_stream: Vec::new(),
            retention_bytes: ByteSize::bytes(0),
            deletion_mode: DeletionMode::default(),
        }
    }
}

/// Bytes a second and at once that a tenant may push.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IngestionRate {
    pub bytes_per_second: f64,
    pub burst_bytes: f64,
}

const LOKI_RATE_MB: f64 = 4.0;
const LOKI_BURST_MB: f64 = 6.0;
const MEGABYTE: f64 = 1_048_576.0;
const LOKI_STREAMS: usize = 5000;
const LOKI_STREAM_RATE: ByteSize = ByteSize::mebibytes(3);
const LOKI_STREAM_BURST: ByteSize = ByteSize::mebibytes(15);

impl Limits {
    /// Names of Loki's limits that mean nothing here, or nothing yet: they are accepted, with a warning.
    pub(crate) const WITHOUT_EFFECT: &[&str] = &[
        "allow_deletes",
        "cardinality_limit",
        "increment_duplicate_timestamp",
        "index_gateway_shard_size",
        "ingestion_partitions_tenant_shard_size",
        "ingestion_rate_strategy",
        "log_level_fields",
        "log_level_from_json_max_depth",
        "max_cache_freshness_per_query",
        "max_chunks_per_query",
        "max_metadata_cache_freshness",
        "max_querier_bytes_read",
        "max_queriers_per_tenant",
        "max_query_capacity",
        "max_query_parallelism",
        "max_stats_cache_freshness",
        "max_streams_per_user",
        "metric_aggregation_enabled",
        "min_sharding_lookback",
        "pattern_persistence_enabled",
        "query_ready_index_num_days",
        "shard_streams",
        "split_metadata_queries_by_interval",
        "split_queries_by_interval",
        "tsdb_max_query_parallelism",
        "unordered_writes",
    ];

    /// Fills in what depends on the mode; after this the optional limits are set.
    fn resolved(mut self, is_strict: bool, has_tenants: bool) -> Self {
        self.reject_old_samples.get_or_insert(is_strict);
        let rate = if is_strict || has_tenants { LOKI_RATE_MB } else { 0.0 };
        self.ingestion_rate_mb.get_or_insert(rate);
        self.ingestion_burst_size_mb.get_or_insert(LOKI_BURST_MB);
        let is_limited = is_strict || has_tenants;
        self.max_global_streams_per_user.get_or_insert(if is_limited { LOKI_STREAMS } else { 0 });
        self.per_stream_rate_limit.get_or_insert(if is_limited { LOKI_STREAM_RATE } else { ByteSize::bytes(0) });
        self.per_stream_rate_limit_burst.get_or_insert(LOKI_STREAM_BURST);
        self
    }

    /// The limits of a query over several tenants: of each the strictest that any of them has.
    fn strictest(mut self, other: &Limits) -> Self {
        let span = |left: Span, right: Span| {
            if right.is_zero() || (!left.is_zero() && left.nanoseconds() <= right.nanoseconds()) { left } else { right }
        };
        let number = |left: usize, right: usize| if right == 0 || (left != 0 && left <= right) { left } else { right };
        self.max_entries_limit_per_query = number(self.max_entries_limit_per_query, other.max_entries_limit_per_query);
        self.max_query_series = number(self.max_query_series, other.max_query_series);
        self.max_streams_matchers_per_query = number(self.max_streams_matchers_per_query, other.max_streams_matchers_per_query);
        self.volume_max_series = number(self.volume_max_series, other.volume_max_series);
        self.volume_enabled &= other.volume_enabled;
        let read = [self.max_query_bytes_read, other.max_query_bytes_read].into_iter().filter(|bytes| bytes.as_u64() > 0);
        self.max_query_bytes_read = read.min().unwrap_or_default();
        let others = other.blocked_queries.iter().filter(|rule| !self.blocked_queries.contains(rule));
        self.blocked_queries = self.blocked_queries.iter().chain(others).cloned().collect();
        let missing = other.required_labels.iter().filter(|label| !self.required_labels.contains(label));
        self.required_labels = self.required_labels.iter().chain(missing).cloned().collect();
        self.max_query_length = span(self.max_query_length, other.max_query_length);
        self.max_query_range = span(self.max_query_range, other.max_query_range);
        self.max_query_lookback = span(self.max_query_lookback, other.max_query_lookback);
        self.query_timeout = span(self.query_timeout, other.query_timeout);
        self
    }

    /// `None`: no limit.
    pub(crate) fn ingestion_rate(&self) -> Option<IngestionRate> {
        let rate = self.ingestion_rate_mb.filter(|rate| *rate > 0.0)?;
        let burst = self.ingestion_burst_size_mb.unwrap_or(LOKI_BURST_MB);
        Some(IngestionRate { bytes_per_second: rate * MEGABYTE, burst_bytes: burst * MEGABYTE })
    }

    /// Streams that may be active; `None`: no limit.
    pub(crate) fn max_active_streams(&self) -> Option<usize> {
        self.max_global_streams_per_user.filter(|streams| *streams > 0)
    }

    /// What one stream may take; `None`: no limit.
    pub(crate) fn stream_rate(&self) -> Option<IngestionRate> {
        let rate = self.per_stream_rate_limit.filter(|rate| rate.as_u64() > 0)?;
        let burst = self.per_stream_rate_limit_burst.unwrap_or(LOKI_STREAM_BURST);
        Some(IngestionRate { bytes_per_second: rate.as_u64() as f64, burst_bytes: burst.as_u64() as f64 })
    }

    /// Until when nothing is taken, if that is still to come.
    pub(crate) fn blocked_until(&self, now: i64) -> Option<Moment> {
        self.block_ingestion_until.filter(|until| now < until.nanoseconds())
    }

    /// The oldest stamp that is taken at a time, nanoseconds since the epoch.
    pub(crate) fn oldest_acceptable(&self, now: i64) -> i64 {
        match self.reject_old_samples {
            Some(true) => now.saturating_sub(self.reject_old_samples_max_age.nanoseconds()),
            _ => i64::MIN,
        }
    }

    /// How old lines may be that are pushed; `None`: of any age.
    pub(crate) fn oldest_accepted(&self) -> Option<Duration> {
        (self.reject_old_samples == Some(true)).then(|| self.reject_old_samples_max_age.duration())
    }

    /// The newest stamp that is taken at a time.
    pub(crate) fn newest_acceptable(&self, now: i64) -> i64 {
        now.saturating_add(self.creation_grace_period.nanoseconds())
    }
}

/// The limits of every tenant. Clones share them: what is replaced in one is replaced in all.
#[derive(Debug, Clone)]
pub struct TenantLimits {
    /// What limits that are not set mean.
    is_strict: bool,
    has_tenants: bool,
    table: Arc<RwLock<Arc<LimitsTable>>>,
}

/// The limits at one time.
#[derive(Debug)]
pub(crate) struct LimitsTable {
    /// Of tenants without own ones.
    pub(crate) common: Arc<Limits>,
    pub(crate) overrides: HashMap<String, Arc<Limits>>,
}

impl LimitsTable {
    fn new(common: Limits, overrides: BTreeMap<String, Limits>, is_strict: bool, has_tenants: bool) -> Self {
        let resolved = |limits: Limits| Arc::new(limits.resolved(is_strict, has_tenants));
        Self { common: resolved(common), overrides: overrides.into_iter().map(|(tenant, limits)| (tenant, resolved(limits))).collect() }
    }

    fn of(&self, tenant: &TenantId) -> &Arc<Limits> {
        self.overrides.get(tenant.as_str()).unwrap_or(&self.common)
    }
}

impl TenantLimits {
    /// `overrides` are whole limits already: the common ones with the tenant's own on top.
    pub fn new(common: Limits, overrides: BTreeMap<String, Limits>, is_strict: bool, has_tenants: bool) -> Self {
        let table = LimitsTable::new(common, overrides, is_strict, has_tenants);
        Self { is_strict, has_tenants, table: Arc::new(RwLock::new(Arc::new(table))) }
    }

    /// Puts other limits in the place of these, for whatever is asked from now on.
    pub fn replace(&self, common: Limits, overrides: BTreeMap<String, Limits>) {
        let table = LimitsTable::new(common, overrides, self.is_strict, self.has_tenants);
        *self.table.write() = Arc::new(table);
    }

    pub(crate) fn table(&self) -> Arc<LimitsTable> {
        Arc::clone(&self.table.read())
    }

    pub fn of(&self, tenant: &TenantId) -> Arc<Limits> {
        Arc::clone(self.table.read().of(tenant))
    }

    /// What the query of any tenant may take.
    pub(crate) fn longest_query_timeout(&self) -> Duration {
        let table = self.table();
        let all = table.overrides.values().chain([&table.common]);
        all.map(|limits| limits.query_timeout.duration()).max().unwrap_or_default()
    }

    /// What a query over all of these tenants may ask.
    pub(crate) fn of_all(&self, tenants: &[TenantId]) -> Arc<Limits> {
        let table = self.table();
        let mut limits = tenants.iter().map(|tenant| Arc::clone(table.of(tenant)));
        let Some(first) = limits.next() else { return Arc::clone(&table.common) };
        limits.fold(first, |all, other| if Arc::ptr_eq(&all, &other) { all } else { Arc::new(Limits::clone(&all).strictest(&other)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_off_without_tenancy_unless_set_or_strict() {
        for (set, is_strict, has_tenants, expected) in [
            (None, false, false, None),
            (None, true, false, Some(4.0)),
            (None, false, true, Some(4.0)),
            (Some(1.0), false, false, Some(1.0)),
            (Some(0.0), true, true, None),
        ] {
            let limits = Limits { ingestion_rate_mb: set, ..Limits::default() }.resolved(is_strict, has_tenants);
            let expected = expected.map(|rate| IngestionRate { bytes_per_second: rate * MEGABYTE, burst_bytes: 6.0 * MEGABYTE });
            assert_eq!(limits.ingestion_rate(), expected);
        }
    }

    #[test]
    fn lines_of_any_age_are_taken_unless_strict() {
        let resolved = |is_strict| Limits::default().resolved(is_strict, false);
        assert_eq!(resolved(false).oldest_acceptable(1), i64::MIN);
        assert_eq!(resolved(true).oldest_acceptable(0), -7 * 24 * 3600 * 1_000_000_000);
        assert_eq!(resolved(false).newest_acceptable(0), 600_000_000_000);
    }

    #[test]
    fn several_tenants_have_the_strictest_limits_of_each() {
        let short = Limits { max_query_length: Span::hours(1), max_query_lookback: Span::hours(5), ..Limits::default() };
        let few = Limits { max_entries_limit_per_query: 0, max_query_series: 10, max_query_lookback: Span::ZERO, ..Limits::default() };
        let overrides = BTreeMap::from([("short".to_owned(), short), ("few".to_owned(), few)]);
        let limits = TenantLimits::new(Limits::default(), overrides, false, true);
        let all = limits.of_all(&["few", "other", "short"].map(TenantId::new));
        assert_eq!((all.max_query_length, all.max_query_lookback), (Span::hours(1), Span::hours(5)));
        assert_eq!((all.max_entries_limit_per_query, all.max_query_series), (5000, 10));
        assert_eq!(limits.of_all(&[TenantId::new("few")]).max_entries_limit_per_query, 0);
    }

    #[test]
    fn all_clones_see_what_is_replaced() {
        let limits = TenantLimits::new(Limits::default(), BTreeMap::new(), true, false);
        let other = limits.clone();
        let own = Limits { max_query_series: 7, ..Limits::default() };
        limits.replace(Limits::default(), BTreeMap::from([("t".to_owned(), own)]));
        let of_tenant = other.of(&TenantId::new("t"));
        assert_eq!((of_tenant.max_query_series, of_tenant.reject_old_samples), (7, Some(true)));
        assert_eq!(other.of(&TenantId::new("u")).max_query_series, 500);
    }

    #[test]
    fn the_longest_query_is_that_of_any_tenant() {
        let own = Limits { query_timeout: Span::minutes(9), ..Limits::default() };
        let limits = TenantLimits::new(Limits::default(), BTreeMap::from([("slow".to_owned(), own)]), false, true);
        assert_eq!(limits.longest_query_timeout(), Duration::from_secs(540));
        limits.replace(Limits { query_timeout: Span::minutes(2), ..Limits::default() }, BTreeMap::new());
        assert_eq!(limits.longest_query_timeout(), Duration::from_secs(120));
    }

    #[test]
    fn a_tenant_without_overrides_has_the_common_limits() {
        let own = Limits { max_line_size: ByteSize::bytes(256), ..Limits::default() };
        let limits = TenantLimits::new(Limits::default(), BTreeMap::from([("strict".to_owned(), own)]), false, true);
        assert_eq!(limits.of(&TenantId::new("strict")).max_line_size, ByteSize::bytes(256));
        assert_eq!(limits.of(&TenantId::new("other")).max_line_size, ByteSize::kibibytes(256));
    }
}
