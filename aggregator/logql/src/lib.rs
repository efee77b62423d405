//! LogQL: from query text to a syntax tree, back to text, and the stages that run over single entries.
//!
//! ```text
//! text → lexer → parser → ast (validated) → printer
//!                          └→ pipeline: stages compiled once per query, run once per entry
//! ```
//! Pure: no I/O, no clock, no async, nothing of ours imported. What a query means over many entries
//! (windows, series, vectors) is the engine's business; what one entry becomes is decided here.

pub mod ast;
pub mod error;
pub mod labels;
mod lexer;
pub mod literal;
pub mod matcher;
mod names;
pub mod needed;
pub mod parser;
pub mod pipeline;
pub mod printer;
pub mod regex_dialect;
pub mod required;
pub(crate) mod stages;
pub mod template;
pub mod validate;

pub use error::ParseError;
pub use parser::{SelectorError, parse, parse_any_selector, parse_log, parse_selector};
pub use printer::{format_query, format_query_as_loki};
pub use stages::logfmt_pairs::each_logfmt_pair;
