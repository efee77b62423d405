//! Who is answered where clients are known by certificates: they, and whoever probes or scrapes, which tells nothing of what is stored.

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::tls::Peer;

const OPEN: [&str; 3] = ["/live", "/ready", "/metrics"];

/// A layer around all routes of a server with [`Peer`]s.
pub(crate) async fn known_only(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    if peer.is_known || OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "a certificate is needed that an authority of `tls.client_ca` has signed\n").into_response()
}
