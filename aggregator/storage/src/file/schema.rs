//! The columns of a file, in their order. Segments hold two more than data files: the tenant (a segment is of all of them) and the hash
//! that tells identical entries (a compacted file holds none twice).

use std::sync::{Arc, LazyLock};

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, TypePtr};

/// Labels with a column of their own, so that any Parquet reader can filter by them.
pub(crate) const PROMOTED_LABELS: [&str; 6] = ["namespace", "pod", "container", "app", "node_name", "stream"];

/// Structured metadata with a column of its own: it decides who may read.
pub const NAMESPACE_UID: &str = "namespace_uid";

/// What a file is: one flush of all tenants, or rows of one tenant and day that were merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Segment,
    Data,
}

/// Leaf columns of the Parquet schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

const SEGMENT_LEAVES: [Leaf; 16] = [
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

impl FileKind {
    /// The leaves in the order of the schema.
    pub(crate) fn leaves(self) -> &'static [Leaf] {
        match self {
            Self::Segment => &SEGMENT_LEAVES,
            Self::Data => &SEGMENT_LEAVES[1..SEGMENT_LEAVES.len() - 1],
        }
    }

    /// A leaf's place in the schema.
    pub(crate) fn position(self, leaf: Leaf) -> Option<usize> {
        self.leaves().iter().position(|candidate| *candidate == leaf)
    }

    pub(crate) fn message(self) -> &'static TypePtr {
        static SEGMENT: LazyLock<TypePtr> = LazyLock::new(|| message(FileKind::Segment));
        static DATA: LazyLock<TypePtr> = LazyLock::new(|| message(FileKind::Data));
        match self {
            Self::Segment => &SEGMENT,
            Self::Data => &DATA,
        }
    }

    pub(crate) fn descriptor(self) -> &'static SchemaDescriptor {
        static SEGMENT: LazyLock<SchemaDescriptor> = LazyLock::new(|| SchemaDescriptor::new(FileKind::Segment.message().clone()));
        static DATA: LazyLock<SchemaDescriptor> = LazyLock::new(|| SchemaDescriptor::new(FileKind::Data.message().clone()));
        match self {
            Self::Segment => &SEGMENT,
            Self::Data => &DATA,
        }
    }

    /// The Parquet column of a leaf that this kind has.
    pub(crate) fn column(self, leaf: Leaf) -> ColumnDescPtr {
        self.descriptor().column(self.position(leaf).expect("the kind of file has the leaf"))
    }
}

impl Leaf {
    /// Its name, for people.
    pub(crate) fn name(self) -> String {
        FileKind::Segment.column(self).path().string()
    }
}

fn message(kind: FileKind) -> TypePtr {
    let promoted: String = PROMOTED_LABELS.iter().map(|name| format!("REQUIRED BYTE_ARRAY {name} (STRING);\n")).collect();
    let map = |name: &str| {
        format!(
            "REQUIRED group {name} (MAP) {{ REPEATED group key_value {{ REQUIRED BYTE_ARRAY key (STRING); REQUIRED BYTE_ARRAY value (STRING); }} }}\n"
        )
    };
    let (tenant, line_hash) = match kind {
        FileKind::Segment => ("REQUIRED BYTE_ARRAY tenant (STRING);", "REQUIRED INT64 line_hash (INTEGER(64,false));"),
        FileKind::Data => ("", ""),
    };
    let text = format!(
        "message logs {{
            {tenant}
            REQUIRED INT64 stream_id (INTEGER(64,false));
            REQUIRED INT64 ts (TIMESTAMP(NANOS,true));
            {promoted}{}
            REQUIRED BYTE_ARRAY namespace_uid (STRING);
            {}
            REQUIRED BYTE_ARRAY line (STRING);
            {line_hash}
        }}",
        map("labels"),
        map("metadata"),
    );
    Arc::new(parse_message_type(&text).expect("the schema text is constant"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_stand_in_the_order_of_the_schema() {
        let path = |kind: FileKind, leaf: Leaf| kind.column(leaf).path().string();
        for kind in [FileKind::Segment, FileKind::Data] {
            assert_eq!(kind.descriptor().num_columns(), kind.leaves().len());
            assert_eq!(path(kind, Leaf::Promoted(4)), "node_name");
            assert_eq!(path(kind, Leaf::MetadataValues), "metadata.key_value.value");
            assert_eq!(path(kind, Leaf::Line), "line");
        }
        assert_eq!(path(FileKind::Segment, Leaf::LineHash), "line_hash");
        assert_eq!(FileKind::Data.position(Leaf::LineHash), None);
    }
}
