//! The threads that read and the lanes that send: how many, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle as ThreadHandle;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::handle::{AgentError, StartError};
use crate::push::doubt::Doubts;
use crate::push::laggards::{self, Laggards};
use crate::reload::Ending;
use crate::tail::stream_limit::StreamLimit;

const MAX_READERS: usize = 4;
/// Between two looks at what ends.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// So long clients wait for answers to others when passes end that others follow.
pub(crate) const PAUSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Batches closed and not acknowledged, all lanes together.
pub(crate) const IN_FLIGHT: usize = 4;

/// What all readers count together.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) pending_bytes: Arc<AtomicUsize>,
    pub(crate) held_bytes: Arc<AtomicU64>,
    pub(crate) containers: Arc<AtomicUsize>,
    /// Where they are limited.
    pub(crate) streams: Option<Arc<StreamLimit>>,
}

/// A lane to the client of that place among those that are read for together.
pub(crate) struct RunningLane {
    pub(crate) place: usize,
    pub(crate) task: JoinHandle<()>,
}

/// Why reading ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadingEnd {
    Shutdown,
    /// The clients at these places hold up the others.
    Lag(Vec<usize>),
}

/// Threads and lanes, and how to stop them.
pub(crate) struct Readers {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) threads: Vec<ThreadHandle<()>>,
    pub(crate) lanes: Vec<RunningLane>,
    pub(crate) laggards: Laggards,
    /// The task that sends events, and how to end it.
    pub(crate) events: (CancellationToken, Option<JoinHandle<()>>),
    /// What may be stored and is not acknowledged, by the client's place.
    pub(crate) doubts: Vec<Arc<Doubts>>,
    /// Tasks of others without which nothing goes on, as the one that writes positions.
    pub(crate) needed: Vec<AbortHandle>,
}

impl Readers {
    /// Returns when `shutdown` comes or a client lags, or with an error when a part ends before, which only a panic makes it do. Then the whole ends, and
    /// its next start goes on from the positions.
    pub(crate) async fn watch_over(&mut self, shutdown: &CancellationToken) -> Result<ReadingEnd, AgentError> {
        const PARTS_EVERY: Duration = Duration::from_secs(1);
        let look_every = if self.doubts.len() > 1 { laggards::LOOK_EVERY } else { PARTS_EVERY };
        while !shutdown.is_cancelled() {
            if let Some(part) = self.ended_part() {
                return Err(AgentError::Part(format!("its {part} ended unexpectedly")));
            }
            let laggards = self.laggards.look(Instant::now());
            if !laggards.is_empty() {
                return Ok(ReadingEnd::Lag(laggards));
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(look_every) => {}
            }
        }
        Ok(ReadingEnd::Shutdown)
    }

    async fn have_lanes_ended_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let have_ended = || self.lanes.iter().all(|lane| lane.task.is_finished());
        while !have_ended() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
        have_ended()
    }

    fn ended_part(&self) -> Option<String> {
        if let Some(thread) = self.threads.iter().find(|thread| thread.is_finished()) {
            return Some(thread.thread().name().unwrap_or("thread").to_owned());
        }
        let has_ended = |tasks: &[(&str, bool)]| tasks.iter().find(|(_, has_ended)| *has_ended).map(|(name, _)| (*name).to_owned());
        has_ended(&[
            ("sender", self.lanes.iter().any(|lane| lane.task.is_finished())),
            ("source of events", self.events.1.as_ref().is_some_and(JoinHandle::is_finished)),
            ("writer of positions", self.needed.iter().any(AbortHandle::is_finished)),
        ])
    }

    /// Stops reading, sends what was read until `timeout`, then lets go. Before a new configuration it waits for what may be stored as long as that takes,
    /// since the new one may give the same lines other labels. Returns whether everything was sent and answered.
    pub(crate) async fn stop(mut self, timeout: Duration, ending: &Ending) -> bool {
        self.begin_to_stop();
        if !self.have_lanes_ended_within(timeout).await && ending.is_reload() {
            tracing::warn!("the new configuration waits until what was sent is acknowledged, or it might be stored twice");
            let mut until: Option<Instant> = None;
            let has_time = |until: Option<Instant>| until.is_none_or(|until| Instant::now() < until);
            while self.is_in_doubt(None) && has_time(until) && !self.have_lanes_ended_within(LOOK_EVERY).await {
                if !ending.is_reload() {
                    until.get_or_insert(Instant::now() + timeout);
                }
            }
        }
        let is_settled = self.lanes.iter().all(|lane| lane.task.is_finished());
        if !is_settled {
            tracing::warn!("not everything was sent before the end; it is read again at the next start");
        }
        self.let_go().await;
        is_settled
    }

    /// Stops reading since the clients at those places hold up the others: what those were not sent they read by themselves.
    pub(crate) async fn stop_for(mut self, laggards: &[usize], timeout: Duration) {
        self.begin_to_stop();
        // What is under way may be answered yet, and need not be sent again.
        let until = Instant::now() + PAUSE_TIMEOUT.min(timeout);
        while self.is_in_doubt(Some(laggards)) && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.lanes.iter().filter(|lane| laggards.contains(&lane.place)).for_each(|lane| lane.task.abort());
        self.have_lanes_ended_within(timeout).await;
        self.let_go().await;
    }

    fn begin_to_stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.events.0.cancel();
    }

    /// Lets those clients be sent no more than what is in doubt. Returns whether anything is.
    fn is_in_doubt(&self, places: Option<&[usize]>) -> bool {
        let is_meant = |(place, _): &(usize, &Arc<Doubts>)| places.is_none_or(|places| places.contains(place));
        // All are closed, whatever the first says.
        self.doubts.iter().enumerate().filter(is_meant).filter(|(_, doubts)| doubts.close()).count() > 0
    }

    async fn let_go(&mut self) {
        self.lanes.iter().for_each(|lane| lane.task.abort());
        if let Some(events) = self.events.1.take() {
            events.abort();
        }
        // With the lanes gone the readers wait for nothing.
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().filter_map(|thread| thread.join().err()).count()).await;
        match joined {
            Ok(0) => {}
            failed => tracing::error!(?failed, "threads ended by a panic"),
        }
    }
}

pub(crate) fn spawn_thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<ThreadHandle<()>, StartError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)
}

/// What is configured, or four fifths of what the system lets this process open.
pub(crate) fn allowed_open_files(configured: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    configured.min(usize::try_from(limit / 5 * 4).unwrap_or(usize::MAX))
}

pub(crate) fn reader_count(configured: usize) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    if configured > 0 { configured } else { processors().min(MAX_READERS) }
}
