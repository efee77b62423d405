//! What a request asks for, read from its method, path and parameters as a Kubernetes API server reads them: the decoded path counts,
//! so an encoded slash separates as a plain one does.

use std::collections::BTreeMap;

use axum::http::Method;
use serde::Serialize;

/// What is asked of whom; the terms of authorisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    /// Decoded.
    pub(crate) path: String,
    pub(crate) is_resource: bool,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What follows the subresource.
    #[serde(skip)]
    pub(crate) rest: String,
}

/// Decoded parameters, sorted by name; the first value of each counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(BTreeMap<String, Vec<String>>);

impl Parameters {
    /// Pairs with a semicolon or a broken escape are left out, as Go does.
    pub(crate) fn parse(query: &str) -> Self {
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(name), Some(value)) = (decoded(name, true), decoded(value, true)) {
                found.entry(name).or_default().push(value);
            }
        }
        Self(found)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// As Go writes them: sorted by name, a blank as `+`.
    pub(crate) fn encoded(&self) -> String {
        let pairs = self.0.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        pairs
            .map(|(name, value)| format!("{}={}", escaped(name, ""), escaped(value, "")))
            .map(|pair| pair.replace("%20", "+"))
            .collect::<Vec<_>>()
            .join("&")
    }
}

impl Attributes {
    /// `path` is decoded.
    pub(crate) fn parse(method: &Method, path: &str, parameters: &Parameters) -> Self {
        let mut found = Self { verb: method.as_str().to_lowercase(), path: path.to_owned(), ..Self::default() };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let parts = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                (*version).clone_into(&mut found.version);
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                (*group).clone_into(&mut found.group);
                (*version).clone_into(&mut found.version);
                rest
            }
            _ => return found,
        };
        found.is_resource = true;
        found.verb = match found.verb.as_str() {
            "post" => "create",
            "put" => "update",
            "head" => "get",
            other => other,
        }
        .to_owned();
        let parts = match parts {
            ["namespaces", namespace, rest @ ..] => {
                (*namespace).clone_into(&mut found.namespace);
                // The namespace itself, or something within it.
                if rest.is_empty() || matches!(rest, ["status" | "finalize"]) { parts } else { rest }
            }
            _ => parts,
        };
        let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
        (found.resource, found.name, found.subresource) = (part(0), part(1), part(2));
        found.rest = parts.get(3..).unwrap_or_default().join("/");
        found.narrow(parameters);
        found
    }

    /// Collections are listed or watched; a list of one name is authorised for that name.
    fn narrow(&mut self, parameters: &Parameters) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb.as_str() {
            "get" => self.verb = if parameters.is_true("watch") { "watch" } else { "list" }.to_owned(),
            "delete" => "deletecollection".clone_into(&mut self.verb),
            _ => {}
        }
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            let selector = parameters.get("fieldSelector").unwrap_or_default();
            if let Some(name) = selector.strip_prefix("metadata.name=").filter(|name| !name.contains([',', '='])) {
                name.clone_into(&mut self.name);
            }
        }
    }

    /// `pods/log`.
    pub(crate) fn combined_resource(&self) -> String {
        if self.subresource.is_empty() { self.resource.clone() } else { format!("{}/{}", self.resource, self.subresource) }
    }
}

/// Percent-decoded; `None` for a broken escape or what is no UTF-8.
pub(crate) fn decoded(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encoded, but for letters, digits, `-_.~` and `kept`.
pub(crate) fn escaped(text: &str, kept: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.as_bytes().contains(&byte);
    text.bytes().map(|byte| if is_kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_the_api_server_reads_them() {
        for (method, path, query, expected) in [
            (Method::GET, "/api/v1/pods", "fieldSelector=spec.nodeName%3Da", "list  pods ns= name= resource=true"),
            (Method::GET, "/api/v1/pods", "watch=1", "watch  pods ns= name= resource=true"),
            (Method::GET, "/api/v1/pods", "watch=true&fieldSelector=metadata.name%3Dx", "watch  pods ns= name=x resource=true"),
            (Method::GET, "/api/v1/namespaces/a/pods/p/log", "", "get  pods/log ns=a name=p resource=true"),
            (Method::GET, "/api/v1/namespaces/a", "", "get  namespaces ns=a name=a resource=true"),
            (Method::GET, "/api/v1/namespaces", "", "list  namespaces ns= name= resource=true"),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/l",
                "",
                "update coordination.k8s.io leases ns=a name=l resource=true",
            ),
            (
                Method::GET,
                "/apis/logs.tailwater.io/v1/namespaces/a/loki/api/v1/query_range",
                "",
                "get logs.tailwater.io loki/v1 ns=a name=api resource=true",
            ),
            (
                Method::POST,
                "/apis/logs.tailwater.io/v1/loki/api/v1/query",
                "",
                "create logs.tailwater.io loki/v1 ns= name=api resource=true",
            ),
            (Method::DELETE, "/api/v1/namespaces/a/pods", "", "deletecollection  pods ns=a name= resource=true"),
            (Method::GET, "/apis/logs.tailwater.io/v1", "", "get   ns= name= resource=false"),
            (Method::GET, "/version", "", "get   ns= name= resource=false"),
        ] {
            let found = Attributes::parse(&method, path, &Parameters::parse(query));
            let told = format!(
                "{} {} {} ns={} name={} resource={}",
                found.verb,
                found.group,
                found.combined_resource(),
                found.namespace,
                found.name,
                found.is_resource
            );
            assert_eq!(told, expected, "{method} {path}?{query}");
        }
    }

    #[test]
    fn parameters_are_written_again_as_go_writes_them() {
        let query = "query=%7Bapp%3D%22a%20b%22%7D+%7C%3D+%22~*%22&limit=5&&a=1;b&bad=%zz&limit=6";
        assert_eq!(Parameters::parse(query).encoded(), "limit=5&limit=6&query=%7Bapp%3D%22a+b%22%7D+%7C%3D+%22~%2A%22");
    }
}
