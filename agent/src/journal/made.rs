//! Journal files for tests: written as journald lays them out, hash tables left out, since nothing here looks at them.

use std::path::Path;

const HEADER_BYTES: usize = 208;
const SEQNUM_ID: u128 = 99;
/// Offsets in the first array; each further one has twice as many.
const FIRST_ARRAY_ITEMS: usize = 4;
const ARRAYS: usize = 6;

/// How wide offsets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Compact,
}

struct EntryMade {
    realtime: u64,
    fields: Vec<(u8, Vec<u8>)>,
}

/// A journal file and its entries, numbered from 1.
pub(super) struct FileMade {
    shape: Shape,
    id: u128,
    pub(super) is_archived: bool,
    entries: Vec<EntryMade>,
}

impl FileMade {
    pub(super) fn new(shape: Shape, id: u128) -> Self {
        Self { shape, id, is_archived: false, entries: Vec::new() }
    }

    /// Adds an entry of `realtime`, microseconds since the epoch.
    pub(super) fn entry(&mut self, realtime: u64, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, value)| (0, format!("{name}={value}").into_bytes())).collect();
        self.entries.push(EntryMade { realtime, fields });
    }

    /// Adds a field to the last entry as it is stored; `flags` say how it is compressed.
    pub(super) fn stored_field(&mut self, flags: u8, payload: Vec<u8>) {
        self.entries.last_mut().expect("an entry was added").fields.push((flags, payload));
    }

    /// Into a temporary file.
    pub(super) fn write(&self) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".journal").tempfile().unwrap();
        self.write_to(file.path());
        file
    }

    pub(super) fn write_to(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        // In front, so that what is added later moves nothing.
        let arrays = self.put_arrays(&mut bytes);
        for (index, entry) in self.entries.iter().enumerate() {
            let data: Vec<u64> = entry.fields.iter().map(|(flags, payload)| self.put_data(&mut bytes, *flags, payload)).collect();
            let offset = self.put_entry(&mut bytes, index as u64 + 1, entry.realtime, &data);
            let mut item = Vec::new();
            self.put_offset(&mut item, offset);
            let at = self.item_at(&arrays, index);
            bytes[at..at + item.len()].copy_from_slice(&item);
        }
        let first_array = if self.entries.is_empty() { 0 } else { arrays[0] as u64 };
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"LPKSHHRH");
        put(12, &(1 | 2 | 8 | if self.shape == Shape::Compact { 16_u32 } else { 0 }).to_le_bytes());
        put(16, &[if self.is_archived { 2 } else { 1 }]);
        put(24, &self.id.to_be_bytes());
        put(72, &SEQNUM_ID.to_be_bytes());
        let count = self.entries.len() as u64;
        put(152, &count.to_le_bytes());
        put(160, &count.to_le_bytes());
        put(168, &count.min(1).to_le_bytes());
        put(176, &first_array.to_le_bytes());
        put(192, &self.entries.last().map_or(0, |entry| entry.realtime).to_le_bytes());
        bytes
    }

    fn put_data(&self, bytes: &mut Vec<u8>, flags: u8, payload: &[u8]) -> u64 {
        let mut body = vec![0; if self.shape == Shape::Compact { 72 - 16 } else { 64 - 16 }];
        body.extend_from_slice(payload);
        put_object(bytes, 1, flags, &body)
    }

    fn put_entry(&self, bytes: &mut Vec<u8>, seqnum: u64, realtime: u64, data: &[u64]) -> u64 {
        let mut body = Vec::new();
        for value in [seqnum, realtime, realtime] {
            body.extend_from_slice(&value.to_le_bytes());
        }
        body.extend_from_slice(&1_u128.to_be_bytes());
        body.extend_from_slice(&[0; 8]);
        for offset in data {
            self.put_offset(&mut body, *offset);
            if self.shape == Shape::Plain {
                body.extend_from_slice(&[0; 8]);
            }
        }
        put_object(bytes, 3, 0, &body)
    }

    /// Room for the offsets of entries: arrays, each with twice as many as the one before. Returns where they are.
    fn put_arrays(&self, bytes: &mut Vec<u8>) -> Vec<usize> {
        let mut arrays: Vec<usize> = Vec::new();
        for index in 0..ARRAYS {
            let array = put_object(bytes, 6, 0, &vec![0; 8 + (FIRST_ARRAY_ITEMS << index) * self.item_width()]);
            if let Some(last) = arrays.last() {
                bytes[last + 16..last + 24].copy_from_slice(&array.to_le_bytes());
            }
            arrays.push(usize::try_from(array).expect("a small file"));
        }
        arrays
    }

    /// Where the offset of the entry with this index stands.
    fn item_at(&self, arrays: &[usize], mut index: usize) -> usize {
        for (number, array) in arrays.iter().enumerate() {
            let items = FIRST_ARRAY_ITEMS << number;
            if index < items {
                return array + 24 + index * self.item_width();
            }
            index -= items;
        }
        panic!("more entries than there is room for")
    }

    fn item_width(&self) -> usize {
        if self.shape == Shape::Compact { 4 } else { 8 }
    }

    fn put_offset(&self, body: &mut Vec<u8>, offset: u64) {
        match self.shape {
            Shape::Plain => body.extend_from_slice(&offset.to_le_bytes()),
            Shape::Compact => body.extend_from_slice(&u32::try_from(offset).expect("a small file").to_le_bytes()),
        }
    }
}

/// Appends an object, aligned. Returns where it is.
fn put_object(bytes: &mut Vec<u8>, kind: u8, flags: u8, body: &[u8]) -> u64 {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&(body.len() as u64 + 16).to_le_bytes());
    bytes.extend_from_slice(body);
    offset
}
