//! Functions over addresses: taken apart into a map, and put together again.

use std::borrow::Cow;

use tailwater_logql::template::{Call, CallResult, Function, Type, Value};

use super::lists::owned;
use super::texts::shown;

pub(super) const FUNCTIONS: &[Function] =
    &[Function::new("urlParse", &[Type::String], taken_apart), Function::new("urlJoin", &[Type::Any], put_together)];

/// An address by its parts, as they stand in it but for `path`, which is decoded.
#[derive(Debug, Default, PartialEq, Eq)]
struct Address<'a> {
    scheme: String,
    userinfo: &'a str,
    host: &'a str,
    path: Cow<'a, str>,
    query: &'a str,
    fragment: &'a str,
    /// What follows the scheme of an address without slashes: `mailto:someone`.
    opaque: &'a str,
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("an address holds no control characters".to_owned());
        }
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme_of(rest)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut address = Self { scheme, query, fragment, ..Self::default() };
        if !address.scheme.is_empty() && !rest.starts_with('/') {
            address.opaque = rest;
            return Ok(address);
        }
        let mut path = rest;
        if let Some(behind) = rest.strip_prefix("//") {
            let (authority, behind) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
            (address.userinfo, address.host) = authority.rsplit_once('@').unwrap_or(("", authority));
            path = behind;
        }
        address.path = decoded(path)?;
        Ok(address)
    }

    /// Without the port, and without the brackets of an address of IPv6.
    fn hostname(&self) -> &'a str {
        if let Some((inside, _)) = self.host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            return inside;
        }
        self.host.split_once(':').map_or(self.host, |(name, _)| name)
    }
}

/// The scheme in lower case, and what follows its colon. A first part with a colon that is none is no address.
fn scheme_of(text: &str) -> Result<(String, &str), String> {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match text.split_once(':') {
        Some(("", _)) => Err("an address needs a scheme before its colon".to_owned()),
        Some((scheme, rest)) if scheme.bytes().all(is_of_scheme) && scheme.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            Ok((scheme.to_ascii_lowercase(), rest))
        }
        Some((first, _)) if !first.contains(['/', '?']) => Err("the first part of a path holds no colon".to_owned()),
        _ => Ok((String::new(), text)),
    }
}

fn decoded(path: &str) -> Result<Cow<'_, str>, String> {
    if !path.contains('%') {
        return Ok(path.into());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let code = part.get(..2).and_then(|code| data_encoding::HEXLOWER_PERMISSIVE.decode(code.as_bytes()).ok());
        bytes.extend(code.ok_or_else(|| format!("`%{part}` begins with no code of a character"))?);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

/// A path with codes for what would end it, or may not be in it.
fn encoded(path: &str) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*".contains(&byte);
    path.bytes().map(|byte| if stays(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn taken_apart<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let text = call.string(0);
    let address = Address::parse(&text).map_err(|why| format!("unable to parse url: {why}"))?;
    let parts = [
        ("scheme", address.scheme.as_str()),
        ("userinfo", address.userinfo),
        ("host", address.host),
        ("hostname", address.hostname()),
        ("path", &address.path),
        ("query", address.query),
        ("fragment", address.fragment),
        ("opaque", address.opaque),
    ];
    Ok(Value::Map(parts.into_iter().map(|(name, part)| (name.into(), owned(part))).collect()))
}

fn put_together<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let Value::Map(parts) = call.take_whole(0) else { return Err("urlJoin takes a map".to_owned()) };
    let part = |name: &str| parts.get(name).as_ref().map(shown).unwrap_or_default();
    let [scheme, userinfo, host, path] = ["scheme", "userinfo", "host", "path"].map(part);
    let [query, fragment, opaque] = ["query", "fragment", "opaque"].map(part);
    let mut text = if scheme.is_empty() { String::new() } else { format!("{scheme}:") };
    if opaque.is_empty() {
        let has_place = !host.is_empty() || !userinfo.is_empty();
        if has_place || !(scheme.is_empty() || path.is_empty()) {
            text.push_str("//");
        }
        if !userinfo.is_empty() {
            text.push_str(&format!("{userinfo}@"));
        }
        text.push_str(&host);
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            text.push('/');
        }
        text.push_str(&encoded(&path));
    } else {
        text.push_str(&opaque);
    }
    for (mark, part) in [('?', query), ('#', fragment)] {
        if !part.is_empty() {
            text.push(mark);
            text.push_str(&part);
        }
    }
    Ok(Value::text(text))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn addresses_are_taken_apart_and_put_together() {
        let address = "HTTPS://me:pw@shop.example:8443/a%20b/c?x=1&y=2#top";
        for (template, expected) in [
            (
                "{{ with urlParse .v }}{{ .scheme }} {{ .userinfo }} {{ .host }} {{ .hostname }}{{ end }}",
                "https me:pw shop.example:8443 shop.example",
            ),
            ("{{ with urlParse .v }}{{ .path }} {{ .query }} {{ .fragment }} {{ .opaque }}.{{ end }}", "/a b/c x=1&y=2 top ."),
            (
                "{{ (urlParse \"http://[::1]:80/x\").hostname }} {{ (urlParse \"mailto:ann\").opaque }} {{ (urlParse \"/a/b\").path }}",
                "::1 ann /a/b",
            ),
            ("{{ urlJoin (urlParse .v) }}", "https://me:pw@shop.example:8443/a%20b/c?x=1&y=2#top"),
            ("{{ urlJoin (dict \"scheme\" \"http\" \"host\" \"h:1\" \"path\" \"p\" \"query\" \"q\") }}", "http://h:1/p?q"),
            ("{{ urlJoin (dict \"path\" \"/p\") }} {{ urlJoin (urlParse \"mailto:ann\") }}", "/p mailto:ann"),
        ] {
            assert_eq!(result(template, address).as_deref(), Some(expected), "{template}");
        }
        for wrong in [":80", "1a:b", "http://h/%zz"] {
            assert_eq!(result("{{ urlParse .v }}", wrong).as_deref(), Some(wrong), "the template fails and leaves the value");
        }
    }
}
