//! What type a value seems to have.

use tailwater_logql::literal::{parse_bytes_size, parse_go_duration, parse_go_float};

/// A type that a filter can compare by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Int,
    Float,
    Boolean,
    Duration,
    Bytes,
    String,
}

impl FieldKind {
    /// The first type, in the order above, that a value can be read as.
    pub fn of(value: &str) -> Self {
        const BOOLEANS: [&str; 12] = ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"];
        if value.parse::<i64>().is_ok() {
            Self::Int
        } else if parse_go_float(value).is_ok() {
            Self::Float
        } else if BOOLEANS.contains(&value) {
            Self::Boolean
        } else if parse_go_duration(value).is_ok() {
            Self::Duration
        } else if parse_bytes_size(value).is_ok() {
            Self::Bytes
        } else {
            Self::String
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Duration => "duration",
            Self::Bytes => "bytes",
            Self::String => "string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_first_type_that_fits() {
        for (value, kind) in [
            ("-17", "int"),
            ("+5", "int"),
            ("99999999999999999999", "float"),
            ("1e3", "float"),
            ("NaN", "float"),
            ("t", "boolean"),
            ("True", "boolean"),
            ("tRUE", "string"),
            ("1h15m", "duration"),
            ("-1.5ms", "duration"),
            ("5m", "duration"),
            ("10KB", "bytes"),
            ("1,000", "bytes"),
            ("1.5 MiB", "bytes"),
            ("", "string"),
            ("1h5x", "string"),
            (" 5", "string"),
        ] {
            assert_eq!(FieldKind::of(value).name(), kind, "{value:?}");
        }
    }
}
