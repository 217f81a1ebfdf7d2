//! What a request is and what can go wrong with it: words shared by every floor above.
pub mod authority;
pub mod fault;
pub mod field_error;
pub mod path;
pub mod pattern;
pub mod template;
pub use authority::host_of;
pub use fault::{Category, Fault, Side};
pub use field_error::{FieldError, Problem};
pub use pattern::compile_regex;
