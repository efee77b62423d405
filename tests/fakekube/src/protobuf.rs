//! The one body that kubectl sends in Kubernetes' protobuf: a SelfSubjectAccessReview (`kubectl auth can-i`). Everything else is JSON here.
//!
//! `k8s\0`, then an envelope (1: type, 2: object); of the object 2 is the spec, whose 1 are resource attributes and 2 those of a path.

use serde_json::{Value, json};

pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
const RESOURCE: [&str; 7] = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
const PATH: [&str; 2] = ["path", "verb"];

/// The review as JSON; `None` if it is something else.
pub(crate) fn self_review(bytes: &[u8]) -> Option<Value> {
    let envelope = bytes.strip_prefix(MAGIC)?;
    if texts(field(envelope, 1)?, &["apiVersion", "kind"])?["kind"] != "SelfSubjectAccessReview" {
        return None;
    }
    let spec = field(field(envelope, 2)?, 2)?;
    let mut found = json!({});
    for (number, name, fields) in [(1, "resourceAttributes", &RESOURCE[..]), (2, "nonResourceAttributes", &PATH[..])] {
        if let Some(attributes) = field(spec, number) {
            found[name] = texts(attributes, fields)?;
        }
    }
    Some(json!({"spec": found}))
}

/// Texts by the names of their fields, which are numbered from 1.
fn texts(message: &[u8], names: &[&str]) -> Option<Value> {
    let mut found = json!({});
    for (at, name) in names.iter().enumerate() {
        if let Some(text) = field(message, at as u64 + 1) {
            found[*name] = json!(std::str::from_utf8(text).ok()?);
        }
    }
    Some(found)
}

/// The first field of a number that is text or a message.
fn field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => varint(&mut message).map(|_| 0)?,
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = message.split_at_checked(length)?;
        if key == wanted << 3 | 2 {
            return Some(value);
        }
        message = rest;
    }
    None
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubectl 1.35 sent for `auth can-i get pods --subresource=log -n shop`.
    const SENT: &[u8] = b"k8s\0\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\0\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\x1e\n\x1c\n\x04shop\x12\x03get\x1a\0\"\0*\x04pods2\x03log:\0\x1a\x08\x08\0\x12\0\x1a\0 \0\x1a\0\"\0";

    #[test]
    fn what_kubectl_asks_of_itself_is_read() {
        let asked = self_review(SENT).expect("a review")["spec"]["resourceAttributes"].take();
        let expected =
            json!({"namespace": "shop", "verb": "get", "group": "", "version": "", "resource": "pods", "subresource": "log", "name": ""});
        assert_eq!(asked, expected);
        for end in 0..80 {
            assert_eq!(self_review(&SENT[..end]), None, "cut at {end}");
        }
        assert_eq!(self_review(b"{}"), None);
    }
}
