//! One journal file by its descriptor: its entries in order, as far as they are written.
//!
//! Nothing is mapped into memory, so a file that is cut while it is read is an error and no signal. Fields that many entries share are kept, bounded.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use super::format::{self, ARRAY_ITEMS_AT, FormatError, HEADER_BYTES, Header, OBJECT_HEADER_BYTES, ObjectHeader, RawEntry};
use crate::tail::file::{OpenError, open_regular};

/// Fields kept; those of more bytes are read every time.
const KEPT_FIELDS: usize = 1024;
const KEPT_FIELD_BYTES: usize = 256;
/// An object's bytes that are read at first: enough for most.
const FIRST_READ_BYTES: u64 = 512;

/// Why a journal file cannot be read, or not on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("cannot read it")]
    Io(#[from] io::Error),
}

/// A field's name and value.
pub(crate) type Field = (String, String);

#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    header: Header,
    /// The entry array being read, where its first item is among all entries, and how many it has; `None` before the first.
    array: Option<(u64, u64, u64)>,
    /// Entries passed.
    passed: u64,
    fields: HashMap<u64, Arc<Field>>,
}

impl JournalFile {
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let file = open_regular(path)?;
        let header = read_header(&file)?;
        Ok(Self { file, header, array: None, passed: 0, fields: HashMap::new() })
    }

    pub(crate) fn id(&self) -> u128 {
        self.header.file_id
    }

    pub(crate) fn seqnum_id(&self) -> u128 {
        self.header.seqnum_id
    }

    /// Nothing is added to it any more.
    pub(crate) fn is_archived(&self) -> bool {
        self.header.is_archived
    }

    /// When its last entry was written, microseconds since the epoch.
    pub(crate) fn tail_realtime(&self) -> u64 {
        self.header.tail_realtime
    }

    /// The number of its first entry; 0 before there is one.
    pub(crate) fn begin(&self) -> u64 {
        self.header.head_seqnum
    }

    /// The number behind its last entry.
    pub(crate) fn end(&self) -> u64 {
        self.header.tail_seqnum.saturating_add(1)
    }

    /// It has no name any more.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Looks how far it is written.
    pub(crate) fn refresh(&mut self) -> Result<(), JournalError> {
        self.header = read_header(&self.file)?;
        Ok(())
    }

    /// The next entry that is written.
    pub(crate) fn next_entry(&mut self) -> Result<Option<RawEntry>, JournalError> {
        if self.passed >= self.header.entries {
            return Ok(None);
        }
        let Some(offset) = self.entry_offset(self.passed)? else { return Ok(None) };
        let entry = self.entry_at(offset)?;
        self.passed += 1;
        Ok(Some(entry))
    }

    /// Goes on with the first entry of at least this number.
    pub(crate) fn seek(&mut self, seqnum: u64) -> Result<(), JournalError> {
        // Arrays that end before it are passed whole.
        while let Some(next) = self.next_array()? {
            let first = self.item(next.0, 0)?;
            let is_before = next.1 < self.header.entries && first > 0 && self.entry_at(first)?.seqnum <= seqnum;
            if !is_before {
                break;
            }
            (self.array, self.passed) = (Some(next), next.1);
        }
        let end = self.array.map_or(self.passed, |(_, first, items)| (first + items).min(self.header.entries));
        let (mut low, mut high) = (self.passed, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let is_before = match self.entry_offset(middle)? {
                Some(offset) => self.entry_at(offset)?.seqnum < seqnum,
                None => false,
            };
            (low, high) = if is_before { (middle + 1, high) } else { (low, middle) };
        }
        self.passed = low;
        Ok(())
    }

    /// The fields of an entry, those that cannot be decompressed left out; their number is told.
    pub(crate) fn fields(&mut self, entry: &RawEntry) -> Result<(Vec<Arc<Field>>, u64), JournalError> {
        let mut fields = Vec::with_capacity(entry.data.len());
        let mut unreadable = 0;
        for offset in &entry.data {
            if let Some(field) = self.fields.get(offset) {
                fields.push(Arc::clone(field));
                continue;
            }
            let (object, bytes) = self.object(*offset, |header, object| header.data_bytes(object))?;
            match self.header.data(object, &bytes, *offset) {
                Ok(data) => fields.extend(self.keep(*offset, &data)),
                Err(FormatError::Compression { .. }) => unreadable += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((fields, unreadable))
    }

    fn keep(&mut self, offset: u64, data: &[u8]) -> Option<Arc<Field>> {
        let at = memchr::memchr(b'=', data)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let field = Arc::new((text(&data[..at]), text(&data[at + 1..])));
        if data.len() <= KEPT_FIELD_BYTES {
            if self.fields.len() >= KEPT_FIELDS {
                self.fields.clear();
            }
            self.fields.insert(offset, Arc::clone(&field));
        }
        Some(field)
    }

    /// Where the entry of this number among all is; `None` if that is not written yet.
    fn entry_offset(&mut self, index: u64) -> Result<Option<u64>, JournalError> {
        loop {
            if let Some((array, first, items)) = self.array
                && (first..first + items).contains(&index)
            {
                let offset = self.item(array, index - first)?;
                return Ok(Some(offset).filter(|offset| *offset > 0));
            }
            let Some(next) = self.next_array()? else { return Ok(None) };
            self.array = Some(next);
        }
    }

    /// The array behind the present one.
    fn next_array(&self) -> Result<Option<(u64, u64, u64)>, JournalError> {
        let (offset, first) = match self.array {
            None => (self.header.entry_array, 0),
            Some((array, first, items)) => {
                let mut next = [0; 8];
                self.file.read_exact_at(&mut next, array + OBJECT_HEADER_BYTES)?;
                (u64::from_le_bytes(next), first + items)
            }
        };
        if offset == 0 {
            return Ok(None);
        }
        let mut bytes = [0; OBJECT_HEADER_BYTES as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        let items = self.header.array_items(format::object_header(&bytes, offset)?, offset)?;
        // An empty one would be looked at for ever.
        if items == 0 { Err(FormatError::Object { offset }.into()) } else { Ok(Some((offset, first, items))) }
    }

    fn item(&self, array: u64, index: u64) -> Result<u64, JournalError> {
        let width = self.header.array_item_bytes();
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..usize::try_from(width).unwrap_or(8)];
        self.file.read_exact_at(bytes, array + ARRAY_ITEMS_AT + index * width)?;
        Ok(self.header.array_item(bytes, 0).unwrap_or(0))
    }

    fn entry_at(&self, offset: u64) -> Result<RawEntry, JournalError> {
        let (object, bytes) = self.object(offset, |header, object| header.entry_bytes(object))?;
        Ok(self.header.entry(object, &bytes, offset)?)
    }

    /// An object's head and so many of its bytes as `wanted` says.
    fn object(&self, offset: u64, wanted: impl Fn(&Header, ObjectHeader) -> u64) -> Result<(ObjectHeader, Vec<u8>), JournalError> {
        let mut bytes = vec![0; FIRST_READ_BYTES as usize];
        let count = read_at(&self.file, &mut bytes, offset)?;
        let object = format::object_header(&bytes[..count], offset)?;
        let wanted = usize::try_from(wanted(&self.header, object)).unwrap_or(usize::MAX);
        if wanted > count {
            bytes.resize(wanted, 0);
            let read = read_at(&self.file, &mut bytes, offset)?;
            bytes.truncate(read);
        }
        bytes.truncate(wanted);
        if bytes.len() < wanted { Err(FormatError::Object { offset }.into()) } else { Ok((object, bytes)) }
    }
}

fn read_header(file: &File) -> Result<Header, JournalError> {
    let mut bytes = [0; HEADER_BYTES];
    let count = read_at(file, &mut bytes, 0)?;
    Ok(format::header(&bytes[..count])?)
}

/// Reads until `buffer` is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::made::{FileMade, Shape};

    fn numbers(journal: &mut JournalFile) -> Vec<u64> {
        std::iter::from_fn(|| journal.next_entry().unwrap()).map(|entry| entry.seqnum).collect()
    }

    #[test]
    fn entries_of_both_shapes_are_read_in_order_over_several_arrays() {
        for shape in [Shape::Plain, Shape::Compact] {
            let mut made = FileMade::new(shape, 7);
            for number in 0..100 {
                made.entry(1000 + number, &[("MESSAGE", &format!("line {number}")), ("_SYSTEMD_UNIT", "a.service")]);
            }
            let written = made.write();
            let mut journal = JournalFile::open(written.path()).unwrap();
            assert_eq!((journal.id(), journal.begin(), journal.end(), journal.is_archived()), (7, 1, 101, false));
            let first = journal.next_entry().unwrap().unwrap();
            let (fields, unreadable) = journal.fields(&first).unwrap();
            let fields: Vec<_> = fields.iter().map(|field| (field.0.as_str(), field.1.as_str())).collect();
            assert_eq!((fields, unreadable), (vec![("MESSAGE", "line 0"), ("_SYSTEMD_UNIT", "a.service")], 0));
            assert_eq!((first.seqnum, first.realtime), (1, 1000));
            assert_eq!(numbers(&mut journal), (2..=100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_place_is_found_wherever_it_is() {
        let mut made = FileMade::new(Shape::Compact, 7);
        (0..50).for_each(|number| made.entry(number, &[("MESSAGE", "x")]));
        let written = made.write();
        for wanted in [0, 1, 2, 4, 5, 17, 49, 50, 51, 1000] {
            let mut journal = JournalFile::open(written.path()).unwrap();
            journal.seek(wanted).unwrap();
            assert_eq!(numbers(&mut journal), (wanted.max(1)..=50).collect::<Vec<_>>(), "{wanted}");
        }
    }

    #[test]
    fn what_is_written_later_is_read_then() {
        let mut made = FileMade::new(Shape::Plain, 7);
        (0..10).for_each(|number| made.entry(number, &[("MESSAGE", "x")]));
        let written = made.write();
        let mut journal = JournalFile::open(written.path()).unwrap();
        assert_eq!(numbers(&mut journal).len(), 10);
        (10..15).for_each(|number| made.entry(number, &[("MESSAGE", "x")]));
        made.write_to(written.path());
        assert_eq!(numbers(&mut journal).len(), 0, "not before it is looked at again");
        journal.refresh().unwrap();
        assert_eq!(numbers(&mut journal), (11..=15).collect::<Vec<_>>());
    }

    #[test]
    fn a_field_that_cannot_be_decompressed_is_left_out_and_told() {
        let mut made = FileMade::new(Shape::Compact, 7);
        made.entry(1, &[("MESSAGE", "x")]);
        made.stored_field(1, b"no block of XZ".to_vec());
        let written = made.write();
        let mut journal = JournalFile::open(written.path()).unwrap();
        let entry = journal.next_entry().unwrap().unwrap();
        let (fields, unreadable) = journal.fields(&entry).unwrap();
        assert_eq!((fields.len(), unreadable), (1, 1));
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error_wherever_that_is() {
        let mut made = FileMade::new(Shape::Plain, 7);
        (0..5).for_each(|number| made.entry(number, &[("MESSAGE", "some text")]));
        let written = made.write();
        let whole = std::fs::read(written.path()).unwrap();
        for length in (0..whole.len()).step_by(8) {
            std::fs::write(written.path(), &whole[..length]).unwrap();
            let Ok(mut journal) = JournalFile::open(written.path()) else { continue };
            let mut read = || (0..5).try_for_each(|_| journal.next_entry()?.map_or(Ok(()), |entry| journal.fields(&entry).map(drop)));
            assert!(read().is_err(), "{length} of {} bytes", whole.len());
        }
    }
}
