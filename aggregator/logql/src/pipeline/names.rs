//! Names of labels as small numbers, for one stream.
//!
//! Every name a pipeline or a line uses is interned once per stream, so that the work per entry compares numbers.
//! The names that stages mention come first and have the same number in every stream. The table is bounded: when
//! lines bring more than [`MAXIMUM_NAMES`] names, everything but the first ones is forgotten between two entries.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::labels::LabelSet;
use crate::needed::{EXTRACTED_SUFFIX, NeededLabels};

const MAXIMUM_NAMES: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NameId(u32);

impl NameId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a name for the whole stream.
#[derive(Debug, Clone)]
struct Name {
    text: Box<str>,
    /// Position among the stream's labels.
    stream_index: Option<u32>,
    is_needed: bool,
    /// The name with `_extracted` behind it, once it was asked for.
    suffixed: Option<NameId>,
}

/// The names that stages of a pipeline mention, and which names parsers have to extract.
#[derive(Debug, Clone)]
pub(crate) struct PipelineNames {
    names: Vec<Box<str>>,
    /// `None`: every name is needed.
    needed: Option<Arc<BTreeSet<String>>>,
}

/// `__error__`, which has the first number in every table.
pub(crate) const ERROR_LABEL: &str = "__error__";
pub(crate) const ERROR_DETAILS_LABEL: &str = "__error_details__";
pub(crate) const PRESERVE_ERROR_LABEL: &str = "__preserve_error__";
pub(crate) const ERROR_NAME: NameId = NameId(0);

impl PipelineNames {
    pub(crate) fn new(needed: &NeededLabels) -> PipelineNames {
        let needed = match needed {
            NeededLabels::All => None,
            NeededLabels::None => Some(Arc::default()),
            NeededLabels::Only(needed) => Some(Arc::new(needed.clone())),
        };
        PipelineNames { names: vec![ERROR_LABEL.into()], needed }
    }

    pub(crate) fn intern(&mut self, text: &str) -> NameId {
        let known = self.names.iter().position(|name| &**name == text);
        let index = known.unwrap_or_else(|| {
            self.names.push(text.into());
            self.names.len() - 1
        });
        NameId(index as u32)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// The names of one stream.
#[derive(Debug)]
pub(crate) struct NameTable {
    names: Vec<Name>,
    by_text: HashMap<Box<str>, NameId>,
    stream: LabelSet,
    /// `None`: every name is needed.
    needed: Option<Arc<BTreeSet<String>>>,
    /// How many names came from the pipeline and the stream.
    fixed: usize,
    stream_names: Vec<NameId>,
}

impl NameTable {
    pub(crate) fn new(names: &PipelineNames, stream: &LabelSet) -> NameTable {
        let mut table = NameTable {
            names: Vec::with_capacity(names.names.len()),
            by_text: HashMap::new(),
            stream: stream.clone(),
            needed: names.needed.clone(),
            fixed: 0,
            stream_names: Vec::with_capacity(stream.len()),
        };
        for text in &names.names {
            table.add(text);
        }
        for (name, _) in stream.iter() {
            let id = table.intern(name);
            table.stream_names.push(id);
        }
        table.fixed = table.names.len();
        table
    }

    pub(crate) fn intern(&mut self, text: &str) -> NameId {
        match self.by_text.get(text) {
            Some(id) => *id,
            None => self.add(text),
        }
    }

    /// The number of a name that is known already.
    pub(crate) fn known(&self, text: &str) -> Option<NameId> {
        self.by_text.get(text).copied()
    }

    fn add(&mut self, text: &str) -> NameId {
        let id = NameId(self.names.len() as u32);
        self.names.push(Name {
            text: text.into(),
            stream_index: self.stream.index_of(text).map(|index| index as u32),
            is_needed: self.needed.as_ref().is_none_or(|needed| needed.contains(text)),
            suffixed: None,
        });
        self.by_text.insert(text.into(), id);
        id
    }

    /// The same name with `_extracted` behind it.
    pub(crate) fn suffixed(&mut self, id: NameId) -> NameId {
        if let Some(suffixed) = self.names[id.index()].suffixed {
            return suffixed;
        }
        let suffixed = self.intern(&format!("{}{EXTRACTED_SUFFIX}", self.names[id.index()].text));
        self.names[id.index()].suffixed = Some(suffixed);
        suffixed
    }

    pub(crate) fn text(&self, id: NameId) -> &str {
        &self.names[id.index()].text
    }

    pub(crate) fn is_in_stream(&self, id: NameId) -> bool {
        self.names[id.index()].stream_index.is_some()
    }

    /// The stream's value for this name.
    pub(crate) fn stream_value(&self, id: NameId) -> Option<&str> {
        let index = self.names[id.index()].stream_index?;
        Some(self.stream.pair(index as usize).1)
    }

    /// The names of the stream's labels, in order.
    pub(crate) fn stream_names(&self) -> impl Iterator<Item = NameId> {
        self.stream_names.iter().copied()
    }

    pub(crate) fn is_needed(&self, id: NameId) -> bool {
        self.names[id.index()].is_needed
    }

    /// Whether a needed name begins with this prefix: whether it is worth looking into a nested object.
    pub(crate) fn is_prefix_needed(&self, prefix: &str) -> bool {
        self.needed.as_ref().is_none_or(|needed| needed.iter().any(|name| name.starts_with(prefix)))
    }

    /// How many names parsers have to find before they may stop; `None` if they may not.
    pub(crate) fn needed_count(&self) -> Option<usize> {
        self.needed.as_ref().map(|needed| needed.len())
    }

    /// Whether the query asks for errors: it groups by them or filters on them.
    pub(crate) fn preserves_errors(&self) -> bool {
        self.needed.as_ref().is_some_and(|needed| needed.contains(ERROR_LABEL))
    }

    pub(crate) fn stream(&self) -> &LabelSet {
        &self.stream
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Forgets what lines brought, if that is too much. Numbers handed out for it are void then.
    pub(crate) fn forget_if_full(&mut self) -> bool {
        if self.names.len() <= self.fixed + MAXIMUM_NAMES {
            return false;
        }
        self.names.truncate(self.fixed);
        for name in &mut self.names {
            name.suffixed = name.suffixed.filter(|suffixed| suffixed.index() < self.fixed);
        }
        self.by_text.retain(|_, id| id.index() < self.fixed);
        true
    }
}
