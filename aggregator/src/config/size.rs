//! Amounts of bytes as people write them: `8MiB`, `256KB`, `1048576`. As in Loki, KB and KiB are both 1,024 bytes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// Why a text is no amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    #[error("`{text}` is not a size, write for instance 8MiB")]
    Invalid { text: String },
    #[error("`{text}` does not fit into 64 bits")]
    OutOfRange { text: String },
}

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl ByteSize {
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn kibibytes(kibibytes: u64) -> Self {
        Self(kibibytes << 10)
    }

    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Two significant digits for people: `79 MiB`, `1.5 KiB`, `7 B`.
    pub fn rounded(self) -> String {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let exponent = (self.0.max(1).ilog2() / 10) as usize;
        let value = (self.0 as f64 / 1024_f64.powi(exponent as i32) * 10.0 + 0.5).floor() / 10.0;
        let unit = UNITS[exponent];
        if value < 10.0 && self.0 >= 10 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
    }

    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub fn parse(text: &str) -> Result<Self, ByteSizeError> {
        let invalid = || ByteSizeError::Invalid { text: text.to_owned() };
        let trimmed = text.trim();
        let unit_start = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, unit) = (&trimmed[..unit_start], trimmed[unit_start..].trim());
        if digits.is_empty() {
            return Err(invalid());
        }
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "ki" | "kib" => 10,
            "m" | "mb" | "mi" | "mib" => 20,
            "g" | "gb" | "gi" | "gib" => 30,
            "t" | "tb" | "ti" | "tib" => 40,
            _ => return Err(invalid()),
        };
        let number: Option<u64> = digits.parse().ok();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or_else(|| ByteSizeError::OutOfRange { text: text.to_owned() })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0.trailing_zeros() >= shift && self.0 > 0;
        let (unit, shift) = UNITS.into_iter().find(|(_, shift)| fits(*shift)).unwrap_or(("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (7, "7 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (82_854_982, "79 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(ByteSize::bytes(bytes).rounded(), text);
        }
    }

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("0", 0, "0B"),
            ("262144", 262_144, "256KiB"),
            ("256KB", 262_144, "256KiB"),
            ("8MiB", 8 << 20, "8MiB"),
            ("1 gib", 1 << 30, "1GiB"),
            ("1000", 1000, "1000B"),
        ] {
            let size = ByteSize::parse(text).expect(text);
            assert_eq!((size.as_u64(), size.to_string().as_str()), (bytes, printed));
            assert_eq!(ByteSize::parse(printed), Ok(size));
        }
        for text in ["", "MiB", "-1", "1.5MiB", "8 apples", "99999999999999999999", "99999999999TiB"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }
}
