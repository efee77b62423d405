//! One request until it is settled: tried again without end unless the configuration says otherwise, in halves where the receiver does not take it whole.
//!
//! While its tenant is limited (429) that is told ([`super::limited`]), so that others need not wait with it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::{self, Verdict};
use super::backoff::{Backoff, random};
use super::doubt::RequestDoubt;
use super::lane::Lane;
use super::limited::Tenant;
use super::receiver::{Answer, OnClientError};
use crate::batch::builder::MAX_REQUEST_BYTES;
use crate::batch::split::{self, Part, SplitError};
use crate::metrics::{Counted, DropReason, PushOutcome};
use crate::observe::clients::ClientLabels;

/// A wait a receiver asks for is honoured up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How an attempt at a part ended.
enum Settled {
    Acknowledged,
    /// Entries that will never be stored.
    Dropped(u64, DropReason),
    /// The receiver refused the part without saying how much of it.
    RefusedWhole,
    /// Beyond the number of bytes that the receiver tells, if it does.
    TooLarge(Option<usize>),
}

/// A part of a request, and what was done to it.
struct Piece {
    part: Part,
    /// A refusal of it as a whole was bisected.
    is_bisected: bool,
    /// Its one entry was cut to the receiver's limit.
    is_shortened: bool,
}

impl Piece {
    /// Puts its halves on `pieces`, the first on top.
    fn halve_into(&self, pieces: &mut Vec<Self>) -> Result<(), SplitError> {
        let [first, second] = split::halve(&self.part.body, self.part.entries)?;
        pieces.extend([second, first].map(|part| Self { part, ..*self }));
        Ok(())
    }
}

impl Lane {
    /// Who gets the entries of `tenant`, as metrics name it.
    fn labels(&self, tenant: &Tenant) -> ClientLabels {
        let own = &self.receiver.labels;
        ClientLabels { host: own.host.clone(), tenant: tenant.as_deref().map_or_else(|| own.tenant.clone(), str::to_owned) }
    }

    /// Counts `entries` of `part` that will never be stored.
    fn count_dropped(&self, tenant: &Tenant, part: &Part, entries: u64, reason: DropReason) -> u64 {
        let entries = entries.min(part.entries);
        let bytes = split::line_bytes(&part.body).unwrap_or_default() * entries / part.entries.max(1);
        self.metrics.refused_lines(&self.labels(tenant), reason, entries, bytes);
        entries
    }

    /// Delivers a request, in parts if need be. Returns the entries that were refused for good.
    pub(super) async fn deliver(&self, tenant: &Tenant, whole: Part, mut doubt: RequestDoubt) -> u64 {
        let mut dropped = 0;
        self.metrics.clients.encoded(&self.labels(tenant), whole.body.len() as u64);
        // In order.
        let mut pieces = vec![Piece { part: whole, is_bisected: false, is_shortened: false }];
        while let Some(piece) = pieces.pop() {
            let part = &piece.part;
            if part.entries > 1 && split::request_bytes(&part.body) > MAX_REQUEST_BYTES && piece.halve_into(&mut pieces).is_ok() {
                continue;
            }
            let settled = self.attempt_until_settled(tenant, part, &mut doubt).await;
            let is_split = match settled {
                Settled::Acknowledged => continue,
                Settled::Dropped(entries, reason) => {
                    dropped += self.count_dropped(tenant, part, entries, reason);
                    continue;
                }
                Settled::RefusedWhole => !piece.is_bisected && part.entries > 1,
                Settled::TooLarge(limit) => {
                    let limit = limit.filter(|_| part.entries == 1 && !piece.is_shortened);
                    if let Some(part) = limit.and_then(|limit| self.shorten(part, limit)) {
                        pieces.push(Piece { part, is_shortened: true, ..piece });
                        continue;
                    }
                    part.entries > 1
                }
            };
            let is_bisected = piece.is_bisected || matches!(settled, Settled::RefusedWhole);
            let piece = Piece { is_bisected, ..piece };
            match is_split.then(|| piece.halve_into(&mut pieces)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!(error = %error, "request not split; its entries are dropped");
                    dropped += self.count_dropped(tenant, &piece.part, piece.part.entries, DropReason::IngesterError);
                }
                None => {
                    tracing::warn!(entries = piece.part.entries, "entries that the receiver does not take as they are; dropped");
                    dropped += self.count_dropped(tenant, &piece.part, piece.part.entries, DropReason::IngesterError);
                }
            }
        }
        dropped
    }

    /// The one entry of `part`, cut so that it fits the receiver's limit; counted.
    fn shorten(&self, part: &Part, limit: usize) -> Option<Part> {
        match split::shorten(&part.body, limit) {
            Ok(shortened) => {
                let (body, left_out) = shortened?;
                tracing::warn!(limit, left_out, "an entry is too large for the receiver; sent without its end");
                self.metrics.truncated_lines(1, left_out);
                Some(Part { body, entries: 1 })
            }
            Err(error) => {
                tracing::error!(error = %error, "entry not shortened");
                None
            }
        }
    }

    async fn attempt_until_settled(&self, tenant: &Tenant, part: &Part, doubt: &mut RequestDoubt) -> Settled {
        let mut backoff = Backoff::new(self.receiver.config.backoff);
        let mut limited = None;
        loop {
            let may_be_taken = doubt.begin().await;
            let answered = self.attempt(tenant, &part.body).await;
            let is_untaken = answered.as_ref().map_or_else(|error| error.is_connect(), |answer| answer::says_untaken(answer.status));
            if is_untaken && !may_be_taken {
                doubt.withdraw();
            }
            let wait = match answered.ok() {
                Some(answer) => match self.judge(&answer, tenant, part) {
                    Ok(settled) => return settled,
                    Err(wait) => {
                        limited = (answer.status == 429).then(|| limited.unwrap_or_else(|| self.receiver.limited.begin(tenant)));
                        wait
                    }
                },
                None => None,
            };
            if backoff.is_exhausted() {
                tracing::warn!(entries = part.entries, "attempts used up; entries dropped");
                return Settled::Dropped(part.entries, DropReason::IngesterError);
            }
            self.metrics.clients.retried(&self.labels(tenant));
            let own_wait = backoff.next_wait(random());
            tokio::time::sleep(wait.unwrap_or_default().max(own_wait)).await;
        }
    }

    async fn attempt(&self, tenant: &Tenant, body: &Bytes) -> Result<Answer, reqwest::Error> {
        let _pass = self.receiver.gate.enter().await;
        let under_way = Counted::in_gauge(&self.metrics.pushes_in_flight);
        let began = Instant::now();
        let answered = self.receiver.push(body.clone(), tenant.as_deref()).await;
        drop(under_way);
        let status = answered.as_ref().ok().map(|answer| answer.status);
        // A limit of one tenant says nothing of the others.
        match status {
            Some(status) if status == 429 || answer::verdict(status) != Verdict::Retry => self.receiver.gate.succeeded(),
            _ => self.receiver.gate.failed(),
        }
        self.metrics.clients.answered(&self.labels(tenant), status, began.elapsed());
        if let Err(error) = &answered {
            self.metrics.push_request(PushOutcome::Retried);
            tracing::warn!(url = %self.receiver.url, error = %error, "no answer to a push; trying again");
        }
        answered
    }

    /// What an answer means for a part: settled, or the wait before the next attempt.
    fn judge(&self, answer: &Answer, tenant: &Tenant, part: &Part) -> Result<Settled, Option<Duration>> {
        let verdict = answer::verdict(answer.status);
        if verdict != Verdict::Blocked
            && let Some(status) = self.blocked.clear()
        {
            self.metrics.blocked(status, false);
        }
        match verdict {
            Verdict::Acknowledged => {
                self.metrics.push_request(PushOutcome::Acknowledged);
                self.metrics.sent_bytes.inc_by(part.body.len() as u64);
                self.metrics.clients.sent(&self.labels(tenant), part.body.len() as u64, part.entries);
                Ok(Settled::Acknowledged)
            }
            Verdict::Retry if answer.status == 429 && self.receiver.config.drops_rate_limited => {
                self.metrics.push_request(PushOutcome::Refused);
                tracing::warn!(answer = answer.body.trim_end(), "receiver limits the rate; entries dropped as configured");
                Ok(Settled::Dropped(part.entries, DropReason::RateLimited))
            }
            Verdict::Retry => {
                self.metrics.push_request(PushOutcome::Retried);
                tracing::warn!(status = answer.status, answer = answer.body.trim_end(), "push not taken; trying again");
                Err(answer.retry_after.map(|wait| wait.min(RETRY_AFTER_MAX)))
            }
            Verdict::TooLarge => {
                self.metrics.push_request(PushOutcome::Refused);
                Ok(Settled::TooLarge(answer::limit_told(&answer.body)))
            }
            Verdict::Refused => {
                self.metrics.push_request(PushOutcome::Refused);
                tracing::warn!(status = answer.status, answer = answer.body.trim_end(), "receiver refused entries");
                let named = |entries| Settled::Dropped(entries, DropReason::IngesterError);
                Ok(answer::ignored_entries(&answer.body).map_or(Settled::RefusedWhole, named))
            }
            Verdict::Blocked => self.judge_blocked(answer, part),
        }
    }

    fn judge_blocked(&self, answer: &Answer, part: &Part) -> Result<Settled, Option<Duration>> {
        self.metrics.push_request(PushOutcome::Blocked);
        if self.receiver.config.on_4xx == OnClientError::Drop {
            return Ok(Settled::Dropped(part.entries, DropReason::IngesterError));
        }
        self.blocked.set(answer.status, Instant::now());
        self.metrics.blocked(answer.status, true);
        tracing::warn!(status = answer.status, url = %self.receiver.url, answer = answer.body.trim_end(),
            "receiver refuses this agent; lines are kept, check `clients[0].url` and its credentials");
        Err(Some(self.receiver.config.backoff.max_period))
    }
}
