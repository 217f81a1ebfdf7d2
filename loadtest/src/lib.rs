//! Origins and load.
