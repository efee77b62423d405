//! A segment: the entries of one flush, of all tenants, as one object; rows by (stream_id, ts, arrival).

pub mod encode;
pub mod rows;
