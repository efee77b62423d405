//! The columns of a segment, in their order.

use std::sync::{Arc, LazyLock};

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{SchemaDescriptor, TypePtr};

/// Labels with a column of their own, so that any Parquet reader can filter by them.
pub(crate) const PROMOTED_LABELS: [&str; 6] = ["namespace", "pod", "container", "app", "node_name", "stream"];

/// Structured metadata with a column of its own: it decides who may read.
pub const NAMESPACE_UID: &str = "namespace_uid";

/// Leaf columns of the Parquet schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Tenant,
    StreamId,
    Timestamp,
    /// An index into [`PROMOTED_LABELS`].
    Promoted(usize),
    LabelNames,
    LabelValues,
    NamespaceUid,
    MetadataNames,
    MetadataValues,
    Line,
    LineHash,
}

impl Leaf {
    pub(crate) const ALL: [Leaf; 16] = [
        Leaf::Tenant,
        Leaf::StreamId,
        Leaf::Timestamp,
        Leaf::Promoted(0),
        Leaf::Promoted(1),
        Leaf::Promoted(2),
        Leaf::Promoted(3),
        Leaf::Promoted(4),
        Leaf::Promoted(5),
        Leaf::LabelNames,
        Leaf::LabelValues,
        Leaf::NamespaceUid,
        Leaf::MetadataNames,
        Leaf::MetadataValues,
        Leaf::Line,
        Leaf::LineHash,
    ];

    /// Its position among the leaves.
    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|leaf| *leaf == self).expect("every leaf stands in ALL")
    }
}

pub(crate) static MESSAGE: LazyLock<TypePtr> = LazyLock::new(|| {
    let promoted: String = PROMOTED_LABELS.iter().map(|name| format!("REQUIRED BYTE_ARRAY {name} (STRING);\n")).collect();
    let map = |name: &str| {
        format!(
            "REQUIRED group {name} (MAP) {{ REPEATED group key_value {{ REQUIRED BYTE_ARRAY key (STRING); REQUIRED BYTE_ARRAY value (STRING); }} }}\n"
        )
    };
    let text = format!(
        "message segment {{
            REQUIRED BYTE_ARRAY tenant (STRING);
            REQUIRED INT64 stream_id (INTEGER(64,false));
            REQUIRED INT64 ts (TIMESTAMP(NANOS,true));
            {promoted}{}
            REQUIRED BYTE_ARRAY namespace_uid (STRING);
            {}
            REQUIRED BYTE_ARRAY line (STRING);
            REQUIRED INT64 line_hash (INTEGER(64,false));
        }}",
        map("labels"),
        map("metadata"),
    );
    Arc::new(parse_message_type(&text).expect("the schema text is constant"))
});

pub(crate) static DESCRIPTOR: LazyLock<Arc<SchemaDescriptor>> = LazyLock::new(|| Arc::new(SchemaDescriptor::new(MESSAGE.clone())));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_stand_in_the_order_of_the_schema() {
        assert_eq!(DESCRIPTOR.num_columns(), Leaf::ALL.len());
        let path = |leaf: Leaf| DESCRIPTOR.column(leaf.index()).path().string();
        assert_eq!(path(Leaf::Promoted(4)), "node_name");
        assert_eq!(path(Leaf::MetadataValues), "metadata.key_value.value");
        assert_eq!(path(Leaf::LineHash), "line_hash");
    }
}
