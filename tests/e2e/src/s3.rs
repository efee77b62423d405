//! S3 servers: SeaweedFS, which honours conditions, and s3rver, which ignores them.
//!
//! The programs get a key that may read, write and list one bucket, and no more. Buckets are made by an anonymous
//! request, which the servers allow to this drill alone: they listen on the loopback interface.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client;

use crate::deadline::eventually;
use crate::ports;
use crate::process::{Invocation, Process};
use crate::programs;

/// The bucket that every drill uses.
pub const BUCKET: &str = "logs";
const ACCESS_KEY: &str = "tailwater";
const SECRET_KEY: &str = "tailwater-secret";
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server with the bucket in it.
#[derive(Debug)]
pub struct S3Server {
    process: Process,
    port: u16,
    access_key: String,
    secret_key: String,
}

impl S3Server {
    /// SeaweedFS, all its parts in one process.
    pub async fn weed(folder: &Path) -> Result<Self> {
        let data = folder.join("weed");
        fs::create_dir_all(&data)?;
        let identities = serde_json::json!({"identities": [
            {
                "name": "tailwater",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": [format!("Read:{BUCKET}"), format!("Write:{BUCKET}"), format!("List:{BUCKET}")],
            },
            {"name": "anonymous", "actions": ["Admin"]},
        ]});
        let identities_file = folder.join("weed-identities.json");
        fs::write(&identities_file, identities.to_string())?;
        let port = ports::free()?;
        let mut arguments = vec![
            "server".to_owned(),
            format!("-dir={}", data.display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            "-master.volumeSizeLimitMB=64".to_owned(),
            "-volume.max=100".to_owned(),
            "-filer=true".to_owned(),
            "-s3=true".to_owned(),
            // Their ports are fixed, so a second server would find them taken.
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            format!("-s3.port={port}"),
            format!("-s3.config={}", identities_file.display()),
        ];
        for part in ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc"]
        {
            arguments.push(format!("-{part}={}", ports::free()?));
        }
        let process = Process::start("weed", &Invocation::new(programs::weed()?, arguments), folder)?;
        let mut server = Self { process, port, access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() };
        server.make_bucket().await?;
        Ok(server)
    }

    /// s3rver, whose only key is built in.
    pub async fn s3rver(folder: &Path) -> Result<Self> {
        let data = folder.join("s3rver");
        fs::create_dir_all(&data)?;
        let port = ports::free()?;
        let data = data.display().to_string();
        let port_text = port.to_string();
        let arguments = ["-d", &data, "-a", "127.0.0.1", "-p", &port_text, "--no-vhost-buckets", "--configure-bucket", BUCKET];
        let process = Process::start("s3rver", &Invocation::new(programs::s3rver()?, arguments), folder)?;
        let mut server = Self { process, port, access_key: "S3RVER".to_owned(), secret_key: "S3RVER".to_owned() };
        server.answers().await?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Flags of the aggregator.
    pub fn flags(&self) -> Vec<String> {
        flags(self.port, BUCKET)
    }

    /// Variables of the aggregator.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(&self.access_key, &self.secret_key)
    }

    async fn answers(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/{BUCKET}", self.port);
        let client = Client::builder().build()?;
        eventually("the S3 server answers", START_LIMIT, || async { client.get(&url).send().await.map(drop).context("no answer") }).await?;
        self.process.require_running()
    }

    async fn make_bucket(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/{BUCKET}", self.port);
        let client = Client::builder().build()?;
        let made = eventually("the bucket is made", START_LIMIT, || async {
            let status = client.put(&url).send().await?.status();
            ensure!(status.is_success() || status.as_u16() == 409, "the S3 server answers {status}");
            Ok(())
        })
        .await;
        self.process.require_running()?;
        made
    }
}

/// Flags for an S3 server on a port of this machine.
pub fn flags(port: u16, bucket: &str) -> Vec<String> {
    let endpoint = format!("http://127.0.0.1:{port}");
    let pairs = [
        ("--storage-type", "s3"),
        ("--storage-s3-endpoint", &endpoint),
        ("--storage-s3-bucket", bucket),
        ("--storage-s3-force-path-style", "true"),
        ("--storage-s3-insecure", "true"),
    ];
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]).collect()
}

/// Variables with a key.
pub fn variables(access_key: &str, secret_key: &str) -> Vec<(String, String)> {
    vec![("AWS_ACCESS_KEY_ID".to_owned(), access_key.to_owned()), ("AWS_SECRET_ACCESS_KEY".to_owned(), secret_key.to_owned())]
}
