//! The form in which an object is told: whole, or its metadata alone. Tables are not made; who asks for one takes JSON as well.

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::resource::Resource;
use crate::status::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    Whole,
    MetadataOnly,
}

impl Representation {
    /// The first of the accepted forms that is served.
    pub(crate) fn of_request(headers: &HeaderMap) -> Result<Self, Failure> {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
        for form in accept.split(',') {
            let mut parts = form.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
                continue;
            }
            let shown_as = parts.find_map(|part| part.strip_prefix("as="));
            match shown_as {
                None => return Ok(Self::Whole),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::MetadataOnly),
                Some(_) => {}
            }
        }
        Err(Failure::not_acceptable(accept))
    }

    pub(crate) fn object(self, resource: &Resource, object: &Value) -> Value {
        match self {
            Self::Whole => {
                let mut shown = object.clone();
                shown["apiVersion"] = json!(resource.api_version());
                shown["kind"] = json!(resource.kind);
                shown
            }
            Self::MetadataOnly => json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]}),
        }
    }

    pub(crate) fn list(self, resource: &Resource, metadata: Value, items: Vec<Value>) -> Value {
        let (api_version, kind) = match self {
            Self::Whole => (resource.api_version(), format!("{}List", resource.kind)),
            Self::MetadataOnly => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned()),
        };
        json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_served_is_taken() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        for (accept, expected) in [
            ("application/json", Some(Representation::Whole)),
            ("*/*", Some(Representation::Whole)),
            (&format!("{table},application/json"), Some(Representation::Whole)),
            (&format!("application/vnd.kubernetes.protobuf,{partial}"), Some(Representation::MetadataOnly)),
            (table, None),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a value"))]);
            assert_eq!(Representation::of_request(&headers).ok(), expected, "{accept}");
        }
    }
}
