//! `POST /loki/api/v1/push` and `POST /otlp/v1/logs`: 204 once the entries are durable.
//!
//! The body is counted against a memory budget while it arrives, decoded off the async threads by a bounded number of tasks, and
//! handed to the ingester, whose answer is ours. Entries that break a limit are refused after the others are stored.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tailwater_storage::entry::TenantId;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::Tenancy;
use crate::http::error::ApiError;
use crate::http::writing;
use crate::ingest::body::{BodyError, MAX_RECEIVED, Wrapping};
use crate::ingest::buffer::{Ingester, PushFailed};
use crate::ingest::decode::PushRefused;
use crate::ingest::intake::{Accepted, Intake};
use crate::ingest::otlp::body::OtlpWrapping;
use crate::ingest::rate::RateLimiter;
use crate::ingest::stream_limits::StreamFigure;
use crate::limits::{Limits, TenantLimits};
use crate::memory::{MemoryBudget, Reservation};
use crate::metrics::{DiscardLabels, Metrics};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a refused body that are still taken: a client that is cut off while it sends never reads why.
const MAX_DISCARDED: usize = 64 << 20;
/// How long they may take to arrive.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// When to come again after the budget was full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the push endpoint works with. Cheap to clone.
#[derive(Clone)]
pub struct PushState {
    shared: Arc<Shared>,
}

struct Shared {
    tenancy: Tenancy,
    limits: TenantLimits,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    intake: Intake,
    rates: RateLimiter,
    /// Bytes of requests, as received and as decoded.
    budget: MemoryBudget,
    /// Requests decoded at once.
    decoders: Semaphore,
    ingester: Ingester,
}

/// What [`PushState::new`] takes.
pub struct PushParts {
    pub tenancy: Tenancy,
    pub limits: TenantLimits,
    pub is_strict: bool,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Bytes that requests may hold while they are received and decoded.
    pub budget_bytes: usize,
    pub ingester: Ingester,
}

impl PushState {
    pub fn new(parts: PushParts) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let budget = MemoryBudget::new(parts.budget_bytes, parts.metrics.budget("push", parts.budget_bytes));
        let intake = Intake::new(parts.is_strict);
        let figure = StreamFigure { active: intake.active_streams(), clock: Arc::clone(&parts.clock) };
        parts.metrics.register_collector(Box::new(figure));
        let shared = Shared {
            tenancy: parts.tenancy,
            limits: parts.limits,
            clock: parts.clock,
            metrics: parts.metrics,
            intake,
            rates: RateLimiter::default(),
            budget,
            decoders: Semaphore::new(2 * cores),
            ingester: parts.ingester,
        };
        Self { shared: Arc::new(shared) }
    }
}

pub fn routes(state: PushState) -> Router {
    Router::new()
        .route("/loki/api/v1/push", writing(push))
        .route("/api/prom/push", writing(push))
        .route("/otlp/v1/logs", writing(push_otlp))
        .with_state(state)
}

/// The message that a body holds, and how it is wrapped.
#[derive(Debug, Clone, Copy)]
enum Request {
    Push(Wrapping),
    Otlp(OtlpWrapping),
}

impl Request {
    fn unwrap(self, received: Vec<u8>) -> Result<Vec<u8>, PushRefused> {
        match self {
            Self::Push(wrapping) => Ok(wrapping.unwrap(received)?),
            Self::Otlp(wrapping) => wrapping.unwrap(received),
        }
    }

    fn accept(self, intake: &Intake, tenant: &TenantId, limits: &Limits, now: i64, request: &[u8]) -> Result<Accepted, PushRefused> {
        match self {
            Self::Push(wrapping) => intake.accept(tenant, limits, now, wrapping.format, request),
            Self::Otlp(wrapping) => intake.accept_otlp(tenant, limits, now, wrapping.format, request),
        }
    }
}

async fn push(State(state): State<PushState>, headers: HeaderMap, body: Body) -> Result<StatusCode, ApiError> {
    take(state, &headers, body, push_request).await
}

async fn push_otlp(State(state): State<PushState>, headers: HeaderMap, body: Body) -> Response {
    take(state, &headers, body, otlp_request).await.map_or_else(ApiError::into_otlp_response, IntoResponse::into_response)
}

/// Reads off the headers what a body holds.
type ReadHeaders = fn(&HeaderMap) -> Result<Request, PushRefused>;

async fn take(state: PushState, headers: &HeaderMap, body: Body, request: ReadHeaders) -> Result<StatusCode, ApiError> {
    let shared = &state.shared;
    let mut body = body.into_data_stream();
    let mut reservation = shared.budget.reservation();
    let (tenant, request, received) = match admit(shared, headers, request, &mut body, &mut reservation).await {
        Ok(admitted) => admitted,
        Err(refused) => {
            drop(reservation);
            discard(&mut body).await;
            return Err(refused);
        }
    };
    let (accepted, reservation) = decode(&state, tenant.clone(), request, received, reservation).await?;
    let Accepted { batch, metadata_bytes, invalid_bytes, rejections, newest } = accepted;
    let (lines, bytes) = (batch.entries(), batch.line_bytes() as u64 + metadata_bytes);
    let counters = &shared.metrics;
    for (reason, lines, bytes) in rejections.counts() {
        count_discarded(counters, &tenant, reason.as_str(), *lines, *bytes);
    }
    if let Some(blocked) = shared.blocked(&tenant, lines, bytes) {
        return blocked;
    }
    if lines > 0 {
        shared.take_rate(&tenant, lines, bytes)?;
        drop(reservation);
        shared.ingester.push(batch).await?;
        shared.intake.record_durable(&tenant, &newest);
        let labels = Metrics::tenant(&tenant);
        counters.received_lines.get_or_create(&labels).inc_by(lines as u64);
        counters.received_bytes.get_or_create(&labels).inc_by(bytes);
        if invalid_bytes > 0 {
            counters.replaced_bytes.get_or_create(&labels).inc_by(invalid_bytes);
        }
    }
    if rejections.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::EntriesRefused { texts: rejections.to_string(), are_for_later: rejections.are_for_later() })
}

/// Whose push it is, how it is wrapped, and its body.
async fn admit(
    shared: &Shared,
    headers: &HeaderMap,
    request: ReadHeaders,
    body: &mut BodyDataStream,
    reservation: &mut Reservation,
) -> Result<(TenantId, Request, Vec<u8>), ApiError> {
    let tenant = shared.tenancy.writer(headers)?;
    let request = request(headers)?;
    Ok((tenant, request, receive(body, reservation).await?))
}

/// Takes the rest of a refused body, so that its sender reads the answer instead of a reset connection.
async fn discard(body: &mut BodyDataStream) {
    let reading = async {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = body.next().await {
            discarded += chunk.len();
            if discarded > MAX_DISCARDED {
                return;
            }
        }
    };
    // Whoever is too large or too slow for this is cut off.
    tokio::time::timeout(DISCARD_TIMEOUT, reading).await.ok();
}

fn push_request(headers: &HeaderMap) -> Result<Request, PushRefused> {
    Ok(Request::Push(Wrapping::of_headers(text(headers, header::CONTENT_TYPE), text(headers, header::CONTENT_ENCODING))?))
}

fn otlp_request(headers: &HeaderMap) -> Result<Request, PushRefused> {
    Ok(Request::Otlp(OtlpWrapping::of_headers(text(headers, header::CONTENT_TYPE), text(headers, header::CONTENT_ENCODING))?))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The whole body, as long as it is not too large, too slow, or more than memory is there for.
async fn receive(body: &mut BodyDataStream, reservation: &mut Reservation) -> Result<Vec<u8>, ApiError> {
    let reading = async {
        let mut received = Vec::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| ApiError::RequestCut)?;
            if received.len() + chunk.len() > MAX_RECEIVED {
                return Err(PushRefused::from(BodyError::Received { limit: MAX_RECEIVED }).into());
            }
            if !reservation.grow(chunk.len()) {
                return Err(ApiError::OverBudget { retry_after: RETRY_AFTER });
            }
            received.extend_from_slice(&chunk);
        }
        Ok(received)
    };
    tokio::time::timeout(BODY_TIMEOUT, reading).await.unwrap_or(Err(ApiError::RequestTimeout))
}

/// Decompresses, walks and validates on a thread where that may take its time.
async fn decode(
    state: &PushState,
    tenant: TenantId,
    message: Request,
    received: Vec<u8>,
    mut reservation: Reservation,
) -> Result<(Accepted, Reservation), ApiError> {
    let permit = state.shared.decoders.acquire().await.expect("the semaphore is never closed");
    let task_state = state.clone();
    let decoding = tokio::task::spawn_blocking(move || {
        let shared = &task_state.shared;
        let request = message.unwrap(received)?;
        if !reservation.grow(2 * request.len()) {
            return Err(ApiError::OverBudget { retry_after: RETRY_AFTER });
        }
        let limits: Arc<Limits> = shared.limits.of(&tenant);
        let accepted = message.accept(&shared.intake, &tenant, &limits, shared.clock.now(), &request)?;
        Ok((accepted, reservation))
    });
    let decoded = decoding.await.unwrap_or(Err(ApiError::Internal { what: "decoding the push" }));
    drop(permit);
    decoded
}

impl Shared {
    /// The answer to a tenant from which nothing is taken at this time.
    fn blocked(&self, tenant: &TenantId, lines: usize, bytes: u64) -> Option<Result<StatusCode, ApiError>> {
        let limits = self.limits.of(tenant);
        let until = limits.blocked_until(self.clock.now())?;
        count_discarded(&self.metrics, tenant, "blocked_ingestion", lines as u64, bytes);
        let status = StatusCode::from_u16(limits.block_ingestion_status_code).unwrap_or(StatusCode::FORBIDDEN);
        Some(match status {
            StatusCode::OK => Ok(StatusCode::NO_CONTENT),
            status => Err(ApiError::IngestionBlocked { tenant: tenant.clone(), until, status }),
        })
    }

    fn take_rate(&self, tenant: &TenantId, lines: usize, bytes: u64) -> Result<(), ApiError> {
        let Some(rate) = self.limits.of(tenant).ingestion_rate() else { return Ok(()) };
        self.rates.take(tenant, rate, lines, bytes, self.clock.now()).map_err(|exceeded| {
            count_discarded(&self.metrics, tenant, "rate_limited", lines as u64, bytes);
            ApiError::Rate(exceeded)
        })
    }
}

fn count_discarded(metrics: &Metrics, tenant: &TenantId, reason: &'static str, lines: u64, bytes: u64) {
    let labels = DiscardLabels { tenant: tenant.to_string(), reason };
    metrics.discarded_lines.get_or_create(&labels).inc_by(lines);
    metrics.discarded_bytes.get_or_create(&labels).inc_by(bytes);
}

impl From<PushFailed> for ApiError {
    fn from(failed: PushFailed) -> Self {
        match failed {
            PushFailed::Unavailable { reason, retry_after } => Self::Unavailable { reason, retry_after },
            PushFailed::OverBudget { retry_after, .. } => Self::OverBudget { retry_after },
        }
    }
}
