//! The footer's key/value metadata: what a segment is, and the sums that cover what pages' sums do not.
//!
//! `tw.footer_crc` is the CRC-32C of the footer from the end of part `tw.crc` (page indexes included) to the end of the file, its own
//! eight digits counted as zeros. `tw.crc.crc` covers the part. All fixed-width, so that they can be filled in afterwards.

use parquet::file::metadata::{KeyValue, ParquetMetaData};

use crate::error::SegmentError;

pub(crate) const WRITER: &str = "tw.writer";
pub(crate) const SEQUENCE: &str = "tw.seq";
pub(crate) const FLUSHED: &str = "tw.flushed";
pub(crate) const MIN_TIMESTAMP: &str = "tw.min_ts";
pub(crate) const MAX_TIMESTAMP: &str = "tw.max_ts";
pub(crate) const STREAMS: &str = "tw.streams";
pub(crate) const FORMAT: &str = "tw.format";
pub(crate) const CRC_OFFSET: &str = "tw.crc.offset";
pub(crate) const CRC_LENGTH: &str = "tw.crc.length";
pub(crate) const CRC_CRC: &str = "tw.crc.crc";
pub(crate) const FOOTER_CRC: &str = "tw.footer_crc";

/// The version of this layout.
pub(crate) const FORMAT_VERSION: u32 = 1;

const FOOTER_CRC_ZEROS: &str = "00000000";

/// The text under a key.
pub(crate) fn value<'a>(metadata: &'a ParquetMetaData, key: &'static str) -> Result<&'a str, SegmentError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    pairs
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == key))
        .and_then(|pair| pair.value.as_deref())
        .ok_or_else(|| damaged(format!("key `{key}` is missing")))
}

/// The number under a key, in the given radix.
pub(crate) fn number<N: TryFrom<i128>>(metadata: &ParquetMetaData, key: &'static str, radix: u32) -> Result<N, SegmentError> {
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

pub(crate) fn damaged(reason: String) -> SegmentError {
    SegmentError::Damaged { part: "footer", reason }
}

/// Fills in the footer's own sum; `footer` is the file from the end of part `tw.crc` on.
pub(crate) fn seal(footer: &mut [u8]) {
    let digits = digits_at(footer).expect("the footer was written with its sum's key");
    let sum = crc32c::crc32c(footer);
    footer[digits..digits + 8].copy_from_slice(format!("{sum:08x}").as_bytes());
}

/// Checks the footer's own sum.
pub(crate) fn verify(footer: &[u8]) -> Result<(), SegmentError> {
    let digits = digits_at(footer).ok_or_else(|| damaged(format!("key `{FOOTER_CRC}` is missing")))?;
    let text = std::str::from_utf8(&footer[digits..digits + 8]).unwrap_or_default();
    let computed = crc32c::crc32c(&footer[..digits]);
    let computed = crc32c::crc32c_append(computed, FOOTER_CRC_ZEROS.as_bytes());
    let computed = crc32c::crc32c_append(computed, &footer[digits + 8..]);
    // As text, so that a bit that turns `a` into `A` counts as well.
    if text != format!("{computed:08x}") {
        let stored = u32::from_str_radix(text, 16).map_err(|_| damaged(format!("key `{FOOTER_CRC}` holds no sum")))?;
        return Err(SegmentError::Checksum { part: "footer".into(), stored, computed });
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
