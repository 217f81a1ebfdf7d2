//! What a request is and what can go wrong with it: words shared by every floor above.
pub mod authority;
pub mod body;
pub mod deadlines;
pub mod exchange;
pub mod fault;
pub mod few;
pub mod field_error;
pub mod path;
pub mod pattern;
pub mod template;
pub use authority::host_of;
pub use body::{BodySink, BodySize, BodySource, Fill, Pump};
pub use deadlines::{Deadlines, Phase};
pub use exchange::{Exchange, Peer, ResponseHead, ResponseSink};
pub use fault::{Category, Fault, Side};
pub use field_error::{FieldError, Problem};
pub use pattern::compile_regex;
