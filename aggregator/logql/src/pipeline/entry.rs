//! The labels of the entry that is in the pipeline.
//!
//! Nothing here is built per entry: lists and buffers are reused, values are ranges of the line or of a text
//! buffer, and what is set, deleted or extracted is marked by the number of the entry (`epoch`), so that starting
//! the next one forgets it all. A name is in at most one of the lists: setting a parsed label removes metadata of
//! that name. Values are bytes; they become text, invalid UTF-8 replaced, only where labels are built.

use std::borrow::Cow;

use crate::stages::template_format::TEMPLATE_ERROR;

use super::names::{ERROR_DETAILS_LABEL, ERROR_LABEL, NameId, NameTable};

/// Bytes that stages may make of one entry's labels; far above what lines hold. Answers and series copy them a dozen times.
const MAXIMUM_TEXT: usize = 4 << 20;
/// Bytes of a buffer that are kept for the next entry.
const MAXIMUM_KEPT: usize = 1 << 20;

/// Empties a buffer; one that a single entry blew up is given back.
pub(crate) fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(MAXIMUM_KEPT);
}

/// What comes in with an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) line: &'a [u8],
    pub(crate) metadata: &'a [(&'a str, &'a str)],
}

/// Where the bytes of a value are: a range of the line as it came in, a range of the entry's text buffer, or a value of the metadata.
///
/// One number, so that it travels in a register: two bits say where, and 31 each where it starts and ends. Lines and buffers are far shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text(u64);

impl Text {
    const LINE: u64 = 1;
    const METADATA: u64 = 2;
    const BITS: u32 = 31;

    /// An empty range of the buffer.
    pub(crate) const EMPTY: Text = Text(0);

    pub(crate) fn line(start: usize, end: usize) -> Text {
        Text::new(Text::LINE, start, end)
    }

    fn buffer(start: usize, end: usize) -> Text {
        Text::new(0, start, end)
    }

    /// The value of a pair of the metadata as it came in.
    fn metadata(index: usize) -> Text {
        Text::new(Text::METADATA, 0, index)
    }

    fn new(place: u64, start: usize, end: usize) -> Text {
        debug_assert!(start.max(end) >> Text::BITS == 0, "lines are limited");
        Text(place << (2 * Text::BITS) | (start as u64) << Text::BITS | end as u64)
    }

    fn place(self) -> u64 {
        self.0 >> (2 * Text::BITS)
    }

    fn range(self) -> std::ops::Range<usize> {
        const MASK: u64 = (1 << Text::BITS) - 1;
        (self.0 >> Text::BITS & MASK) as usize..(self.0 & MASK) as usize
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) name: NameId,
    pub(crate) text: Text,
    is_alive: bool,
}

/// Marks of a name, each valid if it carries the number of the entry.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    parsed: u32,
    parsed_index: u32,
    metadata: u32,
    metadata_index: u32,
    deleted: u32,
    extracted: u32,
}

#[derive(Debug)]
pub(crate) struct EntryLabels {
    pub(crate) names: NameTable,
    marks: Vec<Marks>,
    epoch: u32,
    metadata: Vec<Pair>,
    parsed: Vec<Pair>,
    /// Stream labels that were deleted.
    deleted: Vec<NameId>,
    buffer: Vec<u8>,
    error: Option<Cow<'static, str>>,
    error_details: String,
    is_error_preserved: bool,
    still_needed: Option<usize>,
}

impl EntryLabels {
    pub(crate) fn new(names: NameTable) -> EntryLabels {
        EntryLabels {
            marks: vec![Marks::default(); names.len()],
            names,
            epoch: 0,
            metadata: Vec::new(),
            parsed: Vec::new(),
            deleted: Vec::new(),
            buffer: Vec::new(),
            error: None,
            error_details: String::new(),
            is_error_preserved: false,
            still_needed: None,
        }
    }

    /// Forgets the last entry and takes the next one's metadata. Returns whether numbers of names became void.
    pub(crate) fn start(&mut self, input: Input<'_>, metadata_names: &mut Vec<NameId>) -> bool {
        let is_reset = self.names.forget_if_full();
        if is_reset || self.epoch == u32::MAX {
            self.marks.clear();
            self.epoch = 0;
            metadata_names.clear();
        }
        self.epoch += 1;
        self.metadata.clear();
        self.parsed.clear();
        self.deleted.clear();
        empty(&mut self.buffer);
        self.error = None;
        self.error_details.clear();
        self.is_error_preserved = false;
        self.still_needed = self.names.needed_count();
        self.marks.resize(self.names.len().max(self.marks.len()), Marks::default());
        for (index, (name, value)) in input.metadata.iter().enumerate() {
            self.add_metadata(index, name, value, metadata_names);
        }
        is_reset
    }

    /// `remembered` holds the names of the entry before, which mostly are this one's too.
    fn add_metadata(&mut self, index: usize, name: &str, value: &str, remembered: &mut Vec<NameId>) {
        if name == ERROR_LABEL {
            self.error = Some(Cow::Owned(value.to_owned()));
            return;
        }
        if name == ERROR_DETAILS_LABEL {
            self.error_details.push_str(value);
            return;
        }
        let known = remembered.get(index).copied().filter(|id| self.names.text(*id) == name);
        let id = known.unwrap_or_else(|| {
            let id = self.names.intern(name);
            remembered.resize(index.max(remembered.len()), id);
            if index < remembered.len() {
                remembered[index] = id;
            } else {
                remembered.push(id);
            }
            id
        });
        let id = if self.names.is_in_stream(id) { self.names.suffixed(id) } else { id };
        let text = Text::metadata(index);
        let epoch = self.epoch;
        let position = self.metadata.len() as u32;
        let marks = self.marks_mut(id);
        if marks.metadata == epoch {
            let known = marks.metadata_index as usize;
            self.metadata[known].text = text;
            return;
        }
        marks.metadata = epoch;
        marks.metadata_index = position;
        self.metadata.push(Pair { name: id, text, is_alive: true });
    }

    fn marks(&self, id: NameId) -> Marks {
        self.marks.get(id.index()).copied().unwrap_or_default()
    }

    fn marks_mut(&mut self, id: NameId) -> &mut Marks {
        if id.index() >= self.marks.len() {
            self.marks.resize(self.names.len(), Marks::default());
        }
        &mut self.marks[id.index()]
    }

    /// The name under which a parser may set a label: with `_extracted` behind it where the stream or the metadata
    /// has the name already. `None` where the label is not needed, or was extracted before.
    pub(crate) fn extraction_target(&mut self, id: NameId) -> Option<NameId> {
        let target = self.unsuffixed_or_suffixed(id);
        self.may_extract(target).then_some(target)
    }

    /// Whether a label is needed and no parser has found it yet.
    pub(crate) fn may_extract(&self, id: NameId) -> bool {
        self.names.is_needed(id) && !self.is_extracted(id)
    }

    /// The same for the forms with expressions, which overwrite.
    pub(crate) fn unsuffixed_or_suffixed(&mut self, id: NameId) -> NameId {
        if self.names.is_in_stream(id) || self.marks(id).metadata == self.epoch {
            return self.names.suffixed(id);
        }
        id
    }

    fn is_extracted(&self, id: NameId) -> bool {
        self.marks(id).extracted == self.epoch
    }

    /// Whether parsers have found all that is needed.
    pub(crate) fn has_all_needed(&self) -> bool {
        self.still_needed == Some(0)
    }

    /// Sets a label that a parser found or a format made. No parser behind it sets it again.
    pub(crate) fn set_parsed(&mut self, id: NameId, text: Text) {
        let epoch = self.epoch;
        let position = self.parsed.len() as u32;
        let marks = self.marks_mut(id);
        let before = *marks;
        marks.metadata = 0;
        marks.extracted = epoch;
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::LabelsOverwritten.is_planted() {
            marks.extracted = 0;
        }
        if before.parsed != epoch {
            marks.parsed = epoch;
            marks.parsed_index = position;
        }
        if before.extracted != epoch
            && let Some(count) = &mut self.still_needed
            && self.names.is_needed(id)
        {
            *count = count.saturating_sub(1);
        }
        if before.metadata == epoch {
            self.metadata[before.metadata_index as usize].is_alive = false;
        }
        if before.parsed == epoch {
            self.parsed[before.parsed_index as usize].text = text;
            return;
        }
        self.parsed.push(Pair { name: id, text, is_alive: true });
    }

    /// How many labels parsers have set, to go back to with [`EntryLabels::forget_extracted`].
    pub(crate) fn extracted_mark(&self) -> usize {
        self.parsed.len()
    }

    /// Takes back what a parser set since the mark.
    pub(crate) fn forget_extracted(&mut self, mark: usize) {
        for index in mark..self.parsed.len() {
            let name = self.parsed[index].name;
            let marks = self.marks_mut(name);
            marks.parsed = 0;
            marks.extracted = 0;
        }
        self.parsed.truncate(mark);
    }

    /// Removes a label, wherever it comes from.
    pub(crate) fn delete(&mut self, id: NameId) {
        let epoch = self.epoch;
        let is_in_stream = self.names.is_in_stream(id);
        let marks = self.marks_mut(id);
        let parsed = (marks.parsed == epoch).then_some(marks.parsed_index as usize);
        let metadata = (marks.metadata == epoch).then_some(marks.metadata_index as usize);
        let is_newly_deleted = is_in_stream && marks.deleted != epoch;
        marks.parsed = 0;
        marks.metadata = 0;
        marks.deleted = epoch;
        if let Some(index) = parsed {
            self.parsed[index].is_alive = false;
        }
        if let Some(index) = metadata {
            self.metadata[index].is_alive = false;
        }
        if is_newly_deleted {
            self.deleted.push(id);
        }
    }

    /// The value of a label; `None` where it is missing, deleted or empty.
    pub(crate) fn get<'t>(&'t self, id: NameId, input: Input<'t>) -> Option<&'t [u8]> {
        self.find(id, input).filter(|value| !value.is_empty())
    }

    /// The value of a label, which may be empty.
    pub(crate) fn find<'t>(&'t self, id: NameId, input: Input<'t>) -> Option<&'t [u8]> {
        let marks = self.marks(id);
        if marks.parsed == self.epoch {
            return Some(self.bytes(self.parsed[marks.parsed_index as usize].text, input));
        }
        if marks.metadata == self.epoch {
            return Some(self.bytes(self.metadata[marks.metadata_index as usize].text, input));
        }
        if marks.deleted == self.epoch {
            return None;
        }
        self.names.stream_value(id).map(str::as_bytes)
    }

    pub(crate) fn bytes<'t>(&'t self, text: Text, input: Input<'t>) -> &'t [u8] {
        let range = text.range();
        match text.place() {
            Text::LINE => &input.line[range],
            Text::METADATA => input.metadata[range.end].1.as_bytes(),
            _ => &self.buffer[range],
        }
    }

    /// Appends to the text buffer; the result is good until the next entry. What does not fit becomes an empty text
    /// and an error of the entry: only chains of stages that make texts longer and longer get there.
    pub(crate) fn store(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Text {
        let start = self.buffer.len();
        write(&mut self.buffer);
        if self.buffer.len() > MAXIMUM_TEXT {
            self.buffer.truncate(start);
            self.set_error(TEMPLATE_ERROR, |details| details.push_str(&format!("labels of more than {MAXIMUM_TEXT} bytes")));
            return Text::EMPTY;
        }
        Text::buffer(start, self.buffer.len())
    }

    pub(crate) fn metadata(&self) -> impl Iterator<Item = &Pair> {
        self.metadata.iter().filter(|pair| pair.is_alive)
    }

    pub(crate) fn parsed(&self) -> impl Iterator<Item = &Pair> {
        self.parsed.iter().filter(|pair| pair.is_alive)
    }

    /// Stream labels that are shown: not deleted and not hidden by a parsed label of the same name.
    pub(crate) fn is_stream_label_shown(&self, id: NameId) -> bool {
        let marks = self.marks(id);
        marks.deleted != self.epoch && marks.parsed != self.epoch
    }

    /// The names of all labels the entry has now.
    pub(crate) fn shown_names(&self) -> impl Iterator<Item = NameId> {
        let stream = self.names.stream_names().filter(|name| self.is_stream_label_shown(*name));
        stream.chain(self.metadata().chain(self.parsed()).map(|pair| pair.name))
    }

    /// Whether a stage removed it, whatever was set after that.
    pub(crate) fn is_deleted(&self, id: NameId) -> bool {
        self.marks(id).deleted == self.epoch
    }

    pub(crate) fn is_metadata(&self, id: NameId) -> bool {
        self.marks(id).metadata == self.epoch
    }

    /// Whether the entry has nothing but its stream's labels.
    pub(crate) fn is_untouched(&self) -> bool {
        self.deleted.is_empty()
            && self.error.is_none()
            && self.error_details.is_empty()
            && self.metadata().next().is_none()
            && self.parsed().next().is_none()
    }

    pub(crate) fn deleted(&self) -> &[NameId] {
        &self.deleted
    }

    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(crate) fn error_details(&self) -> &str {
        &self.error_details
    }

    pub(crate) fn is_error_preserved(&self) -> bool {
        self.is_error_preserved
    }

    /// Sets the entry's error; `write` writes the details.
    pub(crate) fn set_error(&mut self, kind: &'static str, write: impl FnOnce(&mut String)) {
        self.error = Some(Cow::Borrowed(kind));
        self.error_details.clear();
        write(&mut self.error_details);
    }

    /// A parser's error, which a query that asks for errors keeps.
    pub(crate) fn set_parser_error(&mut self, kind: &'static str, write: impl FnOnce(&mut String)) {
        self.set_error(kind, write);
        self.is_error_preserved = self.names.preserves_errors();
    }

    /// A parser's error that says no more than its kind: details of an error before it stay.
    pub(crate) fn set_bare_parser_error(&mut self, kind: &'static str) {
        self.error = Some(Cow::Borrowed(kind));
        self.is_error_preserved = self.names.preserves_errors();
    }

    pub(crate) fn clear_error(&mut self) {
        self.error = None;
    }

    pub(crate) fn clear_error_details(&mut self) {
        self.error_details.clear();
    }
}
