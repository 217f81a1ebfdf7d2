//! What the messages of HTTP/2 and HTTP/3 have in common: which of them are well-formed (RFC 9113, sections 8.1 to 8.5;
//! RFC 9114, sections 4.1 to 4.4), what a request starts with, priorities (RFC 9218), and how events are counted.
mod abuse;
mod check;
mod priority;
mod rate;
mod request;

pub use check::{Excess, FarTooLarge, KnownAuthority, Message, Section, Verdict, is_path};
pub use priority::Priority;
pub use rate::Rate;
pub use request::{Protocol, RequestHead, Scheme, is_hop_by_hop};
