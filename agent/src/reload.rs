//! Taking a new configuration while running.
//!
//! A new configuration is read and checked whole first; a wrong one changes nothing. Then the readers stop, what they read is sent and positions are
//! written, and reading goes on from there with the new one: at a record boundary behind everything sent; what may be stored is waited for without end, as the new
//! one may give it other labels. Files
//! that were deleted meanwhile are handed over by descriptor ([`crate::tail::handover`]). Metrics go on counting, and the socket that HTTP is served on
//! stays open ([`Sockets`]). Should the new one not start, the old one is started again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::start_with;
use crate::config::Config;
use crate::discover::pod_news::PodNews;
use crate::handle::{AgentError, AgentHandle, StartError};
use crate::metrics::Metrics;
use crate::sockets::Sockets;
use crate::tail::handover::Handover;

/// Between two looks at the configuration file.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Somebody who waits for the outcome.
type Request = oneshot::Sender<Result<(), String>>;

/// Where a new configuration is asked for.
pub type ReloadRequests = mpsc::Sender<Request>;

/// What goes on over a change of configuration.
#[derive(Clone)]
pub(crate) struct Continuing {
    pub(crate) metrics: Arc<Metrics>,
    /// Where the HTTP surface asks for a reload.
    pub(crate) reload: Option<ReloadRequests>,
    /// What the API tells of pods, for those who look for files.
    pub(crate) news: PodNews,
    pub(crate) ending: Ending,
    pub(crate) sockets: Sockets,
    /// Open files, by the pass over them that reads them.
    handovers: Arc<Mutex<HashMap<String, Handover>>>,
}

impl Continuing {
    pub(crate) fn new() -> Self {
        Self {
            metrics: Metrics::new(),
            reload: None,
            news: PodNews::default(),
            ending: Ending::default(),
            sockets: Sockets::default(),
            handovers: Arc::default(),
        }
    }

    /// Where the pass of that name leaves and finds open files.
    pub(crate) fn handover(&self, pass: &str) -> Handover {
        self.handovers.lock().entry(pass.to_owned()).or_default().clone()
    }
}

/// Why a configuration's agent ends, if it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Another configuration comes after it.
    replaced: CancellationToken,
    /// Of the whole.
    shutdown: CancellationToken,
}

impl Ending {
    /// Whether another configuration waits for its end.
    pub(crate) fn is_reload(&self) -> bool {
        self.replaced.is_cancelled() && !self.shutdown.is_cancelled()
    }
}

/// Why an agent that takes new configurations ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Asks for a reload and waits for its outcome.
pub async fn request(requests: &ReloadRequests) -> Result<(), String> {
    let (sender, outcome) = oneshot::channel();
    let is_ending = || "the agent is ending".to_owned();
    requests.send(sender).await.map_err(|_| is_ending())?;
    outcome.await.map_err(|_| is_ending())?
}

/// A channel for [`run`].
pub fn channel() -> (ReloadRequests, mpsc::Receiver<Request>) {
    mpsc::channel(4)
}

/// Runs the agent until `shutdown`. Each request lets `read` give a new configuration, or say why there is none.
pub async fn run(
    mut config: Config,
    read: impl Fn() -> Result<Config, String>,
    (requests, mut incoming): (ReloadRequests, mpsc::Receiver<Request>),
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let mut launcher = Launcher { continuing: Continuing::new(), requests, shutdown };
    let mut agent = launcher.start(&config).await?;
    loop {
        let asker = tokio::select! {
            ended = &mut agent.ended => return Ok(ended.unwrap_or(Ok(()))?),
            Some(asker) = incoming.recv() => asker,
        };
        let new = read().and_then(|new| launcher.bind_first(&config, &new).map(|()| new).map_err(|error| error.to_string()));
        let outcome = match new {
            Ok(new) => {
                let (running, replaced) = launcher.replace(agent, &config, &new).await?;
                agent = running;
                replaced.map(|()| config = new)
            }
            Err(problem) => Err(problem),
        };
        launcher.continuing.sockets.keep(config.served_at());
        let metrics = &launcher.continuing.metrics;
        match &outcome {
            Ok(()) => drop((metrics.reload_success.inc(), tracing::info!("the new configuration is taken"))),
            Err(problem) => drop((metrics.reload_fail.inc(), tracing::error!(problem, "the old configuration stays"))),
        }
        // Whoever asked may not wait for the answer.
        drop(asker.send(outcome));
    }
}

/// Starts agents, one after the other.
struct Launcher {
    continuing: Continuing,
    requests: ReloadRequests,
    shutdown: CancellationToken,
}

impl Launcher {
    async fn start(&mut self, config: &Config) -> Result<Running, StartError> {
        self.continuing.reload = config.enable_reload.then(|| self.requests.clone());
        let stop = self.shutdown.child_token();
        self.continuing.ending = Ending { replaced: CancellationToken::new(), shutdown: self.shutdown.clone() };
        let handle: AgentHandle = start_with(config.clone(), self.continuing.clone(), stop.clone()).await?;
        let (sender, ended) = oneshot::channel();
        tokio::spawn(async move { drop(sender.send(handle.join().await)) });
        Ok(Running { stop, ending: self.continuing.ending.clone(), ended })
    }

    /// Binds where `new` listens while `old` is still served: an address that somebody else has changes nothing.
    fn bind_first(&self, old: &Config, new: &Config) -> Result<(), StartError> {
        match new.served_at() {
            Some(address) if !shares_port(old, new) => self.continuing.sockets.listener(address).map(drop),
            _ => Ok(()),
        }
    }

    /// Lets an agent with `new` take the place of `agent`, which runs `old`. If it does not start, one with `old` goes on, and the text says why.
    async fn replace(&mut self, agent: Running, old: &Config, new: &Config) -> Result<(Running, Result<(), String>), RunError> {
        self.continuing.metrics.files.begin_leaving();
        agent.stop().await?;
        if shares_port(old, new) {
            self.continuing.sockets.keep(None);
        }
        match self.start(new).await {
            Ok(running) => Ok((running, Ok(()))),
            Err(problem) => {
                self.continuing.sockets.keep(old.served_at());
                Ok((self.start_again(old).await?, Err(problem.to_string())))
            }
        }
    }

    /// Lines are sent on also if somebody has taken the address meanwhile.
    async fn start_again(&mut self, old: &Config) -> Result<Running, StartError> {
        match self.start(old).await {
            Err(problem @ StartError::Listen { .. }) => {
                tracing::error!(%problem, "HTTP is not served until the next reload");
                self.start(&Config { listen: None, ..old.clone() }).await
            }
            started => started,
        }
    }
}

/// Whether one of two different addresses may only be free once the other is: `0.0.0.0` takes a port of every one.
fn shares_port(old: &Config, new: &Config) -> bool {
    matches!((old.served_at(), new.served_at()), (Some(old), Some(new)) if old != new && old.port() == new.port())
}

/// One configuration's agent.
struct Running {
    stop: CancellationToken,
    ending: Ending,
    ended: oneshot::Receiver<Result<(), AgentError>>,
}

impl Running {
    async fn stop(self) -> Result<(), AgentError> {
        self.ending.replaced.cancel();
        self.stop.cancel();
        self.ended.await.unwrap_or(Ok(()))
    }
}

/// Asks for a reload whenever the content of one of `files` changes, until `stop`.
pub async fn watch_files(files: Vec<PathBuf>, requests: ReloadRequests, stop: CancellationToken) {
    let content = || files.iter().map(|path| std::fs::read(path).ok()).collect::<Vec<_>>();
    let mut known = content();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = content();
        // A file that is just being replaced is looked at again.
        if now != known && now.iter().all(Option::is_some) {
            known = now;
            if let Err(problem) = request(&requests).await {
                tracing::warn!(problem, "the changed configuration is not taken");
            }
        }
    }
}
