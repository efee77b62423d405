//! `server.http_tls_config`: certificates of the HTTP surface, each as a file or as its text.

use super::reader::Fields;
use super::report::Report;
use super::yaml::Node;
use crate::admin::tls::{ClientCertificates, Pem, ServerTls};
use crate::config::Secret;

const PLACE: &str = "server.http_tls_config";

/// What the section says; `None` without a certificate, which means no TLS. What cannot be used is reported: files must be there now.
pub(super) fn read(node: &Node, oldest: Option<&str>, report: &mut Report) -> Option<ServerTls> {
    let mut fields = Fields::of(node, PLACE, report)?;
    let line = fields.line();
    let certificate = pem(&mut fields, "cert", report);
    let key = pem(&mut fields, "key", report);
    let authorities = pem(&mut fields, "client_ca", report);
    let asked = fields.text("client_auth_type", report).unwrap_or_default();
    fields.finish(report);
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        _ => {
            report.error(line, format!("`{PLACE}`: a certificate needs its key, and a key its certificate"));
            return None;
        }
    };
    let is_required = asked == "RequireAndVerifyClientCert";
    let clients = match (asked.as_str(), authorities) {
        ("" | "NoClientCert", None) => ClientCertificates::NotAsked,
        ("VerifyClientCertIfGiven" | "RequireAndVerifyClientCert", Some(authorities)) => {
            ClientCertificates::Known { authorities, is_required }
        }
        ("VerifyClientCertIfGiven" | "RequireAndVerifyClientCert", None) => {
            report.error(line, format!("`{PLACE}.client_auth_type` is `{asked}`, which needs a `client_ca_file`"));
            return None;
        }
        ("" | "NoClientCert", Some(_)) => {
            report.error(line, format!("`{PLACE}.client_ca_file` needs a `client_auth_type`, as RequireAndVerifyClientCert"));
            return None;
        }
        _ => {
            let ways = "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert: certificates that nobody verifies say nothing";
            report.error(line, format!("`{PLACE}.client_auth_type` is `{asked}`; it can be {ways}"));
            return None;
        }
    };
    let tls = ServerTls { certificate, key, clients, is_newest_only: oldest == Some("VersionTLS13") };
    if let Err(error) = tls.config() {
        report.error(line, format!("`{PLACE}`: {error}"));
    }
    Some(tls)
}

/// The text at `key`, or the file at `<key>_file`.
fn pem(fields: &mut Fields<'_>, key: &str, report: &mut Report) -> Option<Pem> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let text = set(fields.text(key, report)).map(|text| Pem::Text(Secret(text)));
    let file = set(fields.text(&format!("{key}_file"), report)).map(|path| Pem::File(path.into()));
    if text.is_some() && file.is_some() {
        report.error(fields.line(), format!("`{PLACE}`: give one of `{key}` and `{key}_file`"));
    }
    text.or(file)
}
