//! An error together with what caused it, in one line: by itself an error of a library often says only that there was none of an answer.

use std::error::Error;

/// The text of `error`, then those of its causes.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Caused {
        what: &'static str,
        source: Option<Box<Caused>>,
    }

    #[test]
    fn causes_follow_in_their_order() {
        let inner = Caused { what: "refused", source: None };
        let error = Caused { what: "no answer", source: Some(Box::new(Caused { what: "no connection", source: Some(Box::new(inner)) })) };
        assert_eq!(with_causes(&error), "no answer: no connection: refused");
    }
}
