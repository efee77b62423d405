//! The passes while they run: one for all clients that are in step, and one more for each that does not keep up.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Surface;
use super::member::{Member, together};
use crate::agent::{Agent, Ended};
use crate::enrich::pods::PodCache;
use crate::handle::AgentError;
use crate::observe::pass::PassViews;
use crate::readers::ReadingEnd;
use crate::reload::Continuing;

pub(crate) struct Passes {
    running: JoinSet<Ended>,
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
        let stop = shutdown.child_token();
        let mut passes = Self { running: JoinSet::new(), views, cache, continuing, members: members.len(), stop };
        together(members).into_iter().for_each(|members| passes.begin(members));
        let mut result = Ok(());
        loop {
            let failed = tokio::select! {
                ended = passes.running.join_next() => match ended {
                    Some(ended) => passes.go_on(ended),
                    None => break,
                },
                Some(_) = watches.join_next() => Err(AgentError::Part("its watch of the kubernetes api ended unexpectedly".to_owned())),
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

    fn begin(&mut self, members: Vec<Member>) {
        let agent = Agent::new(members, self.members, &self.continuing);
        agent.views().into_iter().for_each(|view| self.views.show(view));
        self.continuing.metrics.passes.inc();
        self.running.spawn(agent.run(self.cache.clone(), self.stop.clone()));
    }

    /// After the end of a pass: those who held up others are read for by themselves.
    fn go_on(&mut self, ended: Result<Ended, JoinError>) -> Result<(), AgentError> {
        self.continuing.metrics.passes.dec();
        let Ended { members, end } = ended.map_err(|error| AgentError::Part(error.to_string()))?;
        let ReadingEnd::Lag(laggards) = end? else { return Ok(()) };
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let mut in_step = Vec::new();
        for (place, member) in members.into_iter().enumerate() {
            if laggards.contains(&place) {
                tracing::info!(client = member.name, "this client does not keep up with others; it is read for by itself from now on");
                self.begin(vec![member]);
            } else {
                in_step.push(member);
            }
        }
        self.begin(in_step);
        Ok(())
    }
}
