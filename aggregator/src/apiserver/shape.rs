//! What answers of lists have in common: objects, or a `Table` that kubectl prints, whichever the client accepts first. Pure.

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apiserver::discovery::{GROUP, VERSION};
use crate::apiserver::version::ResourceVersion;

/// How an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Objects,
    /// Rows, with as much of each object as `includeObject` asks for.
    Table(Included),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Included {
    Nothing,
    Metadata,
    Whole,
}

impl Shape {
    /// The first of the forms that a client accepts and that there is. `included`: parameter `includeObject`.
    pub(super) fn wanted(headers: &HeaderMap, included: &str) -> Result<Self, String> {
        let included = match included {
            "" | "Metadata" => Included::Metadata,
            "None" => Included::Nothing,
            "Object" => Included::Whole,
            other => return Err(format!("includeObject: `{other}` is none of None, Metadata, Object")),
        };
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        for accepted in accepted {
            let mut parts = accepted.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
                continue;
            }
            match parts.filter_map(|part| part.split_once('=')).find(|(name, _)| *name == "as") {
                None => return Ok(Self::Objects),
                Some((_, "Table")) => return Ok(Self::Table(included)),
                Some(_) => {}
            }
        }
        Ok(Self::Objects)
    }
}

impl Included {
    /// A row of a table.
    pub(super) fn row(self, cells: Value, metadata: impl FnOnce() -> Value, object: impl FnOnce() -> Value) -> Value {
        match self {
            Self::Nothing => json!({"cells": cells}),
            Self::Metadata => {
                let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata()});
                json!({"cells": cells, "object": partial})
            }
            Self::Whole => json!({"cells": cells, "object": object()}),
        }
    }
}

/// A table; `metadata` is that of a list.
pub(super) fn table(metadata: &Value, columns: &Value, rows: impl Iterator<Item = Value>) -> Value {
    let rows: Vec<Value> = rows.collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

/// Metadata of a list, with what asks for the rest of it.
pub(super) fn list_metadata(version: ResourceVersion, next: Option<&str>) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(next) = next {
        metadata["continue"] = json!(next);
    }
    metadata
}

pub(super) fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// A time in nanoseconds to the second, as Kubernetes writes times.
pub(super) fn seconds(nanoseconds: i64) -> String {
    Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000)).map(|stamp| stamp.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn wanted(accept: &'static str) -> Shape {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        Shape::wanted(&headers, "").expect("a form")
    }

    #[test]
    fn a_table_is_given_to_whom_asks_for_it_first() {
        let table = Shape::Table(Included::Metadata);
        assert_eq!(
            wanted("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"),
            table
        );
        assert_eq!(wanted("application/json; as=Table; v=v1"), table);
        assert_eq!(wanted("application/json, application/json;as=Table"), Shape::Objects);
        assert_eq!(wanted("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"), Shape::Objects);
        assert_eq!(wanted("application/vnd.kubernetes.protobuf,application/json"), Shape::Objects);
        assert!(Shape::wanted(&HeaderMap::new(), "All").is_err());
    }
}
