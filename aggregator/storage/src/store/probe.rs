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
    let verdict = judge([first.map(drop), second.map(drop), third.map(drop)]);
    if let Err(error) = store.delete(&key).await {
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
            Err(error) => failure = Some(error.to_string()),
        }
    }
    match (won, failure) {
        (2.., _) => Err(ProbeError::ConditionIgnored),
        (_, Some(reason)) => Err(ProbeError::Unusable(reason)),
        (1, None) => Ok(()),
        (_, None) => Err(ProbeError::Unusable("an object that nobody created is said to exist".into())),
    }
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
}
