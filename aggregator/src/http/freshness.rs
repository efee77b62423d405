//! `X-Tailwater-Read: strict`: the store is listed before the request is answered, so that the answer holds all that any replica has acknowledged
//! until then. Without it, what others stored shows within `discover_interval`.
//!
//! Lists run one at a time: one that a request waited for began after the request came.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tailwater_engine::QueryError;
use tailwater_storage::catalog::Catalog;
use tokio::sync::Mutex;

use crate::http::error::ApiError;

const READ_HEADER: &str = "x-tailwater-read";

/// Lists the store for those who ask for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StrictReads {
    catalog: Arc<Catalog>,
    one_at_a_time: Arc<Mutex<()>>,
}

impl StrictReads {
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, one_at_a_time: Arc::default() }
    }

    /// Endpoints that heed the header.
    pub fn heeded_by(&self, family: Router) -> Router {
        family.layer(from_fn_with_state(self.clone(), list_first))
    }
}

/// Whether a header that lists what is asked for, apart by commas, has `strict`.
fn is_strict(headers: &HeaderMap) -> bool {
    let words = headers.get_all(READ_HEADER).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    words.into_iter().any(|word| word.trim().eq_ignore_ascii_case("strict"))
}

async fn list_first(State(reads): State<StrictReads>, request: Request, next: Next) -> Response {
    if is_strict(request.headers()) {
        let _turn = reads.one_at_a_time.lock().await;
        if let Err(error) = reads.catalog.discover(|_, _| ()).await {
            return ApiError::from(QueryError::from(error)).into_response();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_header_is_a_list_of_words() {
        for (values, expected) in [
            (&["strict"][..], true),
            (&["partial, Strict"], true),
            (&["partial", "strict"], true),
            (&["partial"], false),
            (&["strictly"], false),
            (&[], false),
        ] {
            let headers: HeaderMap =
                values.iter().map(|value| (READ_HEADER.parse().expect("a name"), HeaderValue::from_static(value))).collect();
            assert_eq!(is_strict(&headers), expected, "{values:?}");
        }
    }
}
