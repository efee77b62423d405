//! Hands a request on to another server and its answer back, WebSockets included. A connection for each request.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};
use axum::response::Response;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::status::Failure;

/// Headers of one connection, not of what is sent over it.
const HOP_BY_HOP: [HeaderName; 6] =
    [header::CONNECTION, header::PROXY_AUTHENTICATE, header::PROXY_AUTHORIZATION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// `request` has the path and the `Host` that the other server shall see.
pub(crate) async fn forward(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request,
) -> Result<Response, Failure> {
    let failed = |error: hyper::Error| Failure::unavailable(format!("error trying to reach service: {error}"));
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let inbound = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    strip(request.headers_mut());
    if let Some(protocol) = upgrade {
        request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(header::UPGRADE, protocol);
    }
    *request.version_mut() = Version::HTTP_11;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(request).await.map_err(failed)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(inbound) = inbound else {
            return Err(Failure::unavailable("the service changes the protocol without being asked to"));
        };
        tokio::spawn(join(inbound, hyper::upgrade::on(&mut response)));
        return Ok(response.map(|_| Body::empty()));
    }
    strip(response.headers_mut());
    Ok(response.map(Body::new))
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Until either side ends.
async fn join(inbound: hyper::upgrade::OnUpgrade, outbound: hyper::upgrade::OnUpgrade) {
    if let (Ok(inbound), Ok(outbound)) = tokio::join!(inbound, outbound) {
        let (mut inbound, mut outbound) = (TokioIo::new(inbound), TokioIo::new(outbound));
        // However it ended, both sides are closed now.
        drop(tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await);
    }
}
