//! What a shard counts of QUIC and HTTP/3.
use super::{
    counter::{Counter, Gauge},
    tls::Handshakes,
};
use edge_quic::h3::{Abuse, AbuseCounts};

/// Which way a UDP datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Read from a socket of this shard.
    Received,
    /// Written to a socket of this shard.
    Sent,
    /// Handed on to the shard that has its connection.
    Forwarded,
}

/// Directions as metric labels, in the order of their discriminants.
pub const DIRECTIONS: [&str; 3] = ["received", "sent", "forwarded"];

/// Why a UDP datagram went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dropped {
    /// `server.quic.forward_queue` to the shard that has its connection was full.
    ForwardQueue,
    /// It belongs to no connection, and cannot begin one.
    Invalid,
    /// It is too short to hold a connection id.
    TooShort,
    /// The kernel did not take it.
    SendError,
}

/// Reasons as metric labels, in the order of their discriminants.
pub const DROPPED: [&str; 4] = ["forward_queue", "invalid", "too_short", "send_error"];

/// What became of early data (RFC 8446 2.3, RFC 8470).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EarlyData {
    /// A connection came with it, and it was taken.
    Accepted,
    /// A connection came with it, and the client had to send it again.
    Rejected,
    /// A request in it was answered 425.
    TooEarly,
}

/// Results of early data as metric labels, in the order of their discriminants.
pub const EARLY_DATA: [&str; 3] = ["accepted", "rejected", "too_early"];

/// Codes with which HTTP/3 connections end for an error, as metric labels: those of RFC 9114 8.1 and RFC 9204 6, and
/// all that are none of them.
pub const HTTP3_CODES: [&str; 21] = [
    "H3_NO_ERROR",
    "H3_GENERAL_PROTOCOL_ERROR",
    "H3_INTERNAL_ERROR",
    "H3_STREAM_CREATION_ERROR",
    "H3_CLOSED_CRITICAL_STREAM",
    "H3_FRAME_UNEXPECTED",
    "H3_FRAME_ERROR",
    "H3_EXCESSIVE_LOAD",
    "H3_ID_ERROR",
    "H3_SETTINGS_ERROR",
    "H3_MISSING_SETTINGS",
    "H3_REQUEST_REJECTED",
    "H3_REQUEST_CANCELLED",
    "H3_REQUEST_INCOMPLETE",
    "H3_MESSAGE_ERROR",
    "H3_CONNECT_ERROR",
    "H3_VERSION_FALLBACK",
    "QPACK_DECOMPRESSION_FAILED",
    "QPACK_ENCODER_STREAM_ERROR",
    "QPACK_DECODER_STREAM_ERROR",
    "other",
];
/// The first code of RFC 9114 8.1, and how many follow each other.
const H3_FIRST: u64 = 0x100;
const H3_CODES: u64 = 17;
/// The same for RFC 9204 6.
const QPACK_FIRST: u64 = 0x200;
const QPACK_CODES: u64 = 3;

/// The place of `code` in `HTTP3_CODES`.
fn place(code: u64) -> usize {
    let place = match code.wrapping_sub(H3_FIRST) {
        n if n < H3_CODES => n,
        _ => match code.wrapping_sub(QPACK_FIRST) {
            n if n < QPACK_CODES => H3_CODES + n,
            _ => H3_CODES + QPACK_CODES,
        },
    };
    usize::try_from(place).unwrap_or(HTTP3_CODES.len() - 1)
}

/// What one shard counts of QUIC and HTTP/3. Only that shard writes.
#[derive(Debug, Default)]
pub struct QuicStats {
    packets: [Counter; DIRECTIONS.len()],
    dropped: [Counter; DROPPED.len()],
    /// Handshakes that are over.
    pub handshakes: Handshakes,
    /// Connections whose handshake is in progress.
    pub half_open: Gauge,
    /// Clients that were asked to show that their address is their own (RFC 9000 8.1.2).
    pub retries: Counter,
    /// Stateless resets sent (RFC 9000 10.3).
    pub stateless_resets: Counter,
    /// Version Negotiation packets sent (RFC 9000 6).
    pub version_negotiations: Counter,
    /// Connections that went on from another address (RFC 9000 9).
    pub migrations: Counter,
    /// Packets of ours that were declared lost (RFC 9002 6).
    pub lost_packets: Counter,
    early_data: [Counter; EARLY_DATA.len()],
    errors: [Counter; HTTP3_CODES.len()],
    abuse: [Counter; Abuse::ALL.len()],
}

impl QuicStats {
    /// Counts `n` datagrams that went a way.
    #[inline]
    pub fn packets(&self, direction: Direction, n: u64) {
        self.packets[direction as usize].add(n);
    }

    /// Counts a datagram that went nowhere.
    #[inline]
    pub fn dropped(&self, why: Dropped) {
        self.dropped[why as usize].inc();
    }

    /// Counts what became of early data.
    #[inline]
    pub fn early_data(&self, result: EarlyData) {
        self.early_data[result as usize].inc();
    }

    /// Counts an HTTP/3 connection that ended with the error `code`, whoever found it (RFC 9114 8.1, RFC 9204 6).
    pub fn http3_error(&self, code: u64) {
        self.errors[place(code)].inc();
    }

    /// Counts what the client of an HTTP/3 connection did beyond its bounds.
    pub fn http3_abused(&self, counts: &AbuseCounts) {
        for (counter, n) in self.abuse.iter().zip(counts) {
            counter.add(u64::from(*n));
        }
    }

    /// How often each kind of abuse was met, in the order of `Abuse::ALL`.
    pub fn http3_abuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Abuse::ALL.iter().zip(&self.abuse).map(|(kind, n)| (kind.as_str(), n.get()))
    }

    /// Datagrams by direction, in the order of `DIRECTIONS`.
    pub fn packet_counts(&self) -> [u64; DIRECTIONS.len()] {
        std::array::from_fn(|i| self.packets[i].get())
    }

    /// Datagrams that went nowhere, in the order of `DROPPED`.
    pub fn dropped_counts(&self) -> [u64; DROPPED.len()] {
        std::array::from_fn(|i| self.dropped[i].get())
    }

    /// What became of early data, in the order of `EARLY_DATA`.
    pub fn early_data_counts(&self) -> [u64; EARLY_DATA.len()] {
        std::array::from_fn(|i| self.early_data[i].get())
    }

    /// Connections that ended with an error, in the order of `HTTP3_CODES`.
    pub fn http3_errors(&self) -> [u64; HTTP3_CODES.len()] {
        std::array::from_fn(|i| self.errors[i].get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_rfcs_and_strange_ones_are_one() {
        for (code, name) in [
            (0x100, "H3_NO_ERROR"),
            (0x106, "H3_FRAME_ERROR"),
            (0x107, "H3_EXCESSIVE_LOAD"),
            (0x10e, "H3_MESSAGE_ERROR"),
            (0x110, "H3_VERSION_FALLBACK"),
            (0x200, "QPACK_DECOMPRESSION_FAILED"),
            (0x202, "QPACK_DECODER_STREAM_ERROR"),
            (0, "other"),
            (0xff, "other"),
            (0x111, "other"),
            (0x203, "other"),
            (u64::MAX, "other"),
        ] {
            assert_eq!(HTTP3_CODES[place(code)], name, "{code:#x}");
        }
    }

    #[test]
    fn each_kind_is_counted_for_itself() {
        let stats = QuicStats::default();
        stats.packets(Direction::Received, 10);
        stats.packets(Direction::Forwarded, 2);
        stats.dropped(Dropped::SendError);
        stats.early_data(EarlyData::TooEarly);
        stats.http3_error(0x107);
        let mut abuse = AbuseCounts::default();
        abuse[Abuse::Memory as usize] = 3;
        stats.http3_abused(&abuse);
        stats.http3_abused(&abuse);
        assert_eq!(stats.http3_abuses().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [("memory", 6)]);
        assert_eq!(stats.packet_counts(), [10, 0, 2]);
        assert_eq!(stats.dropped_counts(), [0, 0, 0, 1]);
        assert_eq!(stats.early_data_counts(), [0, 0, 1]);
        assert_eq!(stats.http3_errors().iter().sum::<u64>(), 1);
    }
}
