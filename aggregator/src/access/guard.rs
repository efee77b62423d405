//! The layer around all routes: no handler runs before it is known what may be read.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::access::control::{AccessControl, Reader};
use crate::access::question::Question;
use crate::access::routes::RouteNeeds;
use crate::http::error::ApiError;
use crate::http::form::MAX_FORM_BYTES;

/// Puts the layer around a router.
pub fn wrap(router: Router, control: AccessControl) -> Router {
    router.layer(from_fn_with_state(control, guard))
}

async fn guard(State(control): State<AccessControl>, request: Request, next: Next) -> Response {
    match admitted(&control, request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// The request with the rights it has. Paths that no route has pass: there is nothing behind them.
async fn admitted(control: &AccessControl, request: Request) -> Result<Request, ApiError> {
    let needs = request.extensions().get::<MatchedPath>().map_or(RouteNeeds::Nothing, |path| RouteNeeds::of(path.as_str()));
    if needs == RouteNeeds::Nothing {
        return Ok(request);
    }
    let reader = control.reader(request.headers()).await?;
    let asks_for_logs = matches!(needs, RouteNeeds::Logs | RouteNeeds::LiveLogs);
    let (mut request, question) = match reader {
        Reader::Person(_) if asks_for_logs => with_question(control, request).await?,
        _ => (request, None),
    };
    let rights = control.rights(needs, reader, request.headers(), question).await?;
    request.extensions_mut().insert(rights);
    Ok(request)
}

/// Reads the form of a request, and hands the same request on.
async fn with_question(control: &AccessControl, request: Request) -> Result<(Request, Option<Question>), ApiError> {
    let (parts, body) = request.into_parts();
    let too_large = |_| ApiError::BadRequest { text: format!("the form was cut off, or is larger than {MAX_FORM_BYTES} bytes") };
    let body: Bytes = to_bytes(body, MAX_FORM_BYTES).await.map_err(too_large)?;
    let question = Question::of(&parts.headers, parts.uri.query(), &body, control.clock.now());
    Ok((Request::from_parts(parts, Body::from(body)), question))
}
