//! Who asks: users by their bearer tokens.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use serde::Deserialize;

use crate::status::Failure;

pub(crate) const MASTERS: &str = "system:masters";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
pub(crate) const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Someone who may ask, as one entry of the users file. A service account is `system:serviceaccount:NAMESPACE:NAME`; its groups follow from that.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenUser {
    pub token: String,
    pub user: String,
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A user as authentication tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl From<&TokenUser> for User {
    fn from(known: &TokenUser) -> Self {
        Self { name: known.user.clone(), uid: known.uid.clone(), groups: known.groups.clone(), extra: known.extra.clone() }
    }
}

impl User {
    pub(crate) fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// With the groups that every authenticated user has.
    pub(crate) fn authenticated(mut self) -> Self {
        if let Some((namespace, _)) = self.name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
            self.groups.extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]);
        }
        if !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// The users file.
#[derive(Debug, Default)]
pub(crate) struct Users(Vec<TokenUser>);

impl Users {
    pub(crate) fn new(users: Vec<TokenUser>) -> Self {
        Self(users)
    }

    pub(crate) fn all(&self) -> &[TokenUser] {
        &self.0
    }

    pub(crate) fn by_token(&self, token: &str) -> Option<User> {
        self.0.iter().find(|one| one.token == token).map(|one| User::from(one).authenticated())
    }

    /// A token that nobody has is refused; without one the request is anonymous.
    pub(crate) fn of_request(&self, headers: &HeaderMap) -> Result<User, Failure> {
        let Some(sent) = headers.get(header::AUTHORIZATION) else { return Ok(User::anonymous()) };
        let token = sent.to_str().ok().and_then(|sent| sent.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        token.and_then(|(_, token)| self.by_token(token.trim())).ok_or_else(Failure::unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_token_is_its_user_and_an_unknown_one_nobody() {
        let users = "[{token: t1, user: ann, groups: [team]}, {token: t2, user: 'system:serviceaccount:shop:reader'}]";
        let users = Users::new(serde_yaml_ng::from_str(users).expect("users"));
        let asked =
            |value: &'static str| users.of_request(&HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]));
        assert_eq!(asked("Bearer t1").expect("ann").groups, ["team", AUTHENTICATED]);
        assert_eq!(
            asked("bearer t2").expect("an account").groups,
            ["system:serviceaccounts", "system:serviceaccounts:shop", AUTHENTICATED]
        );
        assert!(asked("Bearer t3").is_err() && asked("Basic t1").is_err());
        assert_eq!(users.of_request(&HeaderMap::new()).expect("anonymous").name, ANONYMOUS);
    }
}
