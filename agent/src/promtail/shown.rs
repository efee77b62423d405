//! A configuration as it may be shown: every secret masked.

use serde_yaml_ng::{Mapping, Value};

use super::yaml::{Content, Node, Scalar};

const MASKED: &str = "<secret>";
/// Keys whose values nobody may see.
const SECRETS: [&str; 7] = ["password", "bearer_token", "credentials", "client_secret", "key", "secret", "token"];

/// `root` as YAML.
pub(super) fn shown(root: &Node) -> String {
    serde_yaml_ng::to_string(&masked(root)).expect("texts and mappings are always YAML")
}

/// `node` with its secrets masked.
pub(super) fn masked(node: &Node) -> Value {
    value(node, true)
}

/// `node` as it is written.
pub(crate) fn written(node: &Node) -> Value {
    value(node, false)
}

fn value(node: &Node, masks: bool) -> Value {
    match &node.content {
        Content::Sequence(items) => Value::Sequence(items.iter().map(|item| value(item, masks)).collect()),
        Content::Mapping(pairs) => Value::Mapping(pairs.iter().map(|(name, node)| pair(name, node, masks)).collect::<Mapping>()),
        Content::Scalar { .. } => match node.scalar() {
            None | Some(Scalar::Null) => Value::Null,
            Some(Scalar::Bool(value)) => Value::Bool(value),
            Some(Scalar::Integer(number)) => Value::Number(number.into()),
            Some(Scalar::Float(number)) => Value::Number(number.into()),
            Some(Scalar::Text(text)) => Value::String(if masks { without_password(text) } else { text.to_owned() }),
        },
    }
}

fn pair(name: &Node, node: &Node, masks: bool) -> (Value, Value) {
    let key = name.raw_text().unwrap_or_default();
    let is_secret = masks && SECRETS.contains(&key) && node.raw_text().is_some();
    let shown = match (&node.content, key) {
        _ if is_secret => Value::String(MASKED.to_owned()),
        (Content::Mapping(pairs), "headers" | "http_headers" | "proxy_connect_header") if masks => {
            let masked = pairs.iter().map(|(name, _)| (value(name, masks), Value::String(MASKED.to_owned())));
            Value::Mapping(masked.collect())
        }
        _ => value(node, masks),
    };
    (Value::String(key.to_owned()), shown)
}

/// A URL may hold a password before its host.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{name}:{MASKED}@{host}{}", &rest[end..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::yaml;

    #[test]
    fn no_secret_is_shown_and_everything_else_is() {
        let text = "clients:\n- url: https://me:hunter2@h:3100/push\n  basic_auth: {username: u, password: hunter2}\n  headers: {X-Key: hunter2}\n  http_headers: {X-Other: {secrets: [hunter2]}}\n  bearer_token: hunter2\n  authorization: {credentials: hunter2}\n  oauth2: {client_secret: hunter2}\n  timeout: 5s\n";
        let shown = shown(&yaml::parse(text).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        for part in ["https://me:<secret>@h:3100/push", "username: u", "X-Key: <secret>", "X-Other: <secret>", "timeout: 5s"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}
