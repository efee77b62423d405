//! Opens the configured store. Errors here end the program, so they say what to do.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{ClientOptions, RetryConfig};

use crate::store::secret_files::SecretFiles;
use crate::store::{Store, folder};

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOptions {
    Folder { path: PathBuf },
    S3(S3Options),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// Empty: AWS's own.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    /// Bucket in the path instead of the host name; MinIO and most others want it.
    pub force_path_style: bool,
    /// Plain HTTP.
    pub insecure: bool,
    /// `None`: as the bucket is set up.
    pub encryption: Option<S3Encryption>,
    /// A folder with the keys as files; `None`: from the environment or the platform.
    pub credentials_dir: Option<PathBuf>,
}

/// How the server encrypts what it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Encryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// Of its key management; empty: the server's own choice.
    pub kms_key_id: String,
}

impl S3Options {
    /// Whether the bucket is in the path of requests: an address has no names below it.
    pub fn is_path_style(&self) -> bool {
        self.force_path_style || host_of(&self.endpoint).is_some_and(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
    }

    /// The server that requests go to, the bucket's own where the bucket is not in their path.
    pub fn server(&self) -> String {
        let endpoint = match self.endpoint.trim_end_matches('/') {
            "" => format!("https://s3.{}.amazonaws.com", self.region_or_default()),
            given => given.to_owned(),
        };
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        // Some write the bucket's own name already.
        if self.is_path_style() || rest.starts_with(&format!("{}.", self.bucket)) {
            return format!("{scheme}://{rest}");
        }
        format!("{scheme}://{}.{rest}", self.bucket)
    }

    fn region_or_default(&self) -> &str {
        if self.region.is_empty() { "us-east-1" } else { &self.region }
    }
}

/// Without the port.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => Some(host),
        _ => Some(authority),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use folder `{path}` as store: {source}; make it writable for this user or set `storage.filesystem.path`")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot open bucket `{bucket}`: {reason}; check `storage.s3.*` and the AWS_ variables")]
    S3 { bucket: String, reason: String },
}

/// Removes what a crash left behind of objects that were being written. Only for the server of a folder, before it opens it: whoever else
/// writes there would lose what it is at. A bucket keeps such things to itself.
pub fn clear_unfinished(options: &StoreOptions) -> Result<(), OpenError> {
    match options {
        StoreOptions::Folder { path } => folder::clear_temporary(path).map_err(|source| OpenError::Folder { path: path.clone(), source }),
        StoreOptions::S3(_) => Ok(()),
    }
}

/// Opens the store; for S3, nothing is sent yet. Credentials come from files, else from the environment (`AWS_ACCESS_KEY_ID`, …)
/// or the platform.
pub fn open(options: &StoreOptions, prefix: &str) -> Result<Store, OpenError> {
    match options {
        StoreOptions::Folder { path } => {
            let objects = folder::shared(path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
            Ok(Store::local(objects, prefix))
        }
        StoreOptions::S3(s3) => Ok(Store::with_numbered_parts(open_s3(s3)?, prefix)),
    }
}

fn open_s3(options: &S3Options) -> Result<Arc<AmazonS3>, OpenError> {
    let client = ClientOptions::new()
        .with_allow_http(options.insecure)
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(30));
    // Retries belong to `Store` alone.
    let no_retries = RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&options.bucket)
        .with_region(options.region_or_default())
        .with_virtual_hosted_style_request(!options.is_path_style())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client)
        .with_retry(no_retries);
    if !options.endpoint.is_empty() {
        builder = builder.with_endpoint(options.server());
    }
    if let Some(encryption) = &options.encryption {
        let key = |name: &str| name.parse::<AmazonS3ConfigKey>().expect("the library's own name of a setting");
        builder = builder.with_config(key("aws_server_side_encryption"), &encryption.algorithm);
        if !encryption.kms_key_id.is_empty() {
            builder = builder.with_config(key("aws_sse_kms_key_id"), &encryption.kms_key_id);
        }
    }
    if let Some(folder) = &options.credentials_dir {
        builder = builder.with_credentials(Arc::new(SecretFiles::new(folder)));
    }
    let store = builder.build().map_err(|error| OpenError::S3 { bucket: options.bucket.clone(), reason: error.to_string() })?;
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_host_or_in_the_path() {
        for (endpoint, force_path_style, server, is_path_style) in [
            ("", false, "https://logs.s3.eu-west-1.amazonaws.com", false),
            ("", true, "https://s3.eu-west-1.amazonaws.com", true),
            ("https://s3.example.org/", false, "https://logs.s3.example.org", false),
            ("https://logs.s3.example.org", false, "https://logs.s3.example.org", false),
            ("http://minio:9000", false, "http://logs.minio:9000", false),
            ("http://minio:9000", true, "http://minio:9000", true),
            ("http://127.0.0.1:9000", false, "http://127.0.0.1:9000", true),
            ("http://[::1]:9000", false, "http://[::1]:9000", true),
        ] {
            let options = S3Options {
                endpoint: endpoint.to_owned(),
                region: "eu-west-1".to_owned(),
                bucket: "logs".to_owned(),
                force_path_style,
                insecure: true,
                ..S3Options::default()
            };
            assert_eq!((options.server().as_str(), options.is_path_style()), (server, is_path_style), "{endpoint}");
            open(&StoreOptions::S3(options), "").expect("nothing is sent yet");
        }
    }
}
