//! Headers that list words apart by commas, in one line or in several.

use axum::http::HeaderMap;
use axum::http::header::AsHeaderName;

/// Whether one of the words is `word`, in any case.
pub(crate) fn lists(headers: &HeaderMap, name: impl AsHeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}
