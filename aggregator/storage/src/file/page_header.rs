//! The header before each stored page (Thrift's compact protocol), as far as reading a page needs it.
//!
//! Read here because a page is fetched and decoded by itself, by its place in the page index. Unknown fields are skipped; anything
//! that does not add up is refused.

use parquet::basic::Encoding;
use prost::encoding::decode_varint;

use crate::file::delta::unzigzag;

/// What precedes a page's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageHeader {
    pub(crate) is_dictionary: bool,
    /// Bytes after decompression.
    pub(crate) uncompressed: usize,
    /// Bytes as stored, behind the header.
    pub(crate) compressed: usize,
    pub(crate) values: usize,
    pub(crate) encoding: Encoding,
}

/// No page of ours is larger when decompressed: a mebibyte of text or one longest line, and its lengths.
const LARGEST_PAGE: i64 = 1 << 30;

const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;

/// Reads a header; returns it and its own length in bytes.
pub(crate) fn parse(bytes: &[u8]) -> Option<(PageHeader, usize)> {
    let mut input = Input { bytes };
    let (mut kind, mut uncompressed, mut compressed, mut page) = (None, None, None, None);
    let mut field = 0;
    while let Some(field_type) = input.field(&mut field)? {
        match (field, field_type) {
            (1, I32) => kind = Some(input.zigzag()?),
            (2, I32) => uncompressed = Some(input.zigzag()?),
            (3, I32) => compressed = Some(input.zigzag()?),
            (5 | 7, STRUCT) => page = Some((i64::from(field), input.values_and_encoding()?)),
            (_, other) => input.skip(other, 0)?,
        }
    }
    let (page_field, (values, encoding)) = page?;
    let is_dictionary = match (kind?, page_field) {
        (DATA_PAGE, 5) => false,
        (DICTIONARY_PAGE, 7) => true,
        _ => return None,
    };
    let length = |bytes: Option<i64>| bytes.filter(|bytes| (0..=LARGEST_PAGE).contains(bytes)).map(|bytes| bytes as usize);
    let header = PageHeader {
        is_dictionary,
        uncompressed: length(uncompressed)?,
        compressed: length(compressed)?,
        values: usize::try_from(values).ok()?,
        encoding: encoding_of(encoding)?,
    };
    Some((header, bytes.len() - input.bytes.len()))
}

fn encoding_of(number: i64) -> Option<Encoding> {
    Some(match number {
        0 => Encoding::PLAIN,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        _ => return None,
    })
}

const BOOLEAN_TRUE: u8 = 1;
const BOOLEAN_FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const STRUCT: u8 = 12;

/// Structs in structs that are skipped at most so deep.
const DEEPEST: usize = 8;

struct Input<'a> {
    /// What is left to read.
    bytes: &'a [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        decode_varint(&mut self.bytes).ok()
    }

    fn zigzag(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    fn pass(&mut self, length: usize) -> Option<()> {
        self.bytes = self.bytes.get(length..)?;
        Some(())
    }

    /// The next field's type; its number goes to `number`. `Some(None)`: the struct ends.
    fn field(&mut self, number: &mut i16) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *number = match byte >> 4 {
            0 => i16::try_from(self.zigzag()?).ok()?,
            delta => number.checked_add(i16::from(delta))?,
        };
        Some(Some(byte & 0x0f))
    }

    /// Fields 1 and 2 of a data or dictionary page's own header.
    fn values_and_encoding(&mut self) -> Option<(i64, i64)> {
        let (mut values, mut encoding, mut field) = (None, None, 0);
        while let Some(field_type) = self.field(&mut field)? {
            match (field, field_type) {
                (1, I32) => values = Some(self.zigzag()?),
                (2, I32) => encoding = Some(self.zigzag()?),
                (_, other) => self.skip(other, 1)?,
            }
        }
        Some((values?, encoding?))
    }

    fn skip(&mut self, field_type: u8, depth: usize) -> Option<()> {
        match field_type {
            BOOLEAN_TRUE | BOOLEAN_FALSE => {}
            BYTE => drop(self.byte()?),
            I16 | I32 | I64 => drop(self.varint()?),
            DOUBLE => self.pass(8)?,
            BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.pass(length)?;
            }
            STRUCT if depth < DEEPEST => {
                let mut field = 0;
                while let Some(inner) = self.field(&mut field)? {
                    self.skip(inner, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use parquet::column::page::{CompressedPage, Page, PageWriter};
    use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
    use proptest::prelude::*;

    fn written(page: Page, uncompressed: usize) -> Vec<u8> {
        let mut sink = TrackedWrite::new(Vec::new());
        SerializedPageWriter::new(&mut sink).write_page(CompressedPage::new(page, uncompressed)).expect("writes");
        sink.into_inner().expect("flushes")
    }

    #[test]
    fn headers_of_the_library_are_read() {
        let page = Page::DataPage {
            buf: Bytes::from_static(b"12345"),
            num_values: 70_000,
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let bytes = written(page, 1 << 20);
        let (header, length) = parse(&bytes).expect("a header");
        assert_eq!(&bytes[length..], b"12345");
        let encoding = Encoding::DELTA_LENGTH_BYTE_ARRAY;
        assert_eq!(header, PageHeader { is_dictionary: false, uncompressed: 1 << 20, compressed: 5, values: 70_000, encoding });

        let page = Page::DictionaryPage { buf: Bytes::from_static(b"1"), num_values: 3, encoding: Encoding::PLAIN, is_sorted: true };
        let bytes = written(page, 9);
        let (header, length) = parse(&bytes).expect("a header");
        assert_eq!((&bytes[length..], header.is_dictionary, header.values), (b"1".as_slice(), true, 3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(parse(&bytes).is_none_or(|(_, length)| length <= bytes.len()));
        }
    }
}
