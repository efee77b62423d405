//! `X-Tailwater-Access`: who asks, or what they may read, as the gateway or the API server of ours found out; signed, for a short time.
//!
//! ```text
//! base64url(JSON claim) "." base64url(HMAC-SHA256(peer key, CONTEXT claim))
//! ```
//! The peer key is the store's (`cluster.json`): every replica knows it, no client does. A header that is not signed with it, is past its
//! time or stands twice is refused; it is never taken for a missing one.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tailwater_storage::cluster::PeerKey;

use crate::access::allowed::AllowedClaim;
use crate::access::identity::Identity;

pub const ACCESS_HEADER: HeaderName = HeaderName::from_static("x-tailwater-access");

/// How long a header is good: until the request it was made for has arrived, clocks of replicas being apart somewhat.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Keeps signatures of this header apart from whatever else the key may sign.
const CONTEXT: &[u8] = b"tailwater access 1\n";
const SECOND: i64 = 1_000_000_000;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Who asks; what they may read is found out here.
    Person(Identity),
    /// What may be read, as it was found out already.
    Allowed(AllowedClaim),
}

#[derive(Debug, Serialize, Deserialize)]
struct Signed {
    /// Seconds since the epoch.
    expires: i64,
    claim: Claim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("header X-Tailwater-Access stands more than once")]
    Several,
    #[error("header X-Tailwater-Access is not signed by this store's replicas")]
    Unsigned,
    #[error("header X-Tailwater-Access is past its time")]
    Expired,
}

/// Signs and verifies. Cheap to clone; shows nothing of the key.
#[derive(Debug, Clone)]
pub struct AccessSigner {
    key: Arc<hmac::Key>,
}

impl AccessSigner {
    pub fn new(key: &PeerKey) -> Self {
        Self { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())) }
    }

    /// `now`: nanoseconds since the epoch.
    pub fn sign(&self, claim: Claim, now: i64) -> HeaderValue {
        let expires = now.div_euclid(SECOND) + LIFETIME.as_secs().cast_signed();
        let json = serde_json::to_vec(&Signed { expires, claim }).expect("a claim is made of texts, numbers and lists");
        let tag = hmac::sign(&self.key, &message(&json));
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(&json), URL_SAFE_NO_PAD.encode(tag.as_ref()));
        HeaderValue::from_str(&text).expect("base64 is a header value")
    }

    /// The claim of a request, if its header makes one.
    pub fn claim(&self, headers: &HeaderMap, now: i64) -> Result<Option<Claim>, SignatureError> {
        let mut values = headers.get_all(ACCESS_HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(SignatureError::Several);
        }
        let signed = value.to_str().ok().and_then(|text| self.verified(text)).ok_or(SignatureError::Unsigned)?;
        if now.div_euclid(SECOND) >= signed.expires {
            return Err(SignatureError::Expired);
        }
        Ok(Some(signed.claim))
    }

    fn verified(&self, text: &str) -> Option<Signed> {
        let (json, tag) = text.split_once('.')?;
        let (json, tag) = (URL_SAFE_NO_PAD.decode(json).ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?);
        hmac::verify(&self.key, &message(&json), &tag).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

fn message(json: &[u8]) -> Vec<u8> {
    [CONTEXT, json].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_768_903_200 * SECOND;

    fn signer(key: &str) -> AccessSigner {
        AccessSigner::new(&PeerKey::from_text(key))
    }

    fn person() -> Claim {
        Claim::Person(Identity::new("ann".to_owned(), "1".to_owned(), vec!["dev".to_owned()], Default::default()))
    }

    fn headers(values: &[&HeaderValue]) -> HeaderMap {
        values.iter().map(|value| (ACCESS_HEADER, (*value).clone())).collect()
    }

    #[test]
    fn a_claim_holds_for_a_while_under_its_key() {
        let value = signer("a").sign(person(), NOW);
        let at = |key: &str, seconds: i64| signer(key).claim(&headers(&[&value]), NOW + seconds * SECOND);
        assert_eq!(at("a", 29), Ok(Some(person())));
        assert_eq!(at("a", 30), Err(SignatureError::Expired));
        assert_eq!(at("b", 0), Err(SignatureError::Unsigned));
        assert_eq!(signer("a").claim(&headers(&[&value, &value]), NOW), Err(SignatureError::Several));
        assert_eq!(signer("a").claim(&HeaderMap::new(), NOW), Ok(None));
    }

    proptest! {
        #[test]
        fn whatever_was_changed_is_refused(place in 0usize..200, with in "[A-Za-z0-9._-]", noise in "[ -~]{0,40}") {
            let value = signer("a").sign(person(), NOW);
            let mut text = value.to_str().expect("text").to_owned();
            let place = place % text.len();
            text.replace_range(place..=place, &with);
            let changed = HeaderValue::from_str(&text).expect("a value");
            if changed != value {
                prop_assert_eq!(signer("a").claim(&headers(&[&changed]), NOW), Err(SignatureError::Unsigned));
            }
            let noise = HeaderValue::from_str(&noise).expect("a value");
            prop_assert_eq!(signer("a").claim(&headers(&[&noise]), NOW), Err(SignatureError::Unsigned));
        }
    }
}
