//! The way to one client: a bounded queue of frames, a task that writes them and pings.
//!
//! A full queue means that the client reads too slowly; whoever fills it decides what to do.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Frames that wait for a slow client.
const QUEUED_FRAMES: usize = 10;
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long a client has to take the last message.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Outbox {
    frames: mpsc::Sender<String>,
    writer: JoinHandle<SplitSink<WebSocket, Message>>,
    reader: SplitStream<WebSocket>,
}

impl Outbox {
    pub(super) fn new(socket: WebSocket) -> Self {
        let (sink, reader) = socket.split();
        let (frames, queue) = mpsc::channel(QUEUED_FRAMES);
        Self { frames, writer: tokio::spawn(write_all(sink, queue)), reader }
    }

    /// Waits for room; `false` if the client is gone.
    pub(super) async fn send(&self, frame: String) -> bool {
        self.frames.send(frame).await.is_ok()
    }

    pub(super) fn has_room(&self) -> bool {
        self.frames.capacity() > 0
    }

    /// Queues a frame if there is room; `false` otherwise.
    pub(super) fn offer(&self, frame: String) -> bool {
        self.frames.try_send(frame).is_ok()
    }

    /// Returns when the client goes away; what it says until then is read and ignored.
    pub(super) async fn gone(&mut self) {
        while let Some(Ok(message)) = self.reader.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    }

    /// Sends what waits, then says why this is the end; gives up on a client that does not read.
    pub(super) async fn close(self, reason: &str) {
        let Self { frames, mut writer, .. } = self;
        drop(frames);
        let Ok(Ok(mut sink)) = timeout(CLOSE_TIMEOUT, &mut writer).await else {
            writer.abort();
            return;
        };
        /// Bytes that a close message has room for.
        const LONGEST_REASON: usize = 123;
        let reason = &reason[..reason.floor_char_boundary(LONGEST_REASON)];
        let last = Message::Close(Some(CloseFrame { code: close_code::ERROR, reason: reason.into() }));
        if timeout(CLOSE_TIMEOUT, sink.send(last)).await.is_err() {
            tracing::debug!(reason, "a tail ends without the client being told");
        }
    }

    /// Ends without a word: the client is gone.
    pub(super) fn abandon(self) {
        self.writer.abort();
    }
}

/// Writes frames until there are no more; ends early if the client is gone.
async fn write_all(mut sink: SplitSink<WebSocket, Message>, mut queue: mpsc::Receiver<String>) -> SplitSink<WebSocket, Message> {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let message = tokio::select! {
            frame = queue.recv() => match frame {
                Some(frame) => Message::Text(frame.into()),
                None => return sink,
            },
            _ = pings.tick() => Message::Ping(Default::default()),
        };
        if sink.send(message).await.is_err() {
            return sink;
        }
    }
}
