//! What a stream of bytes carries once the server has granted it, whatever the protocol below: messages of a WebSocket, or
//! events.
use super::Why;
use crate::record::Fault;
use std::task::{Context, Poll};

/// One such exchange, without I/O.
pub trait Talk {
    /// Takes what is due, and sees to deadlines: to be called at each wake-up, after what came was handed over. `room`:
    /// what it said before has left. Ready when it is over; what is in `out` then is a last word.
    fn poll(&mut self, cx: &mut Context<'_>, room: bool) -> Poll<Why>;

    /// Bytes came.
    ///
    /// # Errors
    /// It is over.
    fn receive(&mut self, bytes: &[u8], now_us: u64) -> Result<(), Why>;

    /// What is to be sent. The caller takes off what it sent.
    fn out(&mut self) -> &mut Vec<u8>;

    /// The stream is at its end: in order, or by a fault.
    fn cut(&mut self, fault: Option<Fault>, now_us: u64) -> Why;

    /// What was answered so far: echoes, events.
    fn answered(&self) -> u64;
}
