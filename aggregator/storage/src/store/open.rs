//! Opens the configured store. Errors here end the program, so they say what to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::{ClientOptions, ObjectStore, RetryConfig};

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
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use folder `{path}` as store: {source}; make it writable for this user or set `storage.filesystem.path`")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot open bucket `{bucket}`: {reason}; check `storage.s3.*` and the AWS_ variables")]
    S3 { bucket: String, reason: String },
}

/// Opens the store; for S3, nothing is sent yet. Credentials come from the environment (`AWS_ACCESS_KEY_ID`, …) or the platform.
pub fn open(options: &StoreOptions, prefix: &str) -> Result<Store, OpenError> {
    match options {
        StoreOptions::Folder { path } => {
            let objects = folder::shared(path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
            Ok(Store::local(objects, prefix))
        }
        StoreOptions::S3(s3) => Ok(Store::new(open_s3(s3)?, prefix)),
    }
}

fn open_s3(options: &S3Options) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let client = ClientOptions::new()
        .with_allow_http(options.insecure)
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(30));
    // Retries belong to `Store` alone.
    let no_retries = RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&options.bucket)
        .with_region(if options.region.is_empty() { "us-east-1" } else { &options.region })
        .with_virtual_hosted_style_request(!options.force_path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client)
        .with_retry(no_retries);
    if !options.endpoint.is_empty() {
        builder = builder.with_endpoint(&options.endpoint);
    }
    let store = builder.build().map_err(|error| OpenError::S3 { bucket: options.bucket.clone(), reason: error.to_string() })?;
    Ok(Arc::new(store))
}
