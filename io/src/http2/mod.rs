//! HTTP/2 without I/O, both roles (RFC 9113; extended CONNECT, RFC 8441; priorities, RFC 9218): bytes in, events out,
//! bytes out. The time is an argument.
//!
//! The owner of a [`Connection`] gives it what it reads ([`Connection::receive`], again until there is no event), sends
//! with the `send_…` calls, writes what [`Connection::out`] holds once per turn, and says with [`Connection::consumed`]
//! what data it is done with. After events, after [`Connection::sent`] and after it sent, it asks
//! [`Connection::next_writable`] until there is none: those streams were blocked and can go on.
mod connection;
mod control;
mod ends;
mod error;
mod flow;
mod frame;
mod heads;
pub mod hpack;
mod limits;
mod priority;
mod receive;
mod send;
mod stream;

pub use crate::message::{Priority, Protocol, RequestHead, Scheme};
pub use connection::{Connection, Event, Role};
pub use error::{ErrorCode, Fatal, Gone, Refused};
pub use frame::PREFACE;
pub use limits::{Abuse, AbuseCounts, Limits};
