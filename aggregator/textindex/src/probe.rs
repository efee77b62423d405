//! What a query asks of an index: texts that every wanted row holds.
//!
//! A [`Probe`] is the question in the query's terms; a [`Question`] the same in places of bits. A literal without a
//! whole gram cannot be asked and counts as [`Probe::Always`].

use crate::gram::{Gram, Plane, grams};
use crate::parameters::IndexParameters;

/// Which granules are wanted. A granule that holds a row (a line or a metadata value) with the text is never excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A row holds these bytes, in any ASCII case: the index knows lower case alone. With `fold_case` it may hold them
    /// in any case of Unicode, so that `k` may be the Kelvin sign and `s` a long s.
    Literal { bytes: Vec<u8>, fold_case: bool },
    /// All of these, not necessarily in one row.
    All(Vec<Probe>),
    /// At least one of these; no granule if there are none.
    Any(Vec<Probe>),
    /// Nothing is known of the rows that are wanted.
    Always,
}

impl Probe {
    /// Bytes in any ASCII case.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Probe {
        Probe::Literal { bytes: bytes.into(), fold_case: false }
    }

    /// The grams of all literals, each once: how much of an index the probe reads.
    pub fn grams(&self) -> Vec<Gram> {
        let mut grams = Vec::new();
        self.collect_grams(&mut grams);
        grams.sort_unstable();
        grams.dedup();
        grams
    }

    fn collect_grams(&self, out: &mut Vec<Gram>) {
        match self {
            Probe::Literal { bytes, fold_case } => out.extend(literal_grams(bytes, *fold_case)),
            Probe::All(parts) | Probe::Any(parts) => parts.iter().for_each(|part| part.collect_grams(out)),
            Probe::Always => {}
        }
    }

    pub(crate) fn question(&self, parameters: &IndexParameters) -> Question {
        match self {
            Probe::Always => Question::Maybe,
            Probe::Literal { bytes, fold_case } => {
                let mut places = Places::default();
                literal_grams(bytes, *fold_case).for_each(|gram| places.add(parameters, gram));
                places.question()
            }
            Probe::All(parts) => all(parts.iter().map(|part| part.question(parameters))),
            Probe::Any(parts) => {
                let parts: Vec<Question> = parts.iter().map(|part| part.question(parameters)).collect();
                if parts.contains(&Question::Maybe) { Question::Maybe } else { Question::Any(parts) }
            }
        }
    }
}

/// The grams that lie wholly in the literal and are the same in whatever case it may stand.
fn literal_grams(bytes: &[u8], fold_case: bool) -> impl Iterator<Item = Gram> {
    let is_same_in_any_case = |byte: &u8| byte.is_ascii() && !matches!(byte.to_ascii_lowercase(), b'k' | b's');
    let found =
        grams(bytes).filter(move |(start, gram)| !fold_case || bytes[*start..start + gram.length()].iter().all(is_same_in_any_case));
    found.map(|(_, gram)| gram)
}

/// The places to look at in the planes at full size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places {
    text: Vec<u32>,
    id: Vec<u32>,
}

impl Places {
    pub(crate) fn of(&self, plane: Plane) -> &[u32] {
        match plane {
            Plane::Text => &self.text,
            Plane::Id => &self.id,
        }
    }

    fn add(&mut self, parameters: &IndexParameters, gram: Gram) {
        let places = match gram.plane {
            Plane::Text => &mut self.text,
            Plane::Id => &mut self.id,
        };
        places.push(parameters.place(gram));
    }

    fn question(mut self) -> Question {
        for places in [&mut self.text, &mut self.id] {
            places.sort_unstable();
            places.dedup();
        }
        if self.text.is_empty() && self.id.is_empty() { Question::Maybe } else { Question::Grams(self) }
    }
}

/// A probe without literals that tell nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Maybe,
    /// All these bits are set.
    Grams(Places),
    All(Vec<Question>),
    Any(Vec<Question>),
}

/// Joins the grams of all literals into one look.
fn all(parts: impl Iterator<Item = Question>) -> Question {
    let mut joined = Places::default();
    let mut others = Vec::new();
    let mut add = |part| match part {
        Question::Grams(places) => {
            joined.text.extend(places.text);
            joined.id.extend(places.id);
        }
        Question::Maybe => {}
        other => others.push(other),
    };
    for part in parts {
        match part {
            Question::All(parts) => parts.into_iter().for_each(&mut add),
            part => add(part),
        }
    }
    match (joined.question(), others.is_empty()) {
        (grams, true) => grams,
        (Question::Maybe, false) => Question::All(others),
        (grams, false) => {
            others.insert(0, grams);
            Question::All(others)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(probe: &Probe) -> Question {
        probe.question(&IndexParameters::default())
    }

    fn folded(text: &str) -> Probe {
        Probe::Literal { bytes: text.as_bytes().to_vec(), fold_case: true }
    }

    #[test]
    fn literals_without_a_gram_tell_nothing() {
        for probe in [Probe::text("abc"), Probe::text("12345"), Probe::text(""), folded("mask"), folded("ärz ärz"), folded("1234k6")] {
            assert_eq!(question(&probe), Question::Maybe, "{probe:?}");
            assert_eq!(question(&Probe::Any(vec![Probe::text("something"), probe.clone()])), Question::Maybe);
            assert_eq!(question(&Probe::All(vec![Probe::text("something"), probe])), question(&Probe::text("something")));
        }
    }

    #[test]
    fn folding_leaves_out_what_other_letters_fold_to() {
        let values = |probe: Probe| probe.grams().iter().map(|gram| gram.value.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(values(folded("ERRORs")).len(), 2);
        assert_eq!(values(folded("ERRORs")), values(Probe::text("error")));
        assert_eq!(values(folded("xKerror")), values(Probe::text("error")));
        assert_eq!(values(Probe::text("xKerr")).len(), 2);
    }

    #[test]
    fn literals_that_must_all_be_there_are_one_look() {
        let nested = Probe::All(vec![Probe::text("some"), Probe::All(vec![Probe::text("text"), Probe::text("some")]), Probe::Always]);
        let Question::Grams(places) = question(&nested) else { panic!("one look, not {:?}", question(&nested)) };
        assert_eq!((places.text.len(), places.id.len()), (2, 0));
        assert_eq!(question(&Probe::All(vec![])), Question::Maybe);
        assert_eq!(question(&Probe::Any(vec![])), Question::Any(vec![]));
    }
}
