//! A tail that is passed on: frames of the aggregator to the client, until either goes away or the right to read is gone.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::http::HeaderMap;
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::apiserver::status::Refused;

/// How often it is asked whether the right still holds. Answers are remembered, so this asks the Kubernetes API far less often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
/// What a client is told whose rights are gone.
const WITHDRAWN: &str = "the right to read these logs was withdrawn";
/// The close code for a breach of policy.
const POLICY: u16 = 1008;
/// The close code for an end of service.
const AWAY: u16 = 1001;

/// An aggregator that follows.
pub(super) type Following = WebSocketStream<TcpStream>;

/// Opens the aggregator's side. `url`: as of a GET, of a plain HTTP server.
pub(super) async fn open(url: &str, headers: HeaderMap) -> Result<Following, Refused> {
    let unavailable = |error: &dyn std::fmt::Display| Refused::Unavailable { reason: error.to_string() };
    let address = url.strip_prefix("http://").ok_or_else(|| unavailable(&"tails need an aggregator that is reached by http://"))?;
    let mut request = format!("ws://{address}").into_client_request().map_err(|error| unavailable(&error))?;
    request.headers_mut().extend(headers);
    let uri = request.uri();
    let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(80));
    let opened = timeout(PATIENCE, async {
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|error| unavailable(&error))?;
        client_async(request, stream).await.map_err(refused)
    });
    let (following, _) = opened.await.map_err(|_| unavailable(&"it did not answer in time"))??;
    Ok(following)
}

/// Parameters that the aggregator does not take are the client's matter.
fn refused(error: tokio_tungstenite::tungstenite::Error) -> Refused {
    match error {
        tokio_tungstenite::tungstenite::Error::Http(answer) if answer.status().is_client_error() => {
            let body = answer.body().as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
            Refused::BadRequest { text: body.unwrap_or_else(|| "the aggregator refuses to follow this".to_owned()) }
        }
        other => Refused::Unavailable { reason: other.to_string() },
    }
}

/// Passes frames on; gives the bytes of those sent. `still_holds` is asked again and again.
pub(super) async fn pass<F>(mut client: WebSocket, mut following: Following, still_holds: impl Fn() -> F) -> u64
where
    F: Future<Output = bool>,
{
    let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    let mut bytes = 0;
    let end = loop {
        tokio::select! {
            frame = following.next() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    bytes += text.len() as u64;
                    if client.send(Message::Text(text.as_str().into())).await.is_err() {
                        break None;
                    }
                }
                Some(Ok(Frame::Close(Some(close)))) => break Some(CloseFrame { code: close.code.into(), reason: close.reason.as_str().into() }),
                Some(Ok(Frame::Close(None)) | Err(_)) | None => break Some(CloseFrame { code: AWAY, reason: "the aggregator went away".into() }),
                Some(Ok(_)) => {}
            },
            said = client.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => {}
            },
            _ = looks.tick() => {
                if !still_holds().await {
                    break Some(CloseFrame { code: POLICY, reason: WITHDRAWN.into() });
                }
            }
        }
    };
    // Both ends may be gone already, which is as good.
    if let Some(end) = end {
        drop(client.send(Message::Close(Some(end))).await);
    }
    drop(following.close(None).await);
    bytes
}
