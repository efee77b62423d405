//! The threads that read and the lanes that send: how many, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle as ThreadHandle;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::handle::{AgentError, StartError};
use crate::tail::stream_limit::StreamLimit;

const MAX_READERS: usize = 4;
/// Batches closed and not acknowledged, all lanes together.
pub(crate) const IN_FLIGHT: usize = 4;

/// What all readers count together.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) open_files: Arc<AtomicI64>,
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
    /// Tasks of others without which nothing goes on, as the one that writes positions.
    pub(crate) needed: Vec<AbortHandle>,
}

impl Readers {
    /// Returns when `shutdown` comes, or with an error when a part ends before, which only a panic makes it do. Then the whole ends, and its next
    /// start goes on from the positions.
    pub(crate) async fn watch_over(&mut self, shutdown: &CancellationToken) -> Result<(), AgentError> {
        const LOOK_EVERY: Duration = Duration::from_secs(1);
        while !shutdown.is_cancelled() {
            if let Some(part) = self.ended_part() {
                return Err(AgentError::Part(format!("its {part} ended unexpectedly")));
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(())
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

    /// Stops reading, sends what was read until `timeout`, then lets go.
    pub(crate) async fn stop(mut self, timeout: Duration) {
        self.stop.store(true, Ordering::Release);
        self.events.0.cancel();
        let deadline = Instant::now() + timeout;
        for lane in &mut self.lanes {
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, &mut *lane).await.is_err() {
                tracing::warn!("not everything was sent before the end; it is read again at the next start");
                lane.abort();
            }
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
