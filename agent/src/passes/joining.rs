//! Passes on their way to be one: those that join are ended, then the one that they join, so that it need not wait for their receivers; those behind are read
//! for up to where the others are; and one pass goes on for all that got there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::member::{Member, together};
use super::running::PassId;
use crate::positions::keeper::SharedPositions;
use crate::positions::meeting::Meeting;

/// After so long a client that is not there goes on by itself.
const MEETING_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks who is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Joining {
    /// Passes that have not ended.
    pub(super) awaited: HashSet<PassId>,
    /// The pass that others join, as long as it reads.
    larger: Option<PassId>,
    /// The members of passes that have ended.
    arrived: Vec<Member>,
    /// All they read is acknowledged.
    are_settled: bool,
    /// Once it is known.
    meeting: Option<Arc<Meeting>>,
}

/// What is to be done when all that are awaited have ended.
pub(super) enum Next {
    /// The pass that others join is ended.
    End(PassId, Joining),
    /// Those behind are read for up to the meeting.
    CatchUp { meeting: Arc<Meeting>, behind: Vec<Vec<Member>>, joining: Joining },
    /// These passes go on.
    GoOn(Vec<Vec<Member>>),
}

impl Joining {
    /// Of passes that are being ended, with `larger`.
    pub(super) fn begin(joined: Vec<PassId>, larger: PassId) -> Self {
        Self { awaited: joined.into_iter().collect(), larger: Some(larger), arrived: Vec::new(), are_settled: true, meeting: None }
    }

    pub(super) fn take(&mut self, pass: PassId, members: Vec<Member>, are_settled: bool) {
        self.awaited.remove(&pass);
        self.arrived.extend(members);
        self.are_settled &= are_settled;
    }

    pub(super) fn go_on(mut self, is_running: impl Fn(PassId) -> bool) -> Next {
        if let Some(larger) = self.larger.take() {
            if !self.are_settled || !is_running(larger) {
                return Next::GoOn(apart(self.arrived));
            }
            self.awaited.insert(larger);
            return Next::End(larger, self);
        }
        let known = self.meeting.take();
        let was_caught_up = known.is_some();
        let positions = || self.arrived.iter().map(|member| &member.positions.loaded);
        let Some(meeting) = known.or_else(|| Meeting::of(positions()).map(Arc::new)) else { return Next::GoOn(apart(self.arrived)) };
        let arrived = std::mem::take(&mut self.arrived);
        let (there, behind): (Vec<_>, Vec<_>) = arrived.into_iter().partition(|member| meeting.is_reached_by(&member.positions.loaded));
        if !was_caught_up && !behind.is_empty() {
            let joining = Self { arrived: there, meeting: Some(Arc::clone(&meeting)), ..self };
            return Next::CatchUp { meeting, behind: together(behind), joining };
        }
        let mut passes = if there.len() > 1 { vec![joined(there)] } else { apart(there) };
        passes.extend(apart(behind));
        Next::GoOn(passes)
    }
}

/// All of them are at the same place.
fn joined(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_by_key(|member| member.receiver.client);
    let now = Instant::now();
    if let Some((first, others)) = members.split_first_mut() {
        others.iter_mut().for_each(|member| member.join(first, now));
        first.joined = Some(now);
        tracing::info!(first = first.name, others = others.len(), "these clients are in step; one pass reads for them");
    }
    members
}

/// It was in vain for these.
fn apart(mut members: Vec<Member>) -> Vec<Vec<Member>> {
    members.iter_mut().for_each(|member| member.part(Instant::now()));
    together(members)
}

impl Meeting {
    /// Cancels `stop` when all clients of a pass are there, or when that takes too long.
    pub(super) async fn wait_for(self: Arc<Self>, positions: SharedPositions, clients: usize, stop: CancellationToken) {
        let until = Instant::now() + MEETING_TIMEOUT;
        let is_there = |place| self.is_reached_by(&positions.lock().snapshot(place));
        while !(0..clients).all(is_there) && Instant::now() < until && !stop.is_cancelled() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        stop.cancel();
    }
}
