//! Who asks: what the front proxy's headers say, over a connection that is the front proxy's; else whom a bearer token names.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderMap;

use crate::access::AccessRefused;
use crate::access::authorizer::Authorizer;
use crate::access::identity::{Identity, bearer_token};
use crate::apiserver::front_proxy::FrontProxy;
use crate::tls::Peer;

/// Nobody's headers count but those of the front proxy; on its connections they alone do.
pub(super) async fn identify(
    peer: &Peer,
    front_proxy: Option<&FrontProxy>,
    headers: &HeaderMap,
    authorizer: &Authorizer,
) -> Result<Arc<Identity>, AccessRefused> {
    if let Some(front_proxy) = front_proxy.filter(|_| peer.is_known) {
        return told(front_proxy, headers).map(Arc::new).ok_or(AccessRefused::Unauthenticated);
    }
    authorizer.authenticate(bearer_token(headers).ok_or(AccessRefused::Unauthenticated)?).await
}

/// The user of the front proxy's headers.
fn told(front_proxy: &FrontProxy, headers: &HeaderMap) -> Option<Identity> {
    let values = |names: &[String]| -> Vec<String> {
        let found = names.iter().map(|name| headers.get_all(name)).find(|values| values.iter().next().is_some());
        found.into_iter().flat_map(|values| values.iter().filter_map(|value| value.to_str().ok()).map(str::to_owned)).collect()
    };
    let [user] = <[String; 1]>::try_from(values(&front_proxy.user_headers)).ok()?;
    let uid = values(&front_proxy.uid_headers).into_iter().next().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let key = front_proxy.extra_prefixes.iter().find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
        if let (Some(key), Ok(value)) = (key, value.to_str()) {
            extra.entry(unescaped(key)).or_default().push(value.to_owned());
        }
    }
    (!user.is_empty()).then(|| Identity::new(user, uid, values(&front_proxy.group_headers), extra))
}

/// Keys are escaped with `%`, as header names cannot hold all that a key may.
fn unescaped(key: &str) -> String {
    let bytes = key.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| key.get(at + 1..at + 3)).flatten();
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::KnownClients;
    use axum::http::{HeaderName, HeaderValue};

    fn front_proxy() -> FrontProxy {
        let one = |name: &str| vec![name.to_owned()];
        FrontProxy {
            clients: KnownClients { roots: Arc::new(rustls::RootCertStore::empty()), names: one("front-proxy-client") },
            user_headers: one("x-remote-user"),
            uid_headers: one("x-remote-uid"),
            group_headers: one("x-remote-group"),
            extra_prefixes: one("x-remote-extra-"),
        }
    }

    fn of(headers: &[(&'static str, &'static str)]) -> Option<Identity> {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        told(&front_proxy(), &headers)
    }

    #[test]
    fn a_user_is_told_by_headers() {
        let told = of(&[
            ("x-remote-user", "ann"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "system:authenticated"),
            ("x-remote-extra-scopes%2fa", "x"),
            ("x-remote-extra-scopes%2fa", "y"),
        ]);
        let extra = BTreeMap::from([("scopes/a".to_owned(), vec!["x".to_owned(), "y".to_owned()])]);
        let groups = vec!["dev".to_owned(), "system:authenticated".to_owned()];
        assert_eq!(told, Some(Identity::new("ann".to_owned(), "7".to_owned(), groups, extra)));
    }

    #[test]
    fn no_user_or_two_are_nobody() {
        assert_eq!(of(&[("x-remote-group", "system:masters")]), None);
        assert_eq!(of(&[("x-remote-user", "")]), None);
        assert_eq!(of(&[("x-remote-user", "ann"), ("x-remote-user", "root")]), None);
    }

    #[test]
    fn keys_are_unescaped_once() {
        for (key, expected) in [("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("a%", "a%"), ("a%zz", "a%zz"), ("ä%2f", "ä/")] {
            assert_eq!(unescaped(key), expected);
        }
    }
}
