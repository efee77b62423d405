//! Layouts of Go: a reference time written as stamps should look, taken apart into literal text and elements.

/// What stands at a place of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    ShortMonth,
    Month {
        is_padded: bool,
    },
    LongWeekday,
    ShortWeekday,
    Day {
        is_padded: bool,
        takes_blank: bool,
    },
    YearDay {
        takes_blanks: bool,
    },
    Hour24,
    Hour12 {
        is_padded: bool,
    },
    Minute {
        is_padded: bool,
    },
    Second {
        is_padded: bool,
    },
    LongYear,
    ShortYear,
    Half {
        is_upper: bool,
    },
    ZoneName,
    /// `takes_z`: a `Z` stands for UTC.
    ZoneOffset {
        takes_z: bool,
        form: OffsetForm,
    },
    /// Exactly so many digits, with the separator.
    Fraction {
        digits: usize,
    },
    /// Any number of digits, or nothing at all.
    OptionalFraction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetForm {
    Hours,
    HoursMinutes,
    HoursMinutesSeconds,
    ColonMinutes,
    ColonSeconds,
}

impl OffsetForm {
    /// In the order in which they are tried.
    const WRITTEN: [(&str, Self); 5] = [
        ("070000", Self::HoursMinutesSeconds),
        ("07:00:00", Self::ColonSeconds),
        ("0700", Self::HoursMinutes),
        ("07:00", Self::ColonMinutes),
        ("07", Self::Hours),
    ];
}

/// Literal text, and the element that follows it; the last text has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) literal: String,
    pub(super) element: Option<Element>,
}

/// Takes a layout apart.
pub(super) fn chunks(layout: &str) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = layout;
    'chunks: while !rest.is_empty() {
        for (at, _) in rest.char_indices() {
            if let Some((skip, element, length)) = element_at(&rest[at..]) {
                chunks.push(Chunk { literal: rest[..at + skip].to_owned(), element: Some(element) });
                rest = &rest[at + skip + length..];
                continue 'chunks;
            }
        }
        break;
    }
    chunks.push(Chunk { literal: rest.to_owned(), element: None });
    chunks
}

/// Literal bytes before the element, the element, and its length, if one stands at the start of `text`.
fn element_at(text: &str) -> Option<(usize, Element, usize)> {
    let starts = |prefix: &str| text.starts_with(prefix);
    let is_word_end = |at: usize| !text[at..].starts_with(|next: char| next.is_ascii_lowercase());
    let (element, length) = match text.as_bytes().first()? {
        b'J' if starts("January") => (Element::LongMonth, 7),
        b'J' if starts("Jan") && is_word_end(3) => (Element::ShortMonth, 3),
        b'M' if starts("Monday") => (Element::LongWeekday, 6),
        b'M' if starts("Mon") && is_word_end(3) => (Element::ShortWeekday, 3),
        b'M' if starts("MST") => (Element::ZoneName, 3),
        b'0' if starts("002") => (Element::YearDay { takes_blanks: false }, 3),
        b'0' => match text.as_bytes().get(1)? {
            b'1' => (Element::Month { is_padded: true }, 2),
            b'2' => (Element::Day { is_padded: true, takes_blank: false }, 2),
            b'3' => (Element::Hour12 { is_padded: true }, 2),
            b'4' => (Element::Minute { is_padded: true }, 2),
            b'5' => (Element::Second { is_padded: true }, 2),
            b'6' => (Element::ShortYear, 2),
            _ => return None,
        },
        b'1' if starts("15") => (Element::Hour24, 2),
        b'1' => (Element::Month { is_padded: false }, 1),
        b'2' if starts("2006") => (Element::LongYear, 4),
        b'2' => (Element::Day { is_padded: false, takes_blank: false }, 1),
        b'_' if starts("_2006") => return Some((1, Element::LongYear, 4)),
        b'_' if starts("__2") => (Element::YearDay { takes_blanks: true }, 3),
        b'_' if starts("_2") => (Element::Day { is_padded: false, takes_blank: true }, 2),
        b'3' => (Element::Hour12 { is_padded: false }, 1),
        b'4' => (Element::Minute { is_padded: false }, 1),
        b'5' => (Element::Second { is_padded: false }, 1),
        b'P' if starts("PM") => (Element::Half { is_upper: true }, 2),
        b'p' if starts("pm") => (Element::Half { is_upper: false }, 2),
        first @ (b'-' | b'Z') => {
            let (written, form) = OffsetForm::WRITTEN.into_iter().find(|(written, _)| text[1..].starts_with(written))?;
            (Element::ZoneOffset { takes_z: *first == b'Z', form }, 1 + written.len())
        }
        b'.' | b',' => return fraction_at(text),
        _ => return None,
    };
    Some((0, element, length))
}

fn fraction_at(text: &str) -> Option<(usize, Element, usize)> {
    let digit = *text.as_bytes().get(1).filter(|byte| matches!(byte, b'0' | b'9'))?;
    let digits = text.bytes().skip(1).take_while(|byte| *byte == digit).count();
    if text.as_bytes().get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let element = if digit == b'0' { Element::Fraction { digits } } else { Element::OptionalFraction };
    Some((0, element, 1 + digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_taken_apart() {
        let written = |layout: &str| -> Vec<(String, Option<Element>)> {
            chunks(layout).into_iter().map(|chunk| (chunk.literal, chunk.element)).collect()
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(
            written("Jan _2 x15:04.000Z07:00!"),
            [
                (text(""), Some(Element::ShortMonth)),
                (text(" "), Some(Element::Day { is_padded: false, takes_blank: true })),
                (text(" x"), Some(Element::Hour24)),
                (text(":"), Some(Element::Minute { is_padded: true })),
                (text(""), Some(Element::Fraction { digits: 3 })),
                (text(""), Some(Element::ZoneOffset { takes_z: true, form: OffsetForm::ColonMinutes })),
                (text("!"), None),
            ]
        );
        assert_eq!(written("Janus Stamp"), [(text("Janus Stamp"), None)]);
        assert_eq!(written("_2006"), [(text("_"), Some(Element::LongYear)), (text(""), None)]);
    }
}
