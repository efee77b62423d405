//! One client's tail, from its first frame to its end.

use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::http::HeaderMap;
use tailwater_engine::QueryError;
use tailwater_engine::request::{LogRequest, QueryLimits};
use tailwater_logql::ast::LogExpr;
use tailwater_logql::labels::CategorizedLabels;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};
use tailwater_storage::entry::TenantId;
use tailwater_storage::pairs::Pairs;
use tailwater_storage::tolerance::Tolerance;
use tokio::time::{Instant, sleep_until};

use crate::http::query::Asked;
use crate::http::tail::follower::{Follower, ShownEntry};
use crate::http::tail::frame::{FRAME_ENTRIES, FrameStyle, dropped_of};
use crate::http::tail::outbox::Outbox;
use crate::http::tail::permits::Permit;
use crate::http::tail::{MAX_DURATION, TailParameters, TailState};
use crate::ingest::subscription::Subscription;

/// How often a session looks whether the program is stopping, whether its rights still hold, and whether a slow client has room again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a client is told whose rights are gone.
const WITHDRAWN: &str = "the right to read these logs was withdrawn";

/// Why a tail ends; `None` in a result stands for a client that went away.
type End = Option<String>;

pub(super) struct Session {
    state: TailState,
    tenant: TenantId,
    asked: Asked,
    parameters: TailParameters,
    query_limits: QueryLimits,
}

impl Session {
    pub(super) fn new(state: TailState, tenant: TenantId, asked: Asked, parameters: TailParameters, headers: &HeaderMap) -> Self {
        let query_limits = state.read.query_limits(headers, &asked.limits);
        Self { state, tenant, asked, parameters, query_limits }
    }

    pub(super) async fn run(mut self, socket: WebSocket) {
        let mut outbox = Outbox::new(socket);
        let end = match self.state.permits.open(&self.tenant, self.asked.limits.max_concurrent_tail_requests) {
            Ok(permit) => self.serve(&mut outbox, permit).await,
            Err(refused) => Some(refused.to_string()),
        };
        match end {
            Some(reason) => outbox.close(&reason).await,
            None => outbox.abandon(),
        }
    }

    async fn serve(&mut self, outbox: &mut Outbox, _permit: Permit) -> End {
        let deadline = Instant::now() + MAX_DURATION;
        let Some(expr) = self.parameters.expr.take() else { return self.idle(outbox, deadline).await };
        let followed = self.follow(&expr);
        let (subscription, mut follower) = match followed {
            Ok(followed) => followed,
            Err(error) => return Some(error.to_string()),
        };
        let style = FrameStyle { flags: self.parameters.flags.clone(), has_stages: !expr.stages.is_empty() };
        let history = tokio::select! {
            () = outbox.gone() => return None,
            history = self.history(expr) => history,
        };
        let history = match history {
            Ok(history) => history,
            Err(error) => return Some(error.to_string()),
        };
        for entries in history.chunks(FRAME_ENTRIES) {
            entries.iter().for_each(|entry| follower.note_shown(entry));
            if !outbox.send(style.text(entries, &Default::default())).await {
                return None;
            }
        }
        drop(history);
        self.live(outbox, &subscription, &mut follower, &style, deadline).await
    }

    /// Follows the streams of the query that may be seen.
    fn follow(&self, expr: &LogExpr) -> Result<(Subscription, Follower), QueryError> {
        let matchers = expr.selector.matchers.iter().map(StreamMatcher::new).collect::<Result<Vec<_>, _>>()?;
        let options = PipelineOptions { strict_loki: self.query_limits.strict_loki };
        let pipeline = Pipeline::compile(&expr.stages, None, &NeededLabels::All, &options)?.with_now(self.asked.now);
        let access = self.state.read.access(&self.asked.rights, &self.tenant, self.asked.now);
        let selects = move |labels: &Pairs| {
            let is_asked = StreamMatcher::all_match(&matchers, |name| labels.get(name));
            if is_asked { access.of_stream(labels) } else { None }
        };
        let subscription = self.state.subscriptions.subscribe(self.tenant.clone(), selects);
        Ok((subscription, Follower::new(pipeline, self.parameters.delay)))
    }

    /// The newest entries that are stored by now, oldest first, whatever their stamps say.
    async fn history(&self, expr: LogExpr) -> Result<Vec<ShownEntry>, QueryError> {
        let lookback = self.asked.limits.max_query_lookback;
        let oldest = if lookback.is_zero() { i64::MIN } else { self.asked.now.saturating_sub(lookback.nanoseconds()) };
        let request = LogRequest::newest(expr, self.parameters.start.max(oldest), i64::MAX, self.parameters.limit);
        // Frames have no place for warnings: nothing is passed over.
        let scope = self.state.read.scope(&self.asked).tolerating(Tolerance::default());
        let answer = self.state.read.engine.logs(scope, request, &self.query_limits).await?;
        let mut entries: Vec<ShownEntry> = Vec::new();
        for stream in answer.streams {
            entries.extend(stream.entries.into_iter().rev().map(|entry| ShownEntry {
                timestamp: entry.timestamp,
                line: entry.line,
                labels: CategorizedLabels {
                    stream: stream.labels.clone(),
                    structured_metadata: entry.structured_metadata,
                    parsed: entry.parsed,
                },
            }));
        }
        entries.sort_by_key(|entry| entry.timestamp);
        Ok(entries)
    }

    async fn live(
        &self,
        outbox: &mut Outbox,
        subscription: &Subscription,
        follower: &mut Follower,
        style: &FrameStyle,
        deadline: Instant,
    ) -> End {
        let mut look = Instant::now();
        loop {
            let due = follower.due().map_or(look, |due| due.min(look));
            tokio::select! {
                () = outbox.gone() => return None,
                () = subscription.arrived() => {}
                () = sleep_until(due) => {}
            }
            let now = Instant::now();
            follower.take(subscription.take(), now);
            send_due(outbox, follower, style, now);
            if let Some(reason) = self.over(now, deadline) {
                return Some(reason);
            }
            if look <= now {
                if !self.asked.rights.still_hold().await {
                    return Some(WITHDRAWN.to_owned());
                }
                look = now + LOOK_INTERVAL;
            }
        }
    }

    /// Why the tail is over, if it is.
    fn over(&self, now: Instant, deadline: Instant) -> Option<String> {
        if now >= deadline {
            return Some("reached tail max duration limit".to_owned());
        }
        self.state.lifecycle.is_stopping().then(|| "all ingesters closed the connection".to_owned())
    }

    /// A metric query: the socket stays open and nothing comes.
    async fn idle(&self, outbox: &mut Outbox, deadline: Instant) -> End {
        loop {
            tokio::select! {
                () = outbox.gone() => return None,
                () = sleep_until(Instant::now() + LOOK_INTERVAL) => {}
            }
            if !self.asked.rights.still_hold().await {
                return Some(WITHDRAWN.to_owned());
            }
            if let Some(reason) = self.over(Instant::now(), deadline) {
                return Some(reason);
            }
        }
    }
}

/// Queues frames of what is due; what finds no room is dropped, and told with the next frame that does.
fn send_due(outbox: &Outbox, follower: &mut Follower, style: &FrameStyle, now: Instant) {
    let entries = follower.due_entries(now);
    for frame in entries.chunks(FRAME_ENTRIES) {
        if !outbox.has_room() {
            follower.give_up(dropped_of(frame));
            continue;
        }
        outbox.offer(style.text(frame, &follower.take_dropped()));
    }
    if !outbox.has_room() {
        return;
    }
    let dropped = follower.take_dropped();
    if !dropped.is_empty() {
        outbox.offer(style.text(&[], &dropped));
    }
}
