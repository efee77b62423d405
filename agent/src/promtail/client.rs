//! `clients`: where to push, and what to add.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::reader::Fields;
use super::report::Report;
use super::yaml::Node;
use crate::config::{ClientConfig, Secret};

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
    if let Some(node) = root.take("client").filter(|node| node.mapping().is_some_and(|pairs| !pairs.is_empty())) {
        nodes.push(node);
    }
    if nodes.is_empty() {
        report.error(line, "no client: give one like `clients: [{url: http://HOST:3100/loki/api/v1/push}]`");
    }
    let clients: Vec<PromtailClient> = nodes.iter().enumerate().filter_map(|(index, node)| read_client(node, index, report)).collect();
    for (index, client) in clients.iter().enumerate() {
        if clients[..index].iter().any(|other| other.name == client.name) {
            report.error(nodes[index].line, format!("two clients are named `{}`; give each a `name` of its own", client.name));
        }
    }
    clients
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
    config.drops_rate_limited = fields.boolean("drop_rate_limited_batches", report).unwrap_or(false);
    read_credentials(&mut fields, &mut config, report);
    read_connection(&mut fields, &mut config, report);
    let external_labels = fields.text_map("external_labels", report).unwrap_or_default();
    let name = fields.text("name", report).filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{index}"));
    fields.finish(report);
    Some(PromtailClient { name, config, external_labels })
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

fn read_credentials(fields: &mut Fields<'_>, config: &mut ClientConfig, report: &mut Report) {
    config.bearer_token = fields.text("bearer_token", report).map(Secret);
    config.bearer_token_file = fields.text("bearer_token_file", report).map(Into::into);
    if let Some(node) = fields.take("basic_auth")
        && let Some(mut auth) = Fields::of(node, "clients.basic_auth", report)
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
        && let Some(mut auth) = Fields::of(node, "clients.authorization", report)
    {
        let line = auth.line();
        let kind = auth.text("type", report).unwrap_or_else(|| "Bearer".to_owned());
        let token = auth.text("credentials", report).map(Secret);
        let file = auth.text("credentials_file", report);
        auth.finish(report);
        if kind.eq_ignore_ascii_case("bearer") {
            config.bearer_token = token;
            config.bearer_token_file = file.map(Into::into);
        } else {
            report.error(line, format!("`clients.authorization.type` is `{kind}`; only Bearer is supported"));
        }
    }
    let ways = [config.basic_auth.is_some(), config.bearer_token.is_some(), config.bearer_token_file.is_some()];
    if ways.into_iter().filter(|is_given| *is_given).count() > 1 {
        report.error(fields.line(), "`clients`: give one of `basic_auth`, `bearer_token`, `bearer_token_file` and `authorization`");
    }
    if let Some((line, _)) = fields.take_with_line("oauth2") {
        report.error(line, "`clients.oauth2` is not supported; use `bearer_token_file`, `basic_auth` or `authorization`");
    }
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

fn read_connection(fields: &mut Fields<'_>, config: &mut ClientConfig, report: &mut Report) {
    if let Some(node) = fields.take("tls_config")
        && let Some(mut tls) = Fields::of(node, "clients.tls_config", report)
    {
        config.tls.ca_file = tls.text("ca_file", report).map(Into::into);
        config.tls.cert_file = tls.text("cert_file", report).map(Into::into);
        config.tls.key_file = tls.text("key_file", report).map(Into::into);
        config.tls.skips_verification = tls.boolean("insecure_skip_verify", report).unwrap_or(false);
        for key in ["server_name", "ca", "cert", "key", "min_version", "max_version"] {
            if let Some((line, _)) = tls.take_with_line(key) {
                report.error(line, format!("`clients.tls_config.{key}` is not supported; use the `_file` keys"));
            }
        }
        tls.finish(report);
    }
    config.proxy_url = fields.text("proxy_url", report);
    if fields.boolean("follow_redirects", report) == Some(false) {
        config.follows_redirects = false;
    }
    fields.without_effect(&["enable_http2", "no_proxy", "proxy_from_environment", "proxy_connect_header"], "the client decides", report);
}
