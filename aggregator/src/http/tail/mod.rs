//! `GET /loki/api/v1/tail`: history, then what is stored from now on, over a WebSocket.
//!
//! ```text
//! request → parameters (400 before the upgrade) → subscribe → history through the engine ─┐
//!                                          subscription → Follower (pipeline) → delay ────┴→ frames → socket
//! ```
//! The subscription begins before the history is asked for, so nothing is missed; what is in both is sent once. Everything held for
//! a client is bounded; what does not fit is told to it as dropped. A tail ends after [`MAX_DURATION`].

mod follower;
mod frame;
mod outbox;
mod permits;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use tailwater_logql::ast::{Expr, LogExpr};
use tailwater_logql::validate::check_stages;

use crate::access::Caller;
use crate::http::error::ApiError;
use crate::http::method_not_allowed;
use crate::http::query::{Asked, ReadState, check_blocked, encoding_flags, kind_of};
use crate::http::query_log::query_tags;
use crate::http::range::{self, Bounds, ParameterError};
use crate::http::response::logs::EncodingFlags;
use crate::http::tail::permits::Permits;
use crate::http::tail::session::Session;
use crate::ingest::subscription::Subscriptions;
use crate::lifecycle::Lifecycle;

/// The longest time that a client may follow.
const MAX_DURATION: Duration = Duration::from_secs(3600);
/// The longest `delay_for`, in seconds.
const MAX_DELAY: i64 = 5;
/// Bytes of a message from a client; they have nothing to say.
const MAX_MESSAGE: usize = 64 << 10;

/// What the tail endpoint works with. Cheap to clone.
#[derive(Clone)]
pub struct TailState {
    read: ReadState,
    subscriptions: Arc<Subscriptions>,
    lifecycle: Lifecycle,
    permits: Permits,
}

impl TailState {
    pub fn new(read: ReadState, subscriptions: Arc<Subscriptions>, lifecycle: Lifecycle) -> Self {
        Self { read, subscriptions, lifecycle, permits: Permits::default() }
    }
}

pub fn routes(state: TailState) -> Router {
    let following = get(tail).head(method_not_allowed).fallback(method_not_allowed);
    Router::new().route("/loki/api/v1/tail", following.clone()).route("/api/prom/tail", following).with_state(state)
}

/// What a client asks to follow.
struct TailParameters {
    /// `None` for a metric query, which has nothing to follow.
    expr: Option<LogExpr>,
    /// Entries of history.
    limit: usize,
    /// Where history begins, nanoseconds since the epoch.
    start: i64,
    delay: Duration,
    flags: EncodingFlags,
}

impl TailParameters {
    /// In the order in which they are refused.
    fn of(asked: &Asked, headers: &HeaderMap) -> Result<Self, ApiError> {
        let expression = tailwater_logql::parse(asked.form.get("query"))?;
        check_stages(&expression, &|_: &_| Ok(()))?;
        let limit = range::limit(&asked.form)? as usize;
        let start = Bounds::of(&asked.form, asked.now)?.start;
        let delay = match asked.form.get("delay_for") {
            "" => 0,
            text => range::integer(text)?,
        };
        let delay = u64::try_from(delay).ok().filter(|_| delay <= MAX_DELAY).ok_or(ParameterError::Delay { limit: MAX_DELAY })?;
        let allowed = asked.limits.max_entries_limit_per_query;
        if allowed > 0 && limit > allowed {
            return Err(ParameterError::TooManyEntries { limit: limit as u32, allowed }.into());
        }
        check_blocked(asked, kind_of(&expression), &query_tags(headers))?;
        let flags = encoding_flags(headers);
        let expr = match expression {
            Expr::Log(log) => Some(log),
            Expr::Metric(_) => None,
        };
        Ok(Self { expr, limit, start, delay: Duration::from_secs(delay), flags })
    }
}

async fn tail(State(state): State<TailState>, RawQuery(query): RawQuery, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    // One tenant and no more, as for a push.
    let tenant = state.read.tenancy.writer(&parts.headers)?;
    let Ok(caller) = Caller::from_request_parts(&mut parts, &()).await;
    let asked = state.read.asked(&caller, query.as_deref(), &Bytes::new())?;
    let parameters = TailParameters::of(&asked, &parts.headers)?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state).await;
    let upgrade = upgrade.map_err(|_| ApiError::BadRequest { text: "Bad Request\n".to_owned() })?;
    let session = Session::new(state, tenant, asked, parameters, &parts.headers);
    Ok(upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).on_upgrade(|socket| session.run(socket)))
}
