//! The passes while they run: one for all clients that are in step, and one more for each that does not keep up.
//!
//! A client that holds up others goes on by itself, from what it has acknowledged. When it has kept up with them for a while, both passes end, each is read
//! on to where the other is ([`Joining`]), and one pass goes on for both. It costs them a moment; the more often it was in vain, the later it is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Surface;
use super::joining::{Joining, Next};
use super::member::{Likeness, Member, together};
use crate::agent::{Agent, Ended};
use crate::enrich::pods::PodCache;
use crate::handle::AgentError;
use crate::observe::pass::PassViews;
use crate::positions::keeper::SharedPositions;
use crate::positions::meeting::{Meeting, distance};
use crate::readers::ReadingEnd;
use crate::reload::Continuing;

/// Clients are in step that are not further apart; bytes.
const NEAR: u64 = 16 << 20;

pub(super) type PassId = u64;

/// One of them, from outside.
struct Running {
    likeness: Likeness,
    members: usize,
    positions: SharedPositions,
    all_answer: Arc<AtomicBool>,
    stop: CancellationToken,
    /// How long it is to be near another one before they are joined, and since when it is.
    apart: Duration,
    near_since: Option<Instant>,
}

impl Running {
    fn is_near(&self, other: &Self) -> bool {
        let positions = |pass: &Self| pass.positions.lock().snapshot(0);
        [self, other].iter().all(|pass| pass.all_answer.load(Ordering::Acquire))
            && distance(&positions(self), &positions(other)).is_some_and(|bytes| bytes <= NEAR)
    }
}

pub(crate) struct Passes {
    tasks: JoinSet<(PassId, Ended)>,
    running: BTreeMap<PassId, Running>,
    begun: PassId,
    joining: Option<Joining>,
    views: PassViews,
    /// What the Kubernetes API tells of pods; absent without one.
    cache: Option<Arc<RwLock<PodCache>>>,
    continuing: Continuing,
    /// Of what the process may take each member has an equal part.
    members: usize,
    stop: CancellationToken,
}

impl Passes {
    /// Runs passes for all members until `shutdown`, or until one fails, or one of the `watches` of the Kubernetes API does.
    pub(crate) async fn run(
        members: Vec<Member>,
        surface: Option<Surface>,
        (cache, mut watches): (Option<Arc<RwLock<PodCache>>>, JoinSet<()>),
        continuing: Continuing,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        let background = CancellationToken::new();
        let views = PassViews::default();
        let serving = surface.map(|surface| surface.serve(&continuing, views.clone(), cache.clone(), &background));
        let rejoin_after = members.first().map_or(Duration::ZERO, |member| member.config.timing.rejoin_after);
        let mut looks = tokio::time::interval((rejoin_after / 4).max(Duration::from_millis(10)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut passes = Self {
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            begun: 0,
            joining: None,
            views,
            cache,
            continuing,
            members: members.len(),
            stop: shutdown.child_token(),
        };
        passes.begin_all(together(members));
        let mut result = Ok(());
        loop {
            let failed = tokio::select! {
                ended = passes.tasks.join_next() => match ended {
                    Some(Ok((id, ended))) => passes.take_ended(id, ended),
                    Some(Err(error)) => Err(AgentError::Part(error.to_string())),
                    None => break,
                },
                Some(_) = watches.join_next() => Err(AgentError::Part("its watch of the kubernetes api ended unexpectedly".to_owned())),
                _ = looks.tick(), if passes.running.len() > 1 && passes.joining.is_none() => {
                    passes.look_who_is_near(Instant::now());
                    Ok(())
                }
            };
            if failed.is_err() {
                result = failed;
                passes.stop.cancel();
            }
        }
        background.cancel();
        for task in serving.into_iter().flatten() {
            if let Err(error) = task.await
                && result.is_ok()
            {
                result = Err(AgentError::Part(error.to_string()));
            }
        }
        result
    }

    /// Begins a pass for members that are in step, to the ends of files or until they meet others.
    fn begin(&mut self, members: Vec<Member>, meeting: Option<&Arc<Meeting>>) -> PassId {
        let (id, stop) = (self.begun, self.stop.child_token());
        self.begun += 1;
        let (likeness, apart) = (members[0].likeness(), members.iter().map(|member| member.apart).max().unwrap_or_default());
        let count = members.len();
        let mut agent = Agent::new(members, self.members, &self.continuing);
        if let Some(meeting) = meeting {
            agent = agent.up_to(Arc::clone(meeting));
        }
        agent.views().into_iter().for_each(|view| self.views.show(view));
        let (positions, all_answer) = (agent.positions().clone(), Arc::clone(agent.all_answer()));
        self.running.insert(id, Running { likeness, members: count, positions, all_answer, stop: stop.clone(), apart, near_since: None });
        self.continuing.metrics.passes.inc();
        let run = agent.run(self.cache.clone(), stop, self.stop.clone());
        self.tasks.spawn(async move { (id, run.await) });
        id
    }

    fn begin_all(&mut self, passes: Vec<Vec<Member>>) {
        for members in passes {
            self.begin(members, None);
        }
    }

    fn take_ended(&mut self, id: PassId, ended: Ended) -> Result<(), AgentError> {
        self.continuing.metrics.passes.dec();
        self.running.remove(&id);
        let end = ended.end?;
        if self.stop.is_cancelled() {
            return Ok(());
        }
        match (&mut self.joining, end) {
            (Some(joining), _) if joining.awaited.contains(&id) => {
                joining.take(id, ended.members, ended.is_settled);
                self.go_on_joining();
            }
            (_, ReadingEnd::Lag(laggards)) => self.part(ended.members, &laggards),
            (_, ReadingEnd::Shutdown) => {}
        }
        Ok(())
    }

    /// Those at the places `laggards` hold up the others.
    fn part(&mut self, members: Vec<Member>, laggards: &[usize]) {
        let mut in_step = Vec::new();
        for (place, mut member) in members.into_iter().enumerate() {
            if laggards.contains(&place) {
                tracing::info!(client = member.name, "this client does not keep up with others; it is read for by itself");
                member.part(Instant::now());
                self.begin(vec![member], None);
            } else {
                in_step.push(member);
            }
        }
        self.begin(in_step, None);
    }

    /// Ends passes that have been near another one for long enough, to join them with it.
    fn look_who_is_near(&mut self, now: Instant) {
        let mut by_size: Vec<PassId> = self.running.keys().copied().collect();
        by_size.sort_by_key(|id| std::cmp::Reverse(self.running[id].members));
        let mut ready: BTreeMap<PassId, Vec<PassId>> = BTreeMap::new();
        for (index, id) in by_size.iter().enumerate() {
            let pass = &self.running[id];
            let larger = by_size[..index].iter().find(|other| self.running[other].likeness.is_like(&pass.likeness));
            let Some(larger) = larger else { continue };
            let near_since = pass.is_near(&self.running[larger]).then(|| pass.near_since.unwrap_or(now));
            if near_since.is_some_and(|since| now.saturating_duration_since(since) >= pass.apart) {
                ready.entry(*larger).or_default().push(*id);
            }
            self.running.get_mut(id).expect("it is one of them").near_since = near_since;
        }
        if let Some((larger, joined)) = ready.pop_first() {
            joined.iter().for_each(|id| self.running[id].stop.cancel());
            self.joining = Some(Joining::begin(joined, larger));
        }
    }

    fn go_on_joining(&mut self) {
        let Some(joining) = self.joining.take_if(|joining| joining.awaited.is_empty()) else { return };
        match joining.go_on(|pass| self.running.contains_key(&pass)) {
            Next::End(larger, joining) => {
                self.running[&larger].stop.cancel();
                self.joining = Some(joining);
            }
            Next::CatchUp { meeting, behind, mut joining } => {
                for members in behind {
                    let id = self.begin(members, Some(&meeting));
                    let pass = &self.running[&id];
                    tokio::spawn(Arc::clone(&meeting).wait_for(pass.positions.clone(), pass.members, pass.stop.clone()));
                    joining.awaited.insert(id);
                }
                self.joining = Some(joining);
            }
            Next::GoOn(passes) => self.begin_all(passes),
        }
    }
}
