//! `clients`: where to push, and what to add.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::reader::Fields;
use super::report::Report;
use super::yaml::Node;
use crate::config::{ClientConfig, OAuth2, Secret, TlsFiles, TlsVersion};

/// One receiver.
#[derive(Debug, Clone)]
pub(crate) struct PromtailClient {
    /// Names its positions where there are several.
    pub(crate) name: String,
    pub(crate) config: ClientConfig,
    pub(crate) external_labels: BTreeMap<String, String>,
}

/// Reads `clients`, and the old `client`.
pub(super) fn read_clients(root: &mut Fields<'_>, report: &mut Report) -> Vec<PromtailClient> {
    let mut nodes: Vec<&Node> = Vec::new();
    let mut line = 1;
    if let Some((key_line, node)) = root.take_with_line("clients") {
        line = key_line;
        match node.sequence() {
            Some(items) => nodes.extend(items),
            None => report.error(node.line, "`clients`: expected a list"),
        }
    }
    // Without a URL it holds defaults and is no client.
    let old = root.take("client").filter(|node| node.mapping().is_some_and(|pairs| !pairs.is_empty()));
    let common = old.and_then(|node| common_labels(node, report));
    nodes.extend(old.filter(|_| common.is_none()));
    if nodes.is_empty() {
        report.error(line, "no client: give one like `clients: [{url: http://HOST:3100/loki/api/v1/push}]`");
    }
    let mut clients: Vec<PromtailClient> = nodes.iter().enumerate().filter_map(|(index, node)| read_client(node, index, report)).collect();
    for (index, client) in clients.iter().enumerate() {
        if clients[..index].iter().any(|other| other.name == client.name) {
            report.error(nodes[index].line, format!("two clients are named `{}`; give each a `name` of its own", client.name));
        }
    }
    for client in &mut clients {
        // A client's own come first.
        let own = std::mem::take(&mut client.external_labels);
        client.external_labels = common.clone().unwrap_or_default().into_iter().chain(own).collect();
    }
    clients
}

/// The labels of an old `client` that holds nothing else: every client adds them.
fn common_labels(node: &Node, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let [(key, _)] = node.mapping()? else { return None };
    if key.raw_text() != Some("external_labels") {
        return None;
    }
    let mut fields = Fields::of(node, "client", report)?;
    let labels = fields.text_map("external_labels", report);
    fields.finish(report);
    labels
}

fn read_client(node: &Node, index: usize, report: &mut Report) -> Option<PromtailClient> {
    let mut fields = Fields::of(node, "clients", report)?;
    let line = fields.line();
    let url = fields.text("url", report).unwrap_or_default();
    if url.is_empty() {
        report.error(line, "`clients.url` is missing; give the client's push endpoint");
    }
    let mut config = ClientConfig::new(url);
    config.tenant_id = fields.text("tenant_id", report).filter(|tenant| !tenant.is_empty());
    config.batchwait = fields.duration("batchwait", report).unwrap_or(Duration::from_secs(1));
    let size = fields.integer("batchsize", report).and_then(|size| usize::try_from(size).ok());
    config.batchsize = size.filter(|size| *size > 0).unwrap_or(1 << 20);
    config.timeout = fields.duration("timeout", report).unwrap_or(Duration::from_secs(10));
    read_backoff(fields.take("backoff_config"), &mut config, report);
    config.headers = fields.text_map("headers", report).unwrap_or_default();
    if let Some(node) = fields.take("http_headers") {
        config.headers.extend(read_http_headers(node, report));
    }
    config.drops_rate_limited = fields.boolean("drop_rate_limited_batches", report).unwrap_or(false);
    read_credentials(&mut fields, &mut config, "clients", report);
    read_connection(&mut fields, &mut config, report);
    let external_labels = fields.text_map("external_labels", report).unwrap_or_default();
    let name = fields.text("name", report).filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{index}"));
    fields.finish(report);
    Some(PromtailClient { name, config, external_labels })
}

/// Headers as Prometheus' clients have them: each with values, secret ones among them, or files that hold one.
fn read_http_headers(node: &Node, report: &mut Report) -> BTreeMap<String, String> {
    const PLACE: &str = "clients.http_headers";
    let mut headers = BTreeMap::new();
    let Some(pairs) = node.mapping() else {
        report.error(node.line, format!("`{PLACE}`: expected names with values"));
        return headers;
    };
    for (name, node) in pairs {
        let Some(mut fields) = Fields::of(node, PLACE, report) else { continue };
        let mut values: Vec<String> = Vec::new();
        for key in ["values", "secrets"] {
            values.extend(fields.text_list(key, report).unwrap_or_default());
        }
        for path in fields.text_list("files", report).unwrap_or_default() {
            match std::fs::read_to_string(&path) {
                Ok(text) => values.push(text.trim().to_owned()),
                Err(error) => report.error(fields.line(), format!("cannot read `{path}` of `{PLACE}`: {error}")),
            }
        }
        fields.finish(report);
        if let (Some(name), false) = (name.raw_text(), values.is_empty()) {
            headers.insert(name.to_owned(), values.join(", "));
        }
    }
    headers
}

fn read_backoff(node: Option<&Node>, config: &mut ClientConfig, report: &mut Report) {
    config.backoff.max_period = Duration::from_secs(300);
    let Some(node) = node else { return };
    let Some(mut fields) = Fields::of(node, "clients.backoff_config", report) else { return };
    if let Some(period) = fields.duration("min_period", report) {
        config.backoff.min_period = period;
    }
    if let Some(period) = fields.duration("max_period", report) {
        config.backoff.max_period = period;
    }
    if let Some(retries) = fields.integer("max_retries", report) {
        config.backoff.max_retries = u32::try_from(retries).unwrap_or(0);
    }
    fields.finish(report);
}

/// How a client shows who it is; `place` names its section.
pub(super) fn read_credentials(fields: &mut Fields<'_>, config: &mut ClientConfig, place: &str, report: &mut Report) {
    let (basic, authorization) = (format!("{place}.basic_auth"), format!("{place}.authorization"));
    config.bearer_token = fields.text("bearer_token", report).map(Secret);
    config.bearer_token_file = fields.text("bearer_token_file", report).map(Into::into);
    if let Some(node) = fields.take("basic_auth")
        && let Some(mut auth) = Fields::of(node, &basic, report)
    {
        let line = auth.line();
        let user = text_or_file(&mut auth, "username", "username_file", report).unwrap_or_default();
        let (password, file) = (auth.text("password", report), auth.text("password_file", report));
        auth.finish(report);
        // It must be there now, and is read again before every request.
        if let Some(path) = &file
            && let Err(error) = std::fs::read_to_string(path)
        {
            report.error(line, format!("cannot read `{path}` of `password_file`: {error}"));
        }
        config.password_file = file.map(Into::into);
        config.basic_auth = Some((user, Secret(password.unwrap_or_default())));
    }
    if let Some(node) = fields.take("authorization")
        && let Some(mut auth) = Fields::of(node, &authorization, report)
    {
        let line = auth.line();
        let kind = auth.text("type", report).unwrap_or_else(|| "Bearer".to_owned());
        let token = auth.text("credentials", report).map(Secret);
        let file = auth.text("credentials_file", report);
        auth.finish(report);
        if kind.trim().eq_ignore_ascii_case("basic") {
            report.error(line, format!("`{place}.authorization.type` is `Basic`; use `basic_auth` for it"));
        }
        if token.is_some() && file.is_some() {
            report.error(line, format!("`{place}.authorization`: give one of `credentials` and `credentials_file`"));
        }
        config.bearer_token = token;
        config.bearer_token_file = file.map(Into::into);
        config.token_scheme = Some(kind.trim().to_owned()).filter(|kind| !kind.eq_ignore_ascii_case("bearer"));
    }
    if let Some(node) = fields.take("oauth2") {
        config.oauth2 = read_oauth2(node, report);
    }
    let ways = [config.basic_auth.is_some(), config.bearer_token.is_some(), config.bearer_token_file.is_some(), config.oauth2.is_some()];
    if ways.into_iter().filter(|is_given| *is_given).count() > 1 {
        report.error(
            fields.line(),
            format!("`{place}`: give one of `basic_auth`, `bearer_token`, `bearer_token_file`, `authorization` and `oauth2`"),
        );
    }
}

fn read_oauth2(node: &Node, report: &mut Report) -> Option<OAuth2> {
    let mut fields = Fields::of(node, "clients.oauth2", report)?;
    let line = fields.line();
    let oauth2 = OAuth2 {
        client_id: fields.text("client_id", report).unwrap_or_default(),
        client_secret: fields.text("client_secret", report).map(Secret),
        client_secret_file: fields.text("client_secret_file", report).map(Into::into),
        scopes: fields.text_list("scopes", report).unwrap_or_default(),
        token_url: fields.text("token_url", report).unwrap_or_default(),
        endpoint_params: fields.text_map("endpoint_params", report).unwrap_or_default(),
        tls: fields.take("tls_config").map(|node| read_tls(node, "clients.oauth2.tls_config", report)).unwrap_or_default(),
        proxy_url: fields.text("proxy_url", report),
    };
    fields.without_effect(&PROXY_KEYS, "the client decides", report);
    fields.finish(report);
    if oauth2.client_id.is_empty() {
        report.error(line, "`clients.oauth2.client_id` is missing");
    }
    if oauth2.client_secret.is_some() == oauth2.client_secret_file.is_some() {
        report.error(line, "`clients.oauth2`: give one of `client_secret` and `client_secret_file`");
    }
    if !oauth2.token_url.starts_with("http") {
        report.error(line, "`clients.oauth2.token_url` is missing or no URL");
    }
    Some(oauth2)
}

fn text_or_file(fields: &mut Fields<'_>, key: &str, file_key: &str, report: &mut Report) -> Option<String> {
    let text = fields.text(key, report);
    let file = fields.take(file_key);
    let Some(node) = file else { return text };
    let path = node.raw_text().unwrap_or_default();
    match std::fs::read_to_string(Path::new(path)) {
        Ok(content) => Some(content.trim().to_owned()),
        Err(error) => {
            report.error(node.line, format!("cannot read `{path}` of `{file_key}`: {error}"));
            text
        }
    }
}

/// `tls_config`, of a client or of what it asks for tokens.
pub(super) fn read_tls(node: &Node, place: &str, report: &mut Report) -> TlsFiles {
    let mut files = TlsFiles::default();
    let Some(mut tls) = Fields::of(node, place, report) else { return files };
    let line = tls.line();
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    files.ca_file = set(tls.text("ca_file", report)).map(Into::into);
    files.cert_file = set(tls.text("cert_file", report)).map(Into::into);
    files.key_file = set(tls.text("key_file", report)).map(Into::into);
    files.ca = set(tls.text("ca", report));
    files.cert = set(tls.text("cert", report));
    files.key = set(tls.text("key", report)).map(Secret);
    files.server_name = set(tls.text("server_name", report));
    files.skips_verification = tls.boolean("insecure_skip_verify", report).unwrap_or(false);
    for (key, version) in [("min_version", &mut files.min_version), ("max_version", &mut files.max_version)] {
        let Some(name) = set(tls.text(key, report)) else { continue };
        *version = TlsVersion::named(&name);
        match name.as_str() {
            "TLS12" | "TLS13" => {}
            "TLS10" | "TLS11" if key == "min_version" => {}
            "TLS10" | "TLS11" => {
                report.error(line, format!("`{place}.{key}` is `{name}`, which is not spoken any more; give TLS12 or TLS13"))
            }
            _ => report.error(line, format!("`{place}.{key}` is `{name}`; it can be TLS12 or TLS13")),
        }
    }
    for (file, text, key) in [
        (files.ca_file.is_some(), files.ca.is_some(), "ca"),
        (files.cert_file.is_some(), files.cert.is_some(), "cert"),
        (files.key_file.is_some(), files.key.is_some(), "key"),
    ] {
        if file && text {
            report.error(line, format!("`{place}`: give one of `{key}` and `{key}_file`"));
        }
    }
    let (certificate, key) = (files.cert_file.is_some() || files.cert.is_some(), files.key_file.is_some() || files.key.is_some());
    if certificate != key {
        report.error(line, format!("`{place}`: a certificate needs its key, and a key its certificate"));
    }
    tls.finish(report);
    files
}

const PROXY_KEYS: [&str; 3] = ["no_proxy", "proxy_from_environment", "proxy_connect_header"];

fn read_connection(fields: &mut Fields<'_>, config: &mut ClientConfig, report: &mut Report) {
    if let Some(node) = fields.take("tls_config") {
        config.tls = read_tls(node, "clients.tls_config", report);
    }
    config.proxy_url = fields.text("proxy_url", report);
    if fields.boolean("follow_redirects", report) == Some(false) {
        config.follows_redirects = false;
    }
    fields.without_effect(&["enable_http2"], "the client decides", report);
    fields.without_effect(&PROXY_KEYS, "the client decides", report);
}
