//! A watch that goes on whatever happens, and how it learns what is there: from the watch itself where the server streams that, from a list before it
//! elsewhere.
//!
//! A streamed list spares the server the memory of a whole list for each agent. A server that does not know it refuses the request, or never tells the end of
//! what is there; then lists are asked for from there on. Errors back off with jitter and are counted; what was told before stays true meanwhile.

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::watch_backoff::WatchBackoff;
use crate::metrics::Metrics;

/// Longest silence before the end of a streamed list is told.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Why a streamed list is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server does not stream lists.
    Unsupported,
    /// The watch is over, which it never is by itself.
    Over,
}

/// Watches what `config` asks for and hands every event to `apply`; does not return.
pub(crate) async fn follow<K>(api: Api<K>, config: Config, spread: Duration, metrics: &Metrics, mut apply: impl FnMut(Event<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let backoff = || WatchBackoff::new(spread);
    let streamed = watcher::watcher(api.clone(), config.clone().streaming_lists()).backoff(backoff());
    if consume(streamed, true, LONGEST_SILENCE, metrics, &mut apply).await == Ended::Unsupported {
        tracing::info!("the kubernetes api does not stream lists; asking for whole ones");
        consume(watcher::watcher(api, config).backoff(backoff()), false, LONGEST_SILENCE, metrics, &mut apply).await;
    }
}

async fn consume<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    is_streamed: bool,
    longest_silence: Duration,
    metrics: &Metrics,
    mut apply: impl FnMut(Event<K>),
) -> Ended {
    let mut events = std::pin::pin!(events);
    // The end of what is there is awaited.
    let mut is_beginning = false;
    loop {
        let event = if is_streamed && is_beginning {
            let Ok(event) = tokio::time::timeout(longest_silence, events.next()).await else { return Ended::Unsupported };
            event
        } else {
            events.next().await
        };
        match event {
            Some(Ok(event)) => {
                is_beginning = matches!(event, Event::Init | Event::InitApply(_));
                note_event(metrics);
                apply(event);
            }
            Some(Err(error)) if is_streamed && is_refusal(&error) => return Ended::Unsupported,
            Some(Err(error)) => {
                is_beginning = false;
                metrics.kube_watch_errors.inc();
                tracing::warn!(error = %error, "watch of the kubernetes api failed; what is known stays in use");
            }
            None => return Ended::Over,
        }
    }
}

/// Something was told just now.
pub(super) fn note_event(metrics: &Metrics) {
    metrics.kube_last_event.set(crate::clock::now() / 1_000_000_000);
}

/// Whether the server will not have a watch with its parameters.
fn is_refusal(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::core::Status;

    type Told = Result<Event<Namespace>, watcher::Error>;

    fn refused(code: u16) -> Told {
        let status = Status { code, ..Status::failure("sendInitialEvents is forbidden", "Invalid") };
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed())))
    }

    /// How a watch that is told so ends, after how many events and counted errors.
    async fn ended(told: Vec<Told>, is_streamed: bool) -> (Option<Ended>, usize, u64) {
        let (metrics, mut events) = (Metrics::new(), 0);
        let told = stream::iter(told).chain(stream::pending());
        let watch = consume(told, is_streamed, LONGEST_SILENCE, &metrics, |_| events += 1);
        let ended = tokio::time::timeout(Duration::from_secs(3600), watch).await.ok();
        (ended, events, metrics.kube_watch_errors.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_stream_lists_is_asked_for_whole_ones() {
        let pod = || Ok(Event::InitApply(Namespace::default()));
        assert_eq!(ended(vec![refused(422)], true).await, (Some(Ended::Unsupported), 0, 0));
        assert_eq!(ended(vec![Ok(Event::Init), pod(), refused(400)], true).await, (Some(Ended::Unsupported), 2, 0));
        // It sends what is there and never says that this is all.
        assert_eq!(ended(vec![Ok(Event::Init), pod()], true).await, (Some(Ended::Unsupported), 2, 0));
        // It was quiet for an hour after that; or it is not there at all; or its lists are whole ones.
        assert_eq!(ended(vec![Ok(Event::Init), pod(), Ok(Event::InitDone)], true).await, (None, 3, 0));
        assert_eq!(ended(vec![refused(503), refused(429)], true).await, (None, 0, 2));
        assert_eq!(ended(vec![Ok(Event::Init), refused(422)], false).await, (None, 1, 1));
    }
}
