//! `X-Prom-Label-Policy`: selectors that a proxy puts over its users' queries, by tenant.
//!
//! ```text
//! tenant:%7Bteam%3D%22x%22%7D, tenant:%7Bteam%3D%22y%22%7D, %7Bsecret%21%3D%22true%22%7D
//! ```
//! A stream has to match one at least of the selectors that a header line has for its tenant; without a tenant's name a selector is for every
//! tenant. Of several header lines each counts, so that a client that adds one of its own only takes from itself.

use axum::http::{HeaderMap, HeaderName};
use tailwater_engine::access::LabelPolicy;
use tailwater_logql::ast::Selector;
use tailwater_storage::entry::TenantId;

const HEADER: HeaderName = HeaderName::from_static("x-prom-label-policy");

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header X-Prom-Label-Policy is not a list of `tenant:selector`, each selector URL-encoded: `{item}`")]
pub struct PolicyError {
    item: String,
}

/// The policies of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestPolicies {
    lines: Vec<Vec<Item>>,
}

#[derive(Debug, Clone)]
struct Item {
    /// `None`: every tenant.
    tenant: Option<String>,
    selector: Selector,
    policy: LabelPolicy,
}

impl RequestPolicies {
    pub fn of(headers: &HeaderMap) -> Result<Self, PolicyError> {
        let lines = headers.get_all(HEADER).iter().map(|value| {
            let text = value.to_str().map_err(|_| PolicyError { item: "text that is not ASCII".to_owned() })?;
            text.split(',').map(|item| Item::of(item.trim())).collect::<Result<Vec<Item>, PolicyError>>()
        });
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// What counts for one tenant: all of it.
    pub fn of_tenant(&self, tenant: &TenantId) -> Vec<LabelPolicy> {
        let is_meant = |item: &&Item| item.tenant.as_ref().is_none_or(|named| named == tenant.as_str());
        let policies = self.lines.iter().filter_map(|line| {
            let meant: Vec<&Item> = line.iter().filter(is_meant).collect();
            match meant.as_slice() {
                [] => None,
                [only] => Some(only.policy.clone()),
                several => {
                    let selectors = several.iter().map(|item| item.selector.clone()).collect();
                    Some(LabelPolicy::new(selectors).expect("each of them compiled before"))
                }
            }
        });
        policies.collect()
    }
}

impl Item {
    fn of(text: &str) -> Result<Self, PolicyError> {
        let error = || PolicyError { item: text.to_owned() };
        let (tenant, selector) = match text.split_once(':') {
            Some((tenant, selector)) if !tenant.contains(['{', '%']) => (Some(tenant.to_owned()), selector),
            _ => (None, text),
        };
        let decoded = percent_decoded(selector).ok_or_else(error)?;
        let selector = tailwater_logql::parse_any_selector(&decoded).map_err(|_| error())?;
        let policy = LabelPolicy::new(vec![selector.clone()]).map_err(|_| error())?;
        Ok(Self { tenant, selector, policy })
    }
}

/// `None` for text that is none. A `+` is a plus sign.
fn percent_decoded(text: &str) -> Option<String> {
    let kept = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let (name, rest) = form_urlencoded::parse(kept.as_bytes()).next()?;
    (rest.is_empty() && !name.contains('\u{fffd}')).then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use tailwater_engine::Access;
    use tailwater_engine::access::AllowedNamespaces;
    use tailwater_storage::pairs::Pairs;

    fn policies(lines: &[&str]) -> Result<RequestPolicies, String> {
        let headers = lines.iter().map(|line| (HEADER, HeaderValue::from_str(line).expect("a value"))).collect();
        RequestPolicies::of(&headers).map_err(|error| error.to_string())
    }

    /// Whether a stream of tenant `t` is seen.
    fn sees(lines: &[&str], labels: &[(&str, &str)]) -> bool {
        let tenant = TenantId::new("t");
        let of_tenant = policies(lines).expect("policies").of_tenant(&tenant);
        Access::new(tenant, AllowedNamespaces::All).under(of_tenant).of_stream(&Pairs::from_pairs(labels.iter().copied())).is_some()
    }

    #[test]
    fn selectors_of_a_line_are_alternatives_and_lines_add_up() {
        let (team_x, team_y, open) = ("t:%7Bteam%3D%22x%22%7D", "t:{team=\"y\"}", "{secret!=\"true\"}");
        let alternatives = format!("{team_x}, {team_y}");
        for (lines, labels, expected) in [
            (&[team_x][..], &[("team", "x")][..], true),
            (&[team_x], &[("team", "y")], false),
            (&[&alternatives], &[("team", "y")], true),
            (&[team_x, team_y], &[("team", "y")], false),
            (&[team_x, open], &[("team", "x"), ("secret", "true")], false),
            (&["other:{team=\"x\"}"], &[("team", "y")], true),
            (&[r#"t:{a="1+1"}"#], &[("a", "1+1")], true),
            (&[], &[], true),
        ] {
            assert_eq!(sees(lines, labels), expected, "{lines:?} {labels:?}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for line in ["", "t", "t:{team=", "t:{a=~\"(\"}", "t:{a=\"b\"} |= \"c\"", "t:%ff"] {
            assert!(policies(&[line]).expect_err(line).contains("X-Prom-Label-Policy"), "{line}");
        }
    }
}
