//! Does the store honour create-only puts? Two creates race on one name: exactly one may win.

use bytes::Bytes;
use object_store::{Error, ObjectStore, PutMode, PutOptions, PutPayload};
use ulid::Ulid;

use crate::store::{Store, paths};

/// Why a store is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(
        "the store ignores the condition of conditional puts (If-None-Match: *): two creates of one object both succeeded, so acknowledged lines could be overwritten; use a store that honours it (MinIO, AWS S3, SeaweedFS, Ceph ≥ 19)"
    )]
    ConditionIgnored,
    /// One line, whatever the store answered.
    #[error("the store refused to create an object: {0}; check endpoint, bucket, credentials and the right to put objects")]
    Unusable(String),
}

pub(crate) async fn probe(store: &Store) -> Result<(), ProbeError> {
    let key = format!("{}/{}", paths::PROBES, Ulid::new());
    let path = store.path(&key);
    let create = |content: &'static [u8]| {
        store.objects.put_opts(&path, PutPayload::from(Bytes::from_static(content)), PutOptions::from(PutMode::Create))
    };
    let (first, second) = tokio::join!(create(b"first"), create(b"second"));
    let third = create(b"third").await;
    let was_created = first.is_ok() || second.is_ok() || third.is_ok();
    let verdict = judge([first.map(drop), second.map(drop), third.map(drop)]);
    if was_created && let Err(error) = store.delete(&key).await {
        tracing::warn!(%key, %error, "could not remove the start-up probe's object");
    }
    verdict
}

/// Of three creates of one name, two of them at once, one must have won and the others must say that it exists.
fn judge(outcomes: [Result<(), Error>; 3]) -> Result<(), ProbeError> {
    let mut won = 0;
    let mut failure = None;
    for outcome in outcomes {
        match outcome {
            Ok(()) => won += 1,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => failure = Some(reason(&error)),
        }
    }
    match (won, failure) {
        (2.., _) => Err(ProbeError::ConditionIgnored),
        (_, Some(reason)) => Err(ProbeError::Unusable(reason)),
        (1, None) => Ok(()),
        (_, None) => Err(ProbeError::Unusable("an object that nobody created is said to exist".into())),
    }
}

/// Why a request failed, in one line: the code and message of an S3 answer, or what was tried and the innermost cause.
pub(crate) fn reason(error: &Error) -> String {
    let text = error.to_string();
    let tried = between(&text, "Error performing ", " in ").unwrap_or_default();
    if let (Some(code), Some(message)) = (between(&text, "<Code>", "</Code>"), between(&text, "<Message>", "</Message>")) {
        return one_line(&format!("{code}: {message} ({tried})"));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let innermost = cause.to_string();
    if text.contains(&innermost) { one_line(&text) } else { one_line(&format!("{text}: {innermost}")) }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists() -> Result<(), Error> {
        Err(Error::AlreadyExists { path: "p".into(), source: "exists".into() })
    }

    #[test]
    fn exactly_one_create_may_win() {
        assert!(judge([Ok(()), exists(), exists()]).is_ok());
        assert!(matches!(judge([Ok(()), exists(), Ok(())]), Err(ProbeError::ConditionIgnored)));
        assert!(matches!(judge([exists(), exists(), exists()]), Err(ProbeError::Unusable(_))));
        let refused = Err(Error::PermissionDenied { path: "p".into(), source: "403".into() });
        assert!(matches!(judge([refused, exists(), exists()]), Err(ProbeError::Unusable(_))));
    }

    #[test]
    fn a_refusal_is_told_in_one_line() {
        let answer = "Error performing PUT http://s3/logs/x in 1ms - 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>InvalidAccessKeyId</Code>\
                      <Message>The key\n does not exist.</Message></Error>";
        let refused = Error::PermissionDenied { path: "p".into(), source: answer.into() };
        assert_eq!(reason(&refused), "InvalidAccessKeyId: The key does not exist. (PUT http://s3/logs/x)");
        let unreachable = Error::Generic { store: "S3", source: Box::new(std::io::Error::other("connection\nrefused")) };
        assert_eq!(reason(&unreachable), "Generic S3 error: connection refused");
    }
}
