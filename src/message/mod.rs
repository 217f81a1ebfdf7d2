//! What a request is and what can go wrong with it: words shared by every floor above.
pub mod body;
pub mod deadlines;
pub mod exchange;
pub mod fault;
pub use body::{BodySink, BodySize, BodySource, Fill, Pump};
pub use deadlines::{Deadlines, Phase};
pub use exchange::{Exchange, Peer, ResponseHead, ResponseSink};
pub use fault::{Category, Fault, Side};
