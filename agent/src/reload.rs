//! Taking a new configuration while running.
//!
//! A new configuration is read and checked whole first; a wrong one changes nothing. Then the readers stop, what they read is sent and positions are
//! written, and reading goes on from there with the new one: at a record boundary behind everything sent; what may be stored is waited for without end, as the new
//! one may give it other labels. Files
//! that were deleted meanwhile are handed over by descriptor ([`crate::tail::handover`]). Metrics go on counting. Should the new
//! one not start, the old one is started again.

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
    /// Open files, by the pass over them that reads them.
    handovers: Arc<Mutex<HashMap<String, Handover>>>,
}

impl Continuing {
    pub(crate) fn new() -> Self {
        Self { metrics: Metrics::new(), reload: None, news: PodNews::default(), ending: Ending::default(), handovers: Arc::default() }
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
    let mut continuing = Continuing::new();
    let mut agent = Running::start(&config, &mut continuing, &requests, &shutdown).await?;
    loop {
        let asker = tokio::select! {
            ended = &mut agent.ended => return Ok(ended.unwrap_or(Ok(()))?),
            Some(asker) = incoming.recv() => asker,
        };
        let outcome = match read() {
            Ok(new) => {
                agent.stop().await?;
                let next = Running::start(&new, &mut continuing, &requests, &shutdown).await;
                match next {
                    Ok(started) => {
                        (agent, config) = (started, new);
                        Ok(())
                    }
                    Err(error) => {
                        agent = Running::start(&config, &mut continuing, &requests, &shutdown).await?;
                        Err(error.to_string())
                    }
                }
            }
            Err(problem) => Err(problem),
        };
        let metrics = &continuing.metrics;
        match &outcome {
            Ok(()) => drop((metrics.reload_success.inc(), tracing::info!("the new configuration is taken"))),
            Err(problem) => drop((metrics.reload_fail.inc(), tracing::error!(problem, "the old configuration stays"))),
        }
        // Whoever asked may not wait for the answer.
        drop(asker.send(outcome));
    }
}

/// One configuration's agent.
struct Running {
    stop: CancellationToken,
    ending: Ending,
    ended: oneshot::Receiver<Result<(), AgentError>>,
}

impl Running {
    async fn start(
        config: &Config,
        continuing: &mut Continuing,
        requests: &ReloadRequests,
        shutdown: &CancellationToken,
    ) -> Result<Self, StartError> {
        continuing.reload = config.enable_reload.then(|| requests.clone());
        let stop = shutdown.child_token();
        continuing.ending = Ending { replaced: CancellationToken::new(), shutdown: shutdown.clone() };
        let handle: AgentHandle = start_with(config.clone(), continuing.clone(), stop.clone()).await?;
        let (sender, ended) = oneshot::channel();
        tokio::spawn(async move { drop(sender.send(handle.join().await)) });
        Ok(Self { stop, ending: continuing.ending.clone(), ended })
    }

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
