//! The API's events: all of them listed in pieces, then what changes.

use futures::{Stream, StreamExt};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};

/// Events of one answer.
const PAGE: u32 = 500;
/// The server ends a watch after this many seconds.
const WATCH_SECONDS: u32 = 290;
const GONE: u16 = 410;

#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    /// The version is too old to be gone on from.
    #[error("the place in the events is not known any more")]
    Expired,
    #[error("the kubernetes api answered: {0}")]
    Api(#[source] Box<kube::Error>),
}

impl From<kube::Error> for FeedError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == GONE => Self::Expired,
            _ => Self::Api(Box::new(error)),
        }
    }
}

/// A change: the event if it is to be sent, and the version behind it.
pub(super) type Change = (Option<Event>, String);

pub(super) struct Feed {
    api: Api<Event>,
}

impl Feed {
    pub(super) fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }

    /// All events there are, and the version from which to watch.
    pub(super) async fn list(&self) -> Result<(Vec<Event>, String), FeedError> {
        let mut events = Vec::new();
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page = self.api.list(&parameters).await?;
            events.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok((events, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }

    /// What changes after `version`, until the server ends it.
    pub(super) async fn watch(&self, version: &str) -> Result<impl Stream<Item = kube::Result<WatchEvent<Event>>>, FeedError> {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        Ok(self.api.watch(&parameters, version).await?)
    }
}

/// The next change; `None` at the end.
pub(super) async fn next(changes: &mut (impl Stream<Item = kube::Result<WatchEvent<Event>>> + Unpin)) -> Result<Option<Change>, FeedError> {
    let Some(change) = changes.next().await else { return Ok(None) };
    match change? {
        WatchEvent::Added(event) | WatchEvent::Modified(event) => {
            let version = event.resource_version().unwrap_or_default();
            Ok(Some((Some(event), version)))
        }
        // Events expire; that says nothing.
        WatchEvent::Deleted(event) => Ok(Some((None, event.resource_version().unwrap_or_default()))),
        WatchEvent::Bookmark(bookmark) => Ok(Some((None, bookmark.metadata.resource_version))),
        WatchEvent::Error(status) => Err(kube::Error::Api(status).into()),
    }
}
