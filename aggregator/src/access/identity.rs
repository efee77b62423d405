//! Somebody, as the Kubernetes API server knows them, and what a request says of who sent it.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

/// A user of the cluster. Equal identities are asked about once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub user: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// The order of groups means nothing, nor does naming one twice.
    pub fn new(user: String, uid: String, mut groups: Vec<String>, extra: BTreeMap<String, Vec<String>>) -> Self {
        groups.sort();
        groups.dedup();
        Self { user, uid, groups, extra }
    }

    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.extra
    }
}

/// The token of `Authorization: Bearer …`; `None` if there is none, or something else.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn groups_are_a_set() {
        let of = |groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            Identity::new("ann".to_owned(), String::new(), groups, BTreeMap::new())
        };
        assert_eq!(of(&["b", "a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a"]), of(&["a", "b"]));
    }

    #[test]
    fn only_a_single_bearer_token_is_one() {
        for (values, expected) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            (&["Basic abc"], None),
            (&["Bearer "], None),
            (&["Bearer"], None),
            (&["Bearer a", "Bearer b"], None),
            (&[], None),
        ] {
            let headers: HeaderMap = values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect();
            assert_eq!(bearer_token(&headers), expected, "{values:?}");
        }
    }
}
