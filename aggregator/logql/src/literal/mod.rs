//! Numbers, durations, sizes and quoted strings, read and written the way Go programs do.
//!
//! Clients and users see these forms (error texts, `format_query`, label values), so each function accepts
//! and prints exactly what its Go counterpart does, including the wording of its errors. Pure functions over
//! text; nothing here panics on any input.

mod duration;
mod float;
mod quote;
mod size;

pub use duration::{DurationError, format_go_duration, format_prometheus_duration, parse_go_duration, parse_prometheus_duration};
pub use float::{FloatError, format_go_float, parse_go_float};
pub(crate) use quote::is_printable;
pub use quote::{go_quote, go_unquote};
pub use size::{SizeError, format_bytes_size, parse_bytes_size};
