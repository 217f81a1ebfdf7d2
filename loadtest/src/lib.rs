//! Origins and load.
#![forbid(unsafe_code)]
pub mod origin;
