//! The bucket's keys as files of a folder, as a mounted Secret shows them: a rotation needs no restart.
//!
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if it is there, `AWS_SESSION_TOKEN`. Every request asks for the keys; files are read again
//! when what was read is older than [`FRESH`]. All are read from behind the link that the first of them is (`..data`, which a kubelet replaces in one
//! rename), so that keys belong together. While they cannot be read the last ones are used; where there are none, requests fail and say which
//! file is missing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long keys are used without a look at their files.
const FRESH: Duration = Duration::from_secs(1);

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the bucket's keys from `{path}`: {source}; mount a Secret with {KEY_ID} and {SECRET_KEY} there, or set `storage.s3.credentials_dir`"
)]
pub(super) struct SecretFilesError {
    path: PathBuf,
    source: io::Error,
}

/// Hands the keys of a folder to the client.
#[derive(Debug)]
pub(super) struct SecretFiles {
    folder: PathBuf,
    last: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

impl SecretFiles {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), last: Mutex::new(None) }
    }

    fn current(&self) -> Result<Arc<AwsCredential>, SecretFilesError> {
        let mut last = self.last.lock();
        if let Some((read_at, keys)) = &*last
            && read_at.elapsed() < FRESH
        {
            return Ok(keys.clone());
        }
        let keys = match (read(&self.folder), &*last) {
            (Ok(keys), _) => Arc::new(keys),
            (Err(error), Some((_, keys))) => {
                tracing::warn!(%error, "the bucket's keys are used as they were");
                keys.clone()
            }
            (Err(error), None) => return Err(error),
        };
        *last = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }
}

#[async_trait]
impl CredentialProvider for SecretFiles {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.current().map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

fn read(folder: &Path) -> Result<AwsCredential, SecretFilesError> {
    let named = |path: PathBuf| move |source| SecretFilesError { path, source };
    let first = folder.join(KEY_ID);
    let real = fs::canonicalize(&first).map_err(named(first))?;
    let folder = real.parent().unwrap_or(folder);
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(named(path))
    };
    let token = match text(TOKEN) {
        Ok(token) => Some(token).filter(|token| !token.is_empty()),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(AwsCredential { key_id: text(KEY_ID)?, secret_key: text(SECRET_KEY)?, token })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A Secret as a kubelet mounts it.
    fn mount(folder: &Path, version: &str, files: &[(&str, &str)]) {
        let data = folder.join(version);
        fs::create_dir(&data).expect("a folder");
        for (name, text) in files {
            fs::write(data.join(name), text).expect("written");
            if !folder.join(name).is_symlink() {
                symlink(Path::new("..data").join(name), folder.join(name)).expect("a link");
            }
        }
        symlink(version, folder.join("..new")).expect("a link");
        fs::rename(folder.join("..new"), folder.join("..data")).expect("renamed");
    }

    fn keys(secret: &SecretFiles) -> (String, String, Option<String>) {
        let found = secret.current().expect("keys");
        (found.key_id.clone(), found.secret_key.clone(), found.token.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_replaced_are_used_a_second_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = SecretFiles::new(folder.path());
        let error = secret.current().expect_err("nothing is mounted").to_string();
        assert!(error.contains("AWS_ACCESS_KEY_ID`") && error.contains("credentials_dir"), "{error}");
        mount(folder.path(), "..1", &[(KEY_ID, "first\n"), (SECRET_KEY, "secret one")]);
        assert_eq!(keys(&secret), ("first".to_owned(), "secret one".to_owned(), None));
        mount(folder.path(), "..2", &[(KEY_ID, "second"), (SECRET_KEY, "secret two"), (TOKEN, "token\n")]);
        assert_eq!(keys(&secret).0, "first");
        tokio::time::advance(FRESH).await;
        assert_eq!(keys(&secret), ("second".to_owned(), "secret two".to_owned(), Some("token".to_owned())));
        fs::remove_file(folder.path().join("..2").join(SECRET_KEY)).expect("removed");
        tokio::time::advance(FRESH).await;
        assert_eq!(keys(&secret).0, "second", "the last keys are used on");
    }

    #[test]
    fn what_is_shown_of_keys_is_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        mount(folder.path(), "..1", &[(KEY_ID, "first"), (SECRET_KEY, "very-secret"), (TOKEN, "token-secret")]);
        let secret = SecretFiles::new(folder.path());
        let shown = format!("{:?} {:?}", secret.current().expect("keys"), secret);
        assert!(!shown.contains("-secret"), "{shown}");
    }
}
