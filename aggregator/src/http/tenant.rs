//! Whose data a request is about: `X-Scope-OrgID`, its syntax and its refusals.
//!
//! Where tenancy is off every request is of the default tenant, whatever the header says. A `tenant:part` suffix is accepted
//! and stripped. Where it is allowed, reads may be of several tenants (`a|b`).

use axum::http::HeaderMap;
use tailwater_storage::entry::TenantId;

use crate::config::Tenancy;
use crate::http::error::ApiError;

const HEADER: &str = "x-scope-orgid";
const MAX_LENGTH: usize = 150;
/// What Loki's reading paths put before a refusal.
const READ_PREFIX: &str = "rpc error: code = Code(400) desc = ";

/// Why there is no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// 401.
    #[error("no org id\n")]
    Missing,
    #[error("tenant ID is too long: max {MAX_LENGTH} characters")]
    TooLong,
    #[error("tenant ID is '.' or '..'")]
    Dots,
    #[error("tenant ID '{tenant}' contains unsupported character '{character}'")]
    Character { tenant: String, character: char },
    #[error("multiple org IDs present")]
    Several,
    /// 500, on reading paths.
    #[error("no queue found: empty tenant is not allowed")]
    Empty,
}

impl Tenancy {
    /// The tenant that is written to, or asked about where only one can be.
    pub fn writer(&self, headers: &HeaderMap) -> Result<TenantId, ApiError> {
        let only = self.tenants(headers).and_then(|tenants| match <[TenantId; 1]>::try_from(tenants) {
            Ok([tenant]) => Ok(tenant),
            Err(_) => Err(TenantError::Several),
        });
        only.map_err(|error| ApiError::Tenant { prefix: "", error })
    }

    /// The tenants that are read: one at least, each once, in the order of their names.
    pub fn readers(&self, headers: &HeaderMap) -> Result<Vec<TenantId>, ApiError> {
        let tenants = self.tenants(headers);
        let is_nobody = |tenants: &[TenantId]| tenants.iter().all(|tenant| tenant.as_str().is_empty());
        let named = tenants.and_then(|tenants| if is_nobody(&tenants) { Err(TenantError::Empty) } else { Ok(tenants) });
        named.map_err(|error| {
            let is_prefixed = !matches!(error, TenantError::Missing | TenantError::Empty);
            ApiError::Tenant { prefix: if is_prefixed { READ_PREFIX } else { "" }, error }
        })
    }

    fn tenants(&self, headers: &HeaderMap) -> Result<Vec<TenantId>, TenantError> {
        if !self.enabled {
            return Ok(vec![TenantId::new(&self.default)]);
        }
        let value = headers.get(HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
        if value.is_empty() {
            return Err(TenantError::Missing);
        }
        if !self.multi_tenant_queries {
            return Ok(vec![checked(&value)?]);
        }
        let mut tenants = value.split('|').map(checked).collect::<Result<Vec<TenantId>, TenantError>>()?;
        tenants.sort();
        tenants.dedup();
        Ok(tenants)
    }
}

fn checked(value: &str) -> Result<TenantId, TenantError> {
    let tenant = value.split_once(':').map_or(value, |(tenant, _)| tenant);
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '!' | '-' | '_' | '.' | '*' | '\'' | '(' | ')');
    if let Some(character) = tenant.chars().find(|c| !is_allowed(*c)) {
        return Err(TenantError::Character { tenant: tenant.to_owned(), character });
    }
    if tenant.len() > MAX_LENGTH {
        return Err(TenantError::TooLong);
    }
    if tenant == "." || tenant == ".." {
        return Err(TenantError::Dots);
    }
    Ok(TenantId::new(tenant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(HEADER), HeaderValue::from_str(value).expect("a header"))])
    }

    fn tenancy(enabled: bool) -> Tenancy {
        Tenancy { enabled, default: "fake".to_owned(), multi_tenant_queries: true }
    }

    #[test]
    fn tenants_are_read_and_refused_as_loki_does() {
        let long = "x".repeat(151);
        for (value, expected) in [
            ("t1", Ok("t1")),
            ("t1|t1", Ok("t1")),
            ("UPPER", Ok("UPPER")),
            ("a-b_c.d!", Ok("a-b_c.d!")),
            ("a*b(c)'", Ok("a*b(c)'")),
            ("team:part", Ok("team")),
            ("", Err("no org id\n")),
            ("a b", Err("tenant ID 'a b' contains unsupported character ' '")),
            (r"a\b", Err(r"tenant ID 'a\b' contains unsupported character '\'")),
            ("..", Err("tenant ID is '.' or '..'")),
            (&long, Err("tenant ID is too long: max 150 characters")),
            ("t1|t2", Err("multiple org IDs present")),
            ("t1|", Err("multiple org IDs present")),
        ] {
            let tenant = tenancy(true).writer(&headers(value)).map_err(|error| error.to_string());
            assert_eq!(tenant.as_ref().map(TenantId::as_str).map_err(String::as_str), expected, "{value}");
        }
        assert!(tenancy(true).writer(&HeaderMap::new()).is_err());
    }

    #[test]
    fn reads_may_be_of_several_tenants() {
        for (value, expected) in [("b|a|b", Ok(vec!["a", "b"])), ("t1|", Ok(vec!["", "t1"])), ("t1:x|t1", Ok(vec!["t1"]))] {
            let tenants = tenancy(true).readers(&headers(value)).map_err(|error| error.to_string());
            let tenants = tenants.as_ref().map(|tenants| tenants.iter().map(TenantId::as_str).collect::<Vec<_>>());
            assert_eq!(tenants.map_err(String::as_str), expected, "{value}");
        }
        let one_each = Tenancy { multi_tenant_queries: false, ..tenancy(true) };
        let refused = one_each.readers(&headers("a|b")).expect_err("two").to_string();
        assert_eq!(refused, "rpc error: code = Code(400) desc = tenant ID 'a|b' contains unsupported character '|'");
    }

    #[test]
    fn reads_are_refused_with_lokis_prefix() {
        let text = |value: &str| tenancy(true).readers(&headers(value)).expect_err(value).to_string();
        assert_eq!(text("a/b"), "rpc error: code = Code(400) desc = tenant ID 'a/b' contains unsupported character '/'");
        assert_eq!(text(""), "no org id\n");
        assert_eq!(text("|"), "no queue found: empty tenant is not allowed");
    }

    #[test]
    fn without_tenancy_the_header_is_not_read() {
        assert_eq!(tenancy(false).readers(&headers("a/b")).expect("a tenant"), [TenantId::new("fake")]);
    }
}
