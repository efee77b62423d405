//! Pages of a log query: `cursor=start`, then `cursor=<token>` with the token of the page before, until there is none.
//!
//! A token holds the range and where the page ended, so a page needs nothing of the one before it, may come from another replica, and
//! `end` stays where the first page put it. It is of one query, direction and list of tenants, and refused with any other. It gives no access:
//! every page is read with the rights of who asks for it.

use std::hash::Hasher;

use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use tailwater_engine::request::{Direction, PageEnd, PageRequest};
use tailwater_logql::ast::LogExpr;
use tailwater_storage::entry::TenantId;
use xxhash_rust::xxh64::Xxh64;

use crate::http::error::ApiError;
use crate::http::portions::refused;
use crate::http::query::{Asked, RangeParameters, ReadState, encoding_flags, log_request};
use crate::http::query_checks::check_entries;
use crate::http::query_log::with_cost;
use crate::http::range::Bounds;
use crate::http::response::logs::LogsBody;
use crate::http::response::stream;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    bounds: Bounds,
    end: PageEnd,
    /// Of the question that it belongs to.
    question: u64,
}

/// Answers with a page.
pub(crate) async fn page(
    state: &ReadState,
    headers: &HeaderMap,
    asked: &Asked,
    mut parameters: RangeParameters,
    expr: LogExpr,
    token: Option<&str>,
) -> Result<Response, ApiError> {
    let flags = encoding_flags(headers);
    let question = question(asked, parameters.direction);
    let after = match token {
        None => None,
        Some(token) => {
            let cursor = Cursor::read(token, question)?;
            parameters.bounds = cursor.bounds;
            Some(cursor.end)
        }
    };
    check_entries(parameters.limit, &asked.limits)?;
    let bounds = parameters.bounds;
    let Some(log) = log_request(state, asked, parameters, expr, flags.categorize()).await? else {
        return Ok(stream(LogsBody::nothing(flags)));
    };
    let request = PageRequest { log, after };
    let page = state.engine.page(state.scope(asked), request, &state.query_limits(headers, &asked.limits)).await?;
    let cursor = page.next.clone().map(|end| Cursor { bounds, end, question }.written());
    let statistics = page.statistics;
    Ok(with_cost(stream(LogsBody::new(page.answer(), flags).with_cursor(cursor)), statistics))
}

/// A hash of what the pages of one answer have in common.
fn question(asked: &Asked, direction: Direction) -> u64 {
    let mut hasher = Xxh64::new(0);
    hasher.write(asked.form.get("query").as_bytes());
    hasher.write(if direction == Direction::Forward { b"\xff+" } else { b"\xff-" });
    for tenant in &asked.tenants {
        hasher.write(tenant.as_str().as_bytes());
        hasher.write(b"\xff");
    }
    hasher.finish()
}

/// The numbers at the beginning of a token.
const NUMBERS: usize = 5;

impl Cursor {
    /// Five numbers of 64 bits, then the tenant.
    fn written(&self) -> String {
        let PageEnd { timestamp, stream_hash, tenant } = &self.end;
        let signed = [self.bounds.start, self.bounds.end, *timestamp].map(i64::to_be_bytes);
        let hashes = [*stream_hash, self.question].map(u64::to_be_bytes);
        let mut bytes: Vec<u8> = signed.into_iter().chain(hashes).flatten().collect();
        if let Some(tenant) = tenant {
            bytes.push(b'|');
            bytes.extend_from_slice(tenant.as_str().as_bytes());
        }
        BASE64.encode(bytes)
    }

    fn read(token: &str, question: u64) -> Result<Self, ApiError> {
        let cursor = Self::decoded(token).ok_or_else(|| refused("invalid cursor, send 'start' or what the page before came with"))?;
        if cursor.question != question {
            return Err(refused("the cursor is of another query, direction or tenant, send 'start' for the first page"));
        }
        Ok(cursor)
    }

    fn decoded(token: &str) -> Option<Self> {
        let bytes = BASE64.decode(token).ok()?;
        let (numbers, tenant) = bytes.split_at_checked(8 * NUMBERS)?;
        let number = |place: usize| numbers[8 * place..8 * place + 8].try_into().ok();
        let tenant = match tenant {
            [] => None,
            [b'|', name @ ..] => Some(TenantId::new(std::str::from_utf8(name).ok()?)),
            _ => return None,
        };
        let bounds = Bounds { start: i64::from_be_bytes(number(0)?), end: i64::from_be_bytes(number(1)?) };
        let end = PageEnd { timestamp: i64::from_be_bytes(number(2)?), stream_hash: u64::from_be_bytes(number(3)?), tenant };
        Some(Self { bounds, end, question: u64::from_be_bytes(number(4)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_are_read_back(numbers: (i64, i64, i64, u64, u64), tenant in proptest::option::of("[a-z|]{0,5}")) {
            let (start, end, timestamp, stream_hash, question) = numbers;
            let end_of_page = PageEnd { timestamp, stream_hash, tenant: tenant.map(|name| TenantId::new(&name)) };
            let cursor = Cursor { bounds: Bounds { start, end }, end: end_of_page, question };
            prop_assert_eq!(Cursor::read(&cursor.written(), question).map_err(|error| error.to_string()), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_token_or_refused(text in "[-_A-Za-z0-9+/=]{0,80}") {
            drop(Cursor::read(&text, 0));
        }
    }

    #[test]
    fn a_token_of_another_question_is_refused() {
        let end = PageEnd { timestamp: 1, stream_hash: 2, tenant: None };
        let token = Cursor { bounds: Bounds { start: 0, end: 5 }, end, question: 7 }.written();
        let text = |token: &str| Cursor::read(token, 8).expect_err("refused").to_string();
        assert_eq!(text(&token), "the cursor is of another query, direction or tenant, send 'start' for the first page");
        assert_eq!(text(&token[1..]), "invalid cursor, send 'start' or what the page before came with");
    }
}
