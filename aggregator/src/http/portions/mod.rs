//! What log queries give beyond Loki, for whoever asks by parameter of `query_range`; without one of these everything is as Loki has it.
//!
//! ```text
//! cursor=start | cursor=<token>              pages, each with the token of the next: whole answers of any length       cursor.rs
//! format=ndjson [limit]                      all entries as lines of JSON, one after the other, in bounded memory      export.rs
//! context=N | context_before, context_after  the neighbours of each entry in its stream                                context.rs
//! order=stable                               entries of one stream and stamp in the order in which they came
//! ```

pub(crate) mod context;
pub(crate) mod cursor;
pub(crate) mod export;

use tailwater_engine::request::EqualStamps;

use crate::http::error::ApiError;
use crate::http::form::Form;

/// In which portions a log query is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Portions {
    /// As Loki answers.
    Plain,
    /// A page. Without a token the first.
    Page { token: Option<String> },
    /// Lines of JSON.
    Lines,
    /// Entries, and so many neighbours of each.
    Neighbours { before: usize, after: usize },
}

impl Portions {
    pub(crate) fn of(form: &Form) -> Result<Self, ApiError> {
        let is_given = |name: &str| !form.get(name).is_empty();
        let has_context = ["context", "context_before", "context_after"].into_iter().any(is_given);
        let ways = [is_given("cursor"), is_given("format"), has_context];
        if ways.into_iter().filter(|is_asked| *is_asked).count() > 1 {
            return Err(refused("cursor, format and context cannot be combined, send one of them"));
        }
        if is_given("interval") && ways.contains(&true) {
            return Err(refused("interval cannot be combined with cursor, format and context"));
        }
        match (form.get("cursor"), form.get("format")) {
            ("", "") if has_context => {
                Ok(Self::Neighbours { before: count(form, "context_before")?, after: count(form, "context_after")? })
            }
            ("", "") => Ok(Self::Plain),
            ("", "ndjson") => Ok(Self::Lines),
            ("", other) => Err(refused(&format!("invalid format '{other}', ndjson is the only one"))),
            ("start", _) => Ok(Self::Page { token: None }),
            (token, _) => Ok(Self::Page { token: Some(token.to_owned()) }),
        }
    }

    /// Metric queries are answered in one way only.
    pub(crate) fn check_metric(form: &Form) -> Result<(), ApiError> {
        match Self::of(form)? {
            Self::Plain => Ok(()),
            _ => Err(refused("cursor, format and context are for log queries")),
        }
    }
}

/// How many neighbours on one side: its own parameter, else `context`.
fn count(form: &Form, name: &str) -> Result<usize, ApiError> {
    let (name, text) = match (form.get(name), form.get("context")) {
        ("", "") => return Ok(0),
        ("", both) => ("context", both),
        (own, _) => (name, own),
    };
    text.parse().map_err(|_| refused(&format!("invalid {name} '{text}', a number of lines is needed")))
}

/// What `order` asks of entries of one stamp.
pub(crate) fn equal_stamps(form: &Form) -> Result<EqualStamps, ApiError> {
    match form.get("order") {
        "" => Ok(EqualStamps::AsLoki),
        "stable" => Ok(EqualStamps::InArrivalOrder),
        other => Err(refused(&format!("invalid order '{other}', stable is the only one"))),
    }
}

fn refused(text: &str) -> ApiError {
    ApiError::BadRequest { text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::HeaderMap;

    #[test]
    fn one_way_is_chosen_by_parameter() {
        let of = |query: &str| Portions::of(&Form::new(&HeaderMap::new(), Some(query), &Bytes::new())).map_err(|error| error.to_string());
        let token = Some("abc".to_owned());
        for (query, expected) in [
            ("limit=3", Ok(Portions::Plain)),
            ("cursor=start", Ok(Portions::Page { token: None })),
            ("cursor=abc", Ok(Portions::Page { token })),
            ("format=ndjson", Ok(Portions::Lines)),
            ("context=3", Ok(Portions::Neighbours { before: 3, after: 3 })),
            ("context=3&context_after=0", Ok(Portions::Neighbours { before: 3, after: 0 })),
            ("context_before=2", Ok(Portions::Neighbours { before: 2, after: 0 })),
            ("context=x", Err("invalid context 'x', a number of lines is needed")),
            ("format=csv", Err("invalid format 'csv', ndjson is the only one")),
            ("format=ndjson&cursor=start", Err("cursor, format and context cannot be combined, send one of them")),
            ("cursor=start&interval=1s", Err("interval cannot be combined with cursor, format and context")),
        ] {
            assert_eq!(of(query), expected.map_err(str::to_owned), "{query}");
        }
    }
}
