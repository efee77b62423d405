//! How a server is trusted and how it knows us: certificates from files or texts, the name it must prove, versions, and the proxy on the way.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HOST, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, Url};

use super::receiver::{ReceiverError, Secret};

/// PEM, each as a file or as its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<Secret>,
    pub skips_verification: bool,
    /// The name that the certificate must be of, where it is not the host of the URL.
    pub server_name: Option<String>,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

/// Older versions are not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V12,
    V13,
}

impl TlsVersion {
    /// By the name that Prometheus' configurations have for it. What is older than all that is spoken says nothing, as a minimum.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "TLS12" => Some(Self::V12),
            "TLS13" => Some(Self::V13),
            _ => None,
        }
    }

    fn wire(self) -> reqwest::tls::Version {
        match self {
            Self::V12 => reqwest::tls::Version::TLS_1_2,
            Self::V13 => reqwest::tls::Version::TLS_1_3,
        }
    }
}

impl TlsFiles {
    fn wrong(path: &Path, what: impl ToString) -> ReceiverError {
        ReceiverError::Tls { path: path.to_owned(), what: what.to_string() }
    }

    /// The text of a file, or the text given itself, with what to call it in an error.
    fn pem(file: Option<&PathBuf>, text: Option<&str>, key: &str) -> Result<Option<(PathBuf, Vec<u8>)>, ReceiverError> {
        match (file, text) {
            (Some(path), _) => {
                let bytes = std::fs::read(path).map_err(|error| Self::wrong(path, error))?;
                Ok(Some((path.clone(), bytes)))
            }
            (None, Some(text)) => Ok(Some((PathBuf::from(format!("tls_config.{key}")), text.as_bytes().to_vec()))),
            (None, None) => Ok(None),
        }
    }

    /// The files that it is made from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten().cloned().collect()
    }

    /// Adds certificates, versions and proxy.
    pub(crate) fn secure(&self, mut builder: ClientBuilder, proxy: Option<&str>) -> Result<ClientBuilder, ReceiverError> {
        if let Some((name, pem)) = Self::pem(self.ca_file.as_ref(), self.ca.as_deref(), "ca")? {
            for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| Self::wrong(&name, error))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let certificate = Self::pem(self.cert_file.as_ref(), self.cert.as_deref(), "cert")?;
        let key = Self::pem(self.key_file.as_ref(), self.key.as_ref().map(|key| key.0.as_str()), "key")?;
        if let (Some((name, certificate)), Some((_, key))) = (certificate, key) {
            let pem = [certificate, b"\n".to_vec(), key].concat();
            builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(|error| Self::wrong(&name, error))?);
        }
        if self.skips_verification {
            builder = builder.danger_accept_invalid_certs(true);
        }
        if let Some(version) = self.min_version {
            builder = builder.tls_version_min(version.wire());
        }
        if let Some(version) = self.max_version {
            builder = builder.tls_version_max(version.wire());
        }
        if let Some(url) = proxy {
            let proxy = reqwest::Proxy::all(url).map_err(|_| ReceiverError::Proxy { url: url.to_owned() })?;
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }

    /// The name that the server at `url` must prove, if that is not its host's.
    pub(crate) fn other_name(&self, url: &Url) -> Option<&str> {
        self.server_name.as_deref().filter(|name| url.scheme() == "https" && url.host_str() != Some(name))
    }

    /// The URL, headers and resolver with which a server must prove another name than its host's: requests go to that name, which stands for the
    /// addresses of the host.
    pub(crate) fn rename(&self, url: &mut Url, headers: &mut HeaderMap, builder: ClientBuilder) -> Result<ClientBuilder, ReceiverError> {
        let Some(name) = self.other_name(url).map(str::to_owned) else { return Ok(builder) };
        let wrong = || ReceiverError::ServerName { name: name.clone() };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let authority = format!("{}{port}", url.host_str().unwrap_or_default());
        if name.parse::<IpAddr>().is_ok() {
            return Err(wrong());
        }
        headers.insert(HOST, HeaderValue::try_from(authority).map_err(|_| wrong())?);
        url.set_host(Some(&name)).map_err(|_| wrong())?;
        Ok(builder.dns_resolver(Renamed { name: name.to_lowercase(), host }))
    }
}

/// Answers for a name with the addresses of another.
struct Renamed {
    name: String,
    host: String,
}

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let host = if name.as_str() == self.name { self.host.clone() } else { name.as_str().to_owned() };
        Box::pin(async move {
            let addresses: Vec<std::net::SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
