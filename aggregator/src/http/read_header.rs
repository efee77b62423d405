//! `X-Tailwater-Read`: how a request wants the store to be read, as words apart by commas.
//!
//! - `strict`: the store is listed before the request is answered, so that the answer holds all that any replica has acknowledged until then.
//!   Without it, what others stored shows within `discover_interval`. Lists run one at a time: one that a request waited for began after the
//!   request came.
//! - `partial`: objects that are damaged or gone are passed over instead of failing the request. The answer names each in a header
//!   `X-Tailwater-Warning`; those of queries and volumes also among their `warnings`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tailwater_engine::QueryError;
use tailwater_storage::catalog::Catalog;
use tailwater_storage::tolerance::Tolerance;
use tokio::sync::Mutex;

use crate::http::error::ApiError;
use crate::http::words;

const READ_HEADER: &str = "x-tailwater-read";
const WARNING_HEADER: HeaderName = HeaderName::from_static("x-tailwater-warning");
/// More of them could be longer than what proxies take for all headers.
const MOST_WARNINGS: usize = 8;

/// Heeds the header. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadHeader {
    catalog: Arc<Catalog>,
    one_at_a_time: Arc<Mutex<()>>,
}

impl ReadHeader {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, one_at_a_time: Arc::default() }
    }

    /// Endpoints that heed the header.
    pub fn heeded_by(&self, family: Router) -> Router {
        family.layer(from_fn_with_state(self.clone(), heed))
    }

    async fn list(&self) -> Result<(), QueryError> {
        let _turn = self.one_at_a_time.lock().await;
        self.catalog.discover(|_, _| ()).await?;
        Ok(())
    }
}

fn asks_for(headers: &HeaderMap, word: &str) -> bool {
    words::lists(headers, READ_HEADER, word)
}

async fn heed(State(header): State<ReadHeader>, mut request: Request, next: Next) -> Response {
    if asks_for(request.headers(), "strict")
        && let Err(error) = header.list().await
    {
        return ApiError::from(error).into_response();
    }
    if !asks_for(request.headers(), "partial") {
        return next.run(request).await;
    }
    let tolerance = Tolerance::of_damage();
    request.extensions_mut().insert(tolerance.clone());
    let mut response = next.run(request).await;
    for warning in header_values(&tolerance.warnings()) {
        response.headers_mut().append(WARNING_HEADER, warning);
    }
    response
}

/// Warnings as values of headers, of too many the first ones and how many more there are.
fn header_values(warnings: &[String]) -> Vec<HeaderValue> {
    let shown = warnings.iter().take(MOST_WARNINGS).cloned();
    let more = warnings.len().checked_sub(MOST_WARNINGS).filter(|more| *more > 0).map(|more| format!("and {more} more objects"));
    let printable = |text: String| text.replace(|character: char| !(' '..='~').contains(&character), "?");
    shown.chain(more).filter_map(|text| HeaderValue::try_from(printable(text)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_list_of_words() {
        for (values, is_strict, is_partial) in [
            (&["strict"][..], true, false),
            (&["partial, Strict"], true, true),
            (&["partial", "strict"], true, true),
            (&["partial"], false, true),
            (&["strictly"], false, false),
            (&[], false, false),
        ] {
            let headers: HeaderMap =
                values.iter().map(|value| (READ_HEADER.parse().expect("a name"), HeaderValue::from_static(value))).collect();
            assert_eq!((asks_for(&headers, "strict"), asks_for(&headers, "partial")), (is_strict, is_partial), "{values:?}");
        }
    }

    #[test]
    fn headers_hold_the_first_warnings_in_plain_text() {
        let texts = |warnings: &[String]| {
            header_values(warnings).iter().map(|value| value.to_str().expect("plain text").to_owned()).collect::<Vec<_>>()
        };
        assert!(texts(&[]).is_empty());
        assert_eq!(texts(&["object `a\nb`: ü".to_owned()]), ["object `a?b`: ?"]);
        let many: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(texts(&many), ["0", "1", "2", "3", "4", "5", "6", "7", "and 2 more objects"]);
    }
}
