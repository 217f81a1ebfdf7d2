//! What a request is and what can go wrong with it: words shared by every floor above.
pub mod fault;
pub use fault::{Category, Fault, Side};
