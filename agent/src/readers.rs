//! The threads that read and the lanes that send: how many, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle as ThreadHandle;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::handle::{AgentError, StartError};
use crate::push::doubt::Doubts;
use crate::reload::Ending;
use crate::tail::stream_limit::StreamLimit;

const MAX_READERS: usize = 4;
/// Between two looks at what ends.
const LOOK_EVERY: Duration = Duration::from_millis(10);
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

/// Threads and lanes, and how to stop them.
pub(crate) struct Readers {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) threads: Vec<ThreadHandle<()>>,
    pub(crate) lanes: Vec<JoinHandle<()>>,
    /// The task that sends events, and how to end it.
    pub(crate) events: (CancellationToken, Option<JoinHandle<()>>),
    /// What may be stored and is not acknowledged.
    pub(crate) doubts: Arc<Doubts>,
    /// Tasks of others without which nothing goes on, as the one that writes positions.
    pub(crate) needed: Vec<AbortHandle>,
}

impl Readers {
    /// Returns when `shutdown` comes, or with an error when a part ends before, which only a panic makes it do. Then the whole ends, and its next
    /// start goes on from the positions.
    pub(crate) async fn watch_over(&mut self, shutdown: &CancellationToken) -> Result<(), AgentError> {
        const PARTS_EVERY: Duration = Duration::from_secs(1);
        while !shutdown.is_cancelled() {
            if let Some(part) = self.ended_part() {
                return Err(AgentError::Part(format!("its {part} ended unexpectedly")));
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(PARTS_EVERY) => {}
            }
        }
        Ok(())
    }

    async fn have_lanes_ended_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let have_ended = || self.lanes.iter().all(JoinHandle::is_finished);
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
            ("sender", self.lanes.iter().any(JoinHandle::is_finished)),
            ("source of events", self.events.1.as_ref().is_some_and(JoinHandle::is_finished)),
            ("writer of positions", self.needed.iter().any(AbortHandle::is_finished)),
        ])
    }

    /// Stops reading, sends what was read until `timeout`, then lets go. Before a new configuration it waits for what may be stored as long as that takes,
    /// since the new one may give the same lines other labels.
    pub(crate) async fn stop(mut self, timeout: Duration, ending: &Ending) {
        self.stop.store(true, Ordering::Release);
        self.events.0.cancel();
        if !self.have_lanes_ended_within(timeout).await && ending.is_reload() {
            tracing::warn!("the new configuration waits until what was sent is acknowledged, or it might be stored twice");
            let mut until: Option<Instant> = None;
            let has_time = |until: Option<Instant>| until.is_none_or(|until| Instant::now() < until);
            while self.doubts.close() && has_time(until) && !self.have_lanes_ended_within(LOOK_EVERY).await {
                if !ending.is_reload() {
                    until.get_or_insert(Instant::now() + timeout);
                }
            }
        }
        if self.lanes.iter().any(|lane| !lane.is_finished()) {
            tracing::warn!("not everything was sent before the end; it is read again at the next start");
            self.lanes.iter().for_each(JoinHandle::abort);
        }
        if let Some(events) = self.events.1.take() {
            events.abort();
        }
        // With the lanes gone the readers wait for nothing.
        let joined = tokio::task::spawn_blocking(move || self.threads.into_iter().filter_map(|thread| thread.join().err()).count()).await;
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
