//! The configuration: one file, every scalar of it also a flag and a variable, all mistakes told at once.
//!
//! ```text
//! defaults < FILE (--config) < TAILWATER_… variables < flags      merged as a tree of keys (`merge.rs`)
//!   → each leaf checked against the table of keys (`key.rs`)      → Config (serde, unknown fields denied)
//! ```
//! Nothing here touches the network or the store: `--check-config` runs exactly this.

pub mod blocked_query;
pub mod key;
pub mod load;
pub mod merge;
pub mod moment;
pub mod retention_rule;
pub mod size;
pub mod span;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::size::ByteSize;
use crate::config::span::Span;
use crate::limits::{Limits, TenantLimits};
use crate::tls::TlsFiles;

/// `aggregator.yaml`. The defaults are in the `Default` implementations below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the HTTP server.
    pub listen: SocketAddr,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    /// Bytes that the container or machine has, of which three quarters are given to pushes, queries and caches; 0: what it says that it has.
    pub memory_limit: ByteSize,
    pub storage: Storage,
    pub cache: Cache,
    /// How long a push waits for others to share its segment.
    pub flush_interval: Span,
    /// A segment is written when so many bytes of lines wait, however short the interval was.
    pub segment_bytes: ByteSize,
    /// How long a push may wait for its segment to be durable before it is answered 503.
    pub ack_timeout: Span,
    /// How often the store is asked for segments of other replicas.
    pub discover_interval: Span,
    pub compaction: Compaction,
    pub retention: Retention,
    pub query: Query,
    pub limits: Limits,
    /// Limits of single tenants: only what differs from `limits` is written.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Limits>,
    /// Behave as Loki where its own users call it a bug: its rate limits and age limits, the refusal of entries too far behind.
    pub strict_loki: bool,
    pub tenancy: Tenancy,
    pub auth: Auth,
    /// Where the replicas that share this store answer, such as `http://10.0.0.7:3100`; this one may be among them. They share the background work.
    /// A name that has several addresses stands for all of them: `{service: NAME}` is `[http://NAME:3100]`, NAME that of a headless Service.
    pub peers: Vec<String>,
    pub tls: Tls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 3100)),
            log_level: LogLevel::Info,
            log_format: LogFormat::Logfmt,
            memory_limit: ByteSize::bytes(0),
            storage: Storage::default(),
            cache: Cache::default(),
            flush_interval: Span::milliseconds(100),
            segment_bytes: ByteSize::mebibytes(8),
            ack_timeout: Span::seconds(8),
            discover_interval: Span::seconds(2),
            compaction: Compaction::default(),
            retention: Retention::default(),
            query: Query::default(),
            limits: Limits::default(),
            overrides: BTreeMap::new(),
            strict_loki: false,
            tenancy: Tenancy::default(),
            auth: Auth::default(),
            peers: Vec::new(),
            tls: Tls::default(),
        }
    }
}

/// A local disk to help memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// A folder that may be lost at any time (an emptyDir): objects of a remote store are cached in it, and queries that need more memory than
    /// there is go on in it. Empty: neither.
    pub dir: PathBuf,
    /// Bytes of objects that are kept there. Only a remote store's are.
    pub disk_bytes: ByteSize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { dir: PathBuf::new(), disk_bytes: ByteSize::mebibytes(10 << 10) }
    }
}

/// How segments become data files, in the background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compaction {
    /// Segments are folded into data files when the oldest is so old, or when they hold `fold_bytes`.
    pub compact_after: Span,
    /// Bytes of lines in segments that are folded at once.
    pub fold_bytes: ByteSize,
    /// Files of a past day are merged when none came for so long: longer than `compact_after`, or the last segments come to a merged day.
    pub settle: Span,
    /// zstd level of final files, 1 to 9: 6 saves some 5 % of the bytes for five times the CPU.
    pub final_level: u32,
    /// How long objects stay that compaction has replaced, so that running queries find them. From five minutes on it is held to twice the
    /// longest `limits.query_timeout`; with less, queries may have to be begun again.
    pub retire_after: Span,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            compact_after: Span::seconds(60),
            fold_bytes: ByteSize::mebibytes(32),
            settle: Span::seconds(120),
            final_level: 1,
            retire_after: Span::seconds(300),
        }
    }
}

/// What is kept in all, and how deletes are done. How long a tenant's lines are kept is among its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Bytes that the data files of all tenants may take as stored; the oldest files go first. 0: no limit.
    pub size_budget: ByteSize,
    /// How long a delete request may be withdrawn without loss. It hides lines at once; after this they are erased.
    pub cancel_period: Span,
}

impl Default for Retention {
    fn default() -> Self {
        // Two hours are left to erase within a day.
        Self { size_budget: ByteSize::bytes(0), cancel_period: Span::hours(22) }
    }
}

/// How queries work. Nothing here changes an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Ask text indexes which pages a string can be in. Without them all pages of the streams and the time are searched.
    pub text_index: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self { text_index: true }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    #[serde(rename = "type")]
    pub kind: StorageKind,
    /// Keys of all objects begin with it.
    pub prefix: String,
    /// The layout that may be written. Raised by hand once no older program is left that has to read the store; what is there is read whatever it is.
    pub format_version: u32,
    /// Bytes that the bucket has room for; an alert looks ahead to them, nothing else does. 0: unknown.
    pub quota_bytes: ByteSize,
    pub filesystem: Filesystem,
    pub s3: S3,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            kind: StorageKind::Filesystem,
            prefix: String::new(),
            format_version: 1,
            quota_bytes: ByteSize::bytes(0),
            filesystem: Filesystem::default(),
            s3: S3::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    Filesystem,
    S3,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filesystem {
    /// The folder of all objects.
    pub path: PathBuf,
}

impl Default for Filesystem {
    fn default() -> Self {
        Self { path: PathBuf::from("./tailwater-data") }
    }
}

/// Credentials come from files, else from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, else from the platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// URL of the server; empty: AWS.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    /// The bucket in the path of the URL instead of the host's name, as MinIO wants it.
    pub force_path_style: bool,
    /// Allow plain HTTP.
    pub insecure: bool,
    /// How the server is to encrypt what it is sent: one of [`S3::ENCRYPTIONS`]. Empty: as the bucket is set up.
    pub sse: String,
    /// The key of `aws:kms`; empty: the bucket's own.
    pub kms_key_id: String,
    /// A folder with files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if it is there, `AWS_SESSION_TOKEN`, read again when they change. Empty: none.
    pub credentials_dir: PathBuf,
}

impl S3 {
    pub const ENCRYPTIONS: [&'static str; 3] = ["AES256", "aws:kms", "aws:kms:dsse"];

    /// `None`: keys are not in files.
    pub fn credentials_dir(&self) -> Option<&Path> {
        named(&self.credentials_dir)
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            bucket: String::new(),
            force_path_style: false,
            insecure: false,
            sse: String::new(),
            kms_key_id: String::new(),
            credentials_dir: PathBuf::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenancy {
    /// Read the tenant from `X-Scope-OrgID`; otherwise all data is of the tenant `default`.
    pub enabled: bool,
    /// The tenant of everything where tenancy is off.
    pub default: String,
    /// Allow `X-Scope-OrgID: a|b` in queries.
    pub multi_tenant_queries: bool,
}

impl Default for Tenancy {
    fn default() -> Self {
        Self { enabled: false, default: "fake".to_owned(), multi_tenant_queries: false }
    }
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub mode: AuthMode,
    /// How to reach the Kubernetes API; empty: as the pod's service account. That needs the ClusterRoles `system:auth-delegator` and
    /// `tailwater:namespaces`.
    pub kubeconfig: PathBuf,
}

/// HTTPS in place of HTTP. Both files are read again for each connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate with those that lead to its authority, PEM. Empty: plain HTTP.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authorities of clients, PEM: only who shows a certificate of one of them is then answered, but for probes and scrapes. Empty: everybody.
    pub client_ca: PathBuf,
    /// Authorities of the other replicas' certificates, PEM, besides those that every machine knows.
    pub ca: PathBuf,
}

/// `None` of an empty path.
fn named(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

impl Tls {
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    /// `None`: clients are asked for no certificate.
    pub fn client_authorities(&self) -> Option<&Path> {
        named(&self.client_ca)
    }

    /// `None`: only authorities that every machine knows.
    pub fn peer_authorities(&self) -> Option<&Path> {
        named(&self.ca)
    }

    /// `None`: plain HTTP.
    pub fn files(&self) -> Option<TlsFiles> {
        self.is_on().then(|| TlsFiles { certificate: self.certificate.clone(), key: self.key.clone() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Everybody who gets here, within their tenant: a gateway decides who that is.
    #[default]
    None,
    /// Who may `get pods/log` in Kubernetes, namespace by namespace.
    Kubernetes,
}

impl AuthMode {
    pub const NAMES: &'static [&'static str] = &["none", "kubernetes"];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub const NAMES: &'static [&'static str] = &["error", "warn", "info", "debug", "trace"];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace].into_iter().find(|level| level.as_str() == text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Logfmt,
    Json,
}

impl LogFormat {
    pub const NAMES: &'static [&'static str] = &["logfmt", "json"];
}

impl Config {
    /// The limits of every tenant, resolved.
    pub fn tenant_limits(&self) -> TenantLimits {
        TenantLimits::new(self.limits.clone(), self.overrides.clone(), self.strict_loki, self.tenancy.enabled)
    }

    /// The configuration as YAML. It holds no secrets but what a URL may carry, which is masked.
    pub fn to_yaml(&self) -> String {
        let mut shown = self.clone();
        shown.storage.s3.endpoint = masked(&shown.storage.s3.endpoint);
        serde_yaml_ng::to_string(&shown).expect("a configuration is made of scalars, lists and maps with text keys")
    }
}

/// A URL without its user and password.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://<masked>@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let config = Config::default();
        let read: Config = serde_yaml_ng::from_str(&config.to_yaml()).expect("printed configuration");
        assert_eq!(read, config);
    }

    #[test]
    fn a_password_in_a_url_is_not_printed() {
        for (url, expected) in
            [("http://user:secret@minio:9000/x@y", "http://<masked>@minio:9000/x@y"), ("http://minio:9000", "http://minio:9000"), ("", "")]
        {
            assert_eq!(masked(url), expected);
        }
    }
}
