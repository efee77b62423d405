//! What stands between the last row group and the footer, and the footer's keys that tell where.
//!
//! ```text
//! tw.index     text index (data files), with sums of its own
//! tw.streams   stream table
//! tw.crc       CRC-32C (u32 LE) of each page as stored: row groups, columns, pages in order, dictionary page first
//! ```
//! `tw.footer_crc` is the CRC-32C of the footer from the end of part `tw.crc` (page indexes included) to the end of the file, its own
//! eight digits counted as zeros. `tw.crc.crc` and `tw.streams.crc` cover their parts. All fixed-width, so that they can be filled in afterwards.

use std::ops::Range;

use parquet::file::metadata::{KeyValue, ParquetMetaData};

use crate::error::FileError;

pub(crate) const WRITER: &str = "tw.writer";
pub(crate) const SEQUENCE: &str = "tw.seq";
pub(crate) const FLUSHED: &str = "tw.flushed";
pub(crate) const MIN_TIMESTAMP: &str = "tw.min_ts";
pub(crate) const MAX_TIMESTAMP: &str = "tw.max_ts";
pub(crate) const TENANT: &str = "tw.tenant";
pub(crate) const DAY: &str = "tw.day";
pub(crate) const LEVEL: &str = "tw.level";
pub(crate) const ARRIVED: &str = "tw.arrived";
pub(crate) const INDEX: PartKeys = PartKeys { name: "tw.index", offset: "tw.index.offset", length: "tw.index.length", crc: "tw.index.crc" };
pub(crate) const STREAMS: PartKeys =
    PartKeys { name: "tw.streams", offset: "tw.streams.offset", length: "tw.streams.length", crc: "tw.streams.crc" };
pub(crate) const CHECKSUMS: PartKeys = PartKeys { name: "tw.crc", offset: "tw.crc.offset", length: "tw.crc.length", crc: "tw.crc.crc" };
pub(crate) const FORMAT: &str = "tw.format";
pub(crate) const FOOTER_CRC: &str = "tw.footer_crc";

/// The version of this layout.
pub(crate) const FORMAT_VERSION: u32 = 3;

const FOOTER_CRC_ZEROS: &str = "00000000";

/// The keys of one part.
pub(crate) struct PartKeys {
    pub(crate) name: &'static str,
    offset: &'static str,
    length: &'static str,
    crc: &'static str,
}

impl PartKeys {
    /// The keys of a part. `sum`: its CRC-32C.
    pub(crate) fn entries(&self, place: Range<u64>, sum: u32) -> [KeyValue; 3] {
        [
            entry(self.offset, format!("{:016x}", place.start)),
            entry(self.length, format!("{:016x}", place.end - place.start)),
            entry(self.crc, format!("{sum:08x}")),
        ]
    }

    /// Where the part lies.
    pub(crate) fn range(&self, metadata: &ParquetMetaData) -> Result<Range<u64>, FileError> {
        let offset: u64 = number(metadata, self.offset, 16)?;
        let length: u64 = number(metadata, self.length, 16)?;
        let end = offset.checked_add(length).ok_or_else(|| damaged(format!("part `{}` ends beyond all bounds", self.name)))?;
        Ok(offset..end)
    }

    /// Checks the part's sum.
    pub(crate) fn verify(&self, metadata: &ParquetMetaData, bytes: &[u8]) -> Result<(), FileError> {
        let stored: u32 = number(metadata, self.crc, 16)?;
        let computed = crc32c::crc32c(bytes);
        if stored == computed { Ok(()) } else { Err(FileError::Checksum { part: self.name.into(), stored, computed }) }
    }
}

/// The text under a key.
pub(crate) fn value<'a>(metadata: &'a ParquetMetaData, key: &'static str) -> Result<&'a str, FileError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    pairs
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == key))
        .and_then(|pair| pair.value.as_deref())
        .ok_or_else(|| damaged(format!("key `{key}` is missing")))
}

/// The number under a key, in the given radix.
pub(crate) fn number<N: TryFrom<i128>>(metadata: &ParquetMetaData, key: &'static str, radix: u32) -> Result<N, FileError> {
    let text = value(metadata, key)?;
    i128::from_str_radix(text, radix)
        .ok()
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| damaged(format!("key `{key}` holds `{text}`, which is no fitting number")))
}

pub(crate) fn entry(key: &str, value: String) -> KeyValue {
    KeyValue::new(key.to_owned(), value)
}

pub(crate) fn empty_footer_crc() -> KeyValue {
    entry(FOOTER_CRC, FOOTER_CRC_ZEROS.to_owned())
}

pub(crate) fn damaged(reason: String) -> FileError {
    FileError::Damaged { part: "footer", reason }
}

/// Fills in the footer's own sum; `footer` is the file from the end of part `tw.crc` on.
pub(crate) fn seal(footer: &mut [u8]) {
    let digits = digits_at(footer).expect("the footer was written with its sum's key");
    let sum = crc32c::crc32c(footer);
    footer[digits..digits + 8].copy_from_slice(format!("{sum:08x}").as_bytes());
}

/// Checks the footer's own sum.
pub(crate) fn verify(footer: &[u8]) -> Result<(), FileError> {
    let digits = digits_at(footer).ok_or_else(|| damaged(format!("key `{FOOTER_CRC}` is missing")))?;
    let text = std::str::from_utf8(&footer[digits..digits + 8]).unwrap_or_default();
    let computed = crc32c::crc32c(&footer[..digits]);
    let computed = crc32c::crc32c_append(computed, FOOTER_CRC_ZEROS.as_bytes());
    let computed = crc32c::crc32c_append(computed, &footer[digits + 8..]);
    // As text, so that a bit that turns `a` into `A` counts as well.
    if text != format!("{computed:08x}") {
        let stored = u32::from_str_radix(text, 16).map_err(|_| damaged(format!("key `{FOOTER_CRC}` holds no sum")))?;
        return Err(FileError::Checksum { part: "footer".into(), stored, computed });
    }
    Ok(())
}

/// Where the digits of `tw.footer_crc` stand: behind its key and the length byte of its value. The key is the last of the
/// footer's, so nothing that a user wrote (labels in `tw.streams`) can stand behind it.
fn digits_at(footer: &[u8]) -> Option<usize> {
    let digits = memchr::memmem::rfind(footer, FOOTER_CRC.as_bytes())? + FOOTER_CRC.len() + 2;
    (digits + 8 <= footer.len()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_of_a_sealed_footer_is_found() {
        let mut footer = [b"indexes ".as_slice(), FOOTER_CRC.as_bytes(), &[0x18, 8], b"00000000", b" rest PAR1"].concat();
        seal(&mut footer);
        assert_eq!(verify(&footer), Ok(()));
        for bit in 0..footer.len() * 8 {
            let mut flipped = footer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&flipped).is_err(), "bit {bit}");
        }
    }
}
