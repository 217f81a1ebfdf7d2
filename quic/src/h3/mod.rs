//! HTTP/3 without I/O, both roles (RFC 9114; field compression, RFC 9204; extended CONNECT, RFC 9220; priorities, RFC
//! 9218): bytes of streams in, events out, bytes for streams out. The time is an argument.
//!
//! The owner of a [`Connection`] has the QUIC streams. It opens three unidirectional ones and writes there what
//! [`Connection::out`] holds; gives what it reads from request streams to [`Connection::receive`], each with its
//! [`Stream`], and from the peer's unidirectional ones to [`Connection::receive_uni`], each with its [`Uni`]; and
//! writes to request streams what the `write_…` calls make. After [`Connection::receive_uni`] it asks
//! [`Connection::next_control`] and [`Connection::next_unblocked`] until there is none.
mod connection;
mod control;
mod error;
mod frame;
mod heads;
mod known;
mod limits;
pub mod qpack;
mod receive;
mod send;
mod settings;
mod stream;
mod uni;
mod varint;

pub use connection::{Connection, Control, Event, Own, Role};
pub use edge_io::message::{Priority, Protocol, RequestHead, Scheme};
pub use error::{Error, ErrorCode, Fatal};
pub use frame::data_header;
pub(crate) use known::Known;
pub use limits::{Abuse, AbuseCounts, Limits};
pub(crate) use send::write_request;
pub use stream::Stream;
pub use uni::{Uni, UniNext};
