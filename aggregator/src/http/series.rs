//! `series`: the streams that match any of some selectors, within a range.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::Response;
use tailwater_logql::ast::Selector;
use tailwater_logql::labels::LabelSet;
use tailwater_logql::{parse_any_selector, parse_selector};

use crate::access::Caller;
use crate::http::error::ApiError;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::http::labels::catalogue_range;
use crate::http::query::ReadState;
use crate::http::query_checks::catalogue_bounds;
use crate::http::reading;
use crate::http::response::text::write_labels;
use crate::http::response::{Answer, stream};

pub fn routes(state: ReadState) -> Router {
    Router::new()
        .route("/loki/api/v1/series", reading(series))
        .route("/api/prom/series", reading(series))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(state)
}

async fn series(State(state): State<ReadState>, caller: Caller, RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    let asked = state.asked(&caller, query.as_deref(), &body)?;
    let bounds = catalogue_range(&asked.form, asked.now)?;
    let selectors = selectors(&asked.form)?;
    let series = match catalogue_bounds(bounds, &asked.limits, asked.now)? {
        Some(range) => state.engine.series(state.scope(&asked), &selectors, range).await?,
        None => Vec::new(),
    };
    Ok(stream(SeriesBody { series, next: 0 }))
}

/// The selectors of `match` and `match[]`; none means every stream, as does a single `{}`.
fn selectors(form: &Form) -> Result<Vec<Selector>, ApiError> {
    let groups: Vec<&str> = form.all("match").chain(form.all("match[]")).collect();
    let is_empty = |group: &str| parse_any_selector(group).is_ok_and(|selector| selector.matchers.is_empty());
    if let [only] = groups.as_slice()
        && is_empty(only)
    {
        return Ok(Vec::new());
    }
    if groups.iter().any(|group| is_empty(group)) {
        return Err(ApiError::EmptyMatcherGroup);
    }
    groups.into_iter().map(|group| Ok(parse_selector(group)?)).collect()
}

struct SeriesBody {
    series: Vec<LabelSet>,
    next: usize,
}

impl Answer for SeriesBody {
    fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next == 0 {
            out.extend_from_slice(br#"{"status":"success","data":["#);
        }
        let Some(labels) = self.series.get(self.next) else {
            out.extend_from_slice(b"]}\n");
            return false;
        };
        out.extend_from_slice(if self.next > 0 { b"," } else { b"" });
        write_labels(out, labels);
        self.next += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::tests::whole;
    use axum::http::HeaderMap;

    fn asked(query: &str) -> Result<usize, String> {
        let form = Form::new(&HeaderMap::new(), Some(query), &Bytes::new());
        selectors(&form).map(|selectors| selectors.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn selectors_come_from_both_names() {
        for (query, expected) in [
            ("", Ok(0)),
            ("match[]=%7B%7D", Ok(0)),
            ("match=%7Ba%3D%22b%22%7D&match%5B%5D=%7Bc%3D%22d%22%7D", Ok(2)),
            ("match[]=%7B%7D&match[]=%7Ba%3D%22b%22%7D", Err("0 matchers in group: {}")),
            ("match[]=", Err("parse error : syntax error: unexpected $end")),
            ("match[]=%7Ba%3D%22b%22%7D+%7C%3D+%22x%22", Err("only label matchers are supported")),
            (
                "match[]=%7Ba%3D~%22.*%22%7D",
                Err("parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. \
                     For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will"),
            ),
        ] {
            assert_eq!(asked(query), expected.map_err(str::to_owned), "{query}");
        }
    }

    #[test]
    fn series_are_written_as_a_list() {
        let series = vec![LabelSet::from_pairs([("a", "b")]), LabelSet::from_pairs([("c", "d"), ("e", "\"")])];
        assert_eq!(
            whole(SeriesBody { series, next: 0 }),
            "{\"status\":\"success\",\"data\":[{\"a\":\"b\"},{\"c\":\"d\",\"e\":\"\\\"\"}]}\n"
        );
        assert_eq!(whole(SeriesBody { series: Vec::new(), next: 0 }), "{\"status\":\"success\",\"data\":[]}\n");
    }
}
