//! The way out of an endpoint: packets are made into one buffer, batch by batch, and wait there if the socket is full.
use crate::socket::{Socket, Transmit};
use quinn_proto::Connection;
use std::{io, task::Context, time::Instant};

/// Batches of one connection before others get their turn.
const BATCHES_PER_TURN: u32 = 2;
/// Datagrams in one batch, at most (the kernel's own bound is 64).
const SEGMENTS_MAX: usize = 44;
/// What the kernel takes as one message, bytes: the most that UDP over IPv4 carries.
const MESSAGE_MAX: usize = 65_507;
/// How often a socket that says it has room, and has none, is asked in one turn.
const ASKED: u32 = 2;

/// What `transmit` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// How many datagrams went out.
    pub datagrams: u64,
    /// There are more.
    pub more: bool,
}

/// Packets on their way out.
#[derive(Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    /// What of it the socket did not take.
    waiting: Option<quinn_proto::Transmit>,
    /// For packets of no connection.
    answer: Vec<u8>,
}

impl Outbox {
    /// Room for one packet of no connection.
    pub fn answer(&mut self) -> &mut Vec<u8> {
        self.answer.clear();
        &mut self.answer
    }

    /// What was put there.
    pub fn answered(&self) -> &[u8] {
        &self.answer
    }

    /// Sends it; nobody misses it if the socket is full.
    pub fn send_answer(&mut self, socket: &Socket, transmit: &quinn_proto::Transmit) {
        let _ = send(socket, transmit, &self.answer);
    }

    /// Whether the socket is full.
    pub fn is_blocked(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether nothing waits any more.
    pub fn unblock(&mut self, socket: &Socket, cx: &mut Context<'_>) -> bool {
        let mut asked = 0;
        while let Some(waiting) = &self.waiting {
            if send(socket, waiting, &self.buffer).is_ok() {
                self.waiting = None;
            } else if socket.poll_writable(cx).is_pending() {
                return false;
            } else if asked == ASKED {
                cx.waker().wake_by_ref(); // others first
                return false;
            }
            asked += 1;
        }
        true
    }

    /// Sends what a connection has to send.
    pub fn transmit(&mut self, socket: &Socket, quic: &mut Connection, now: Instant, cx: &mut Context<'_>) -> Sent {
        let mut datagrams = 0;
        let fit = MESSAGE_MAX / usize::from(quic.current_mtu()).max(1);
        let segments = socket.max_gso_segments().min(SEGMENTS_MAX).min(fit).max(1);
        for _ in 0..BATCHES_PER_TURN {
            if !self.unblock(socket, cx) {
                return Sent { datagrams, more: true };
            }
            self.buffer.clear();
            let Some(transmit) = quic.poll_transmit(now, segments, &mut self.buffer) else {
                return Sent { datagrams, more: false };
            };
            datagrams += transmit.segment_size.map_or(1, |segment| transmit.size.div_ceil(segment.max(1)) as u64);
            if send(socket, &transmit, &self.buffer).is_err() {
                self.waiting = Some(transmit);
            }
        }
        self.unblock(socket, cx); // if the last batch was one too many, the task is to be woken when there is room
        Sent { datagrams, more: true }
    }
}

fn send(socket: &Socket, transmit: &quinn_proto::Transmit, buffer: &[u8]) -> io::Result<()> {
    socket.try_send(&Transmit {
        remote: transmit.destination,
        local_ip: transmit.src_ip,
        ecn: transmit.ecn,
        segment: transmit.segment_size,
        data: buffer.get(..transmit.size).unwrap_or(buffer),
    })
}
