//! Whether the generator kept up, so that the figures are the server's: what it was like, and what follows from that.
pub(crate) mod cpu;
mod verdict;
pub use verdict::{Facts, verdict};
