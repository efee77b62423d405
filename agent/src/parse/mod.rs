//! Records of a container runtime to lines: pure functions over bytes, no files, no clock.
//!
//! [`cri`] reads one record, [`docker`] one of docker's, [`format`] says which it is, [`pieces`] joins the pieces of a split line, [`stamps`] makes stamps strictly increase, [`text`] makes
//! valid UTF-8. What comes out depends only on the bytes that went in and the state that came with them: replays are identical.

pub(crate) mod cri;
pub(crate) mod docker;
pub(crate) mod format;
pub(crate) mod pieces;
pub(crate) mod stamps;
pub(crate) mod text;
pub(crate) mod time;
