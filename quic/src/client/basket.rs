//! Receive memory of a shard's client connections: datagrams are read into one block and handed on as parts of it, and
//! the block is used again when nobody holds a part any more. Nothing is copied or allocated for a datagram.
use super::wire::UDP_GRO;
use bytes::BytesMut;
use quinn_proto::EcnCodepoint;
use std::io;

/// Messages that one call takes at most.
const MESSAGES: usize = 8;
/// Room for one message: the longest that GRO puts together.
const ROOM: usize = 1 << 16;

/// What one call brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Bytes of datagrams.
    pub bytes: usize,
    /// There may be more.
    pub more: bool,
}

/// The memory; pages count only once datagrams were put there.
pub(super) struct Basket {
    /// Its block was zeroed as a whole when it was made, so that any part of it may be shown.
    block: BytesMut,
    /// Used while someone holds a part of the block (data that came before those in front of them): copied from.
    spill: Vec<u8>,
}

/// Room for the control messages that are asked for: two of a number each.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// What the kernel says of one message.
#[derive(Clone, Copy, Default)]
struct Meta {
    len: usize,
    /// Bytes of each datagram in it; 0: it is one.
    stride: usize,
    ecn: Option<EcnCodepoint>,
}

impl Basket {
    pub fn new() -> Basket {
        Basket { block: BytesMut::zeroed(MESSAGES * ROOM), spill: Vec::new() }
    }

    /// One `recvmmsg(2)` on `fd`; `each` gets its datagrams.
    ///
    /// # Errors
    /// Those of the call.
    pub fn receive(
        &mut self,
        fd: libc::c_int,
        mut each: impl FnMut(Option<EcnCodepoint>, BytesMut),
    ) -> io::Result<Taken> {
        let mut metas = [Meta::default(); MESSAGES];
        self.block.clear();
        let whole = self.block.try_reclaim(MESSAGES * ROOM);
        let n = if whole {
            // SAFETY: the block's capacity is enough, and all of it was initialized when it was made: reclaiming never
            // makes another one.
            unsafe { self.block.set_len(MESSAGES * ROOM) };
            receive(fd, &mut self.block, &mut metas)?
        } else {
            self.spill.resize(MESSAGES * ROOM, 0);
            receive(fd, &mut self.spill, &mut metas)?
        };
        let mut bytes = 0;
        for (at, meta) in metas.iter().enumerate().take(n) {
            bytes += meta.len;
            let stride = if meta.stride == 0 { meta.len } else { meta.stride };
            if whole {
                let mut message = self.block.split_to(ROOM);
                message.truncate(meta.len);
                while message.len() > stride && stride > 0 {
                    each(meta.ecn, message.split_to(stride));
                }
                if !message.is_empty() {
                    each(meta.ecn, message);
                }
            } else {
                let message = self.spill.get(at * ROOM..).and_then(|m| m.get(..meta.len)).unwrap_or_default();
                message.chunks(stride.max(1)).for_each(|datagram| each(meta.ecn, datagram.into()));
            }
        }
        Ok(Taken { bytes, more: n == MESSAGES })
    }
}

/// Receives into `memory`, a message into each [`ROOM`] bytes of it: how many came.
fn receive(fd: libc::c_int, memory: &mut [u8], metas: &mut [Meta; MESSAGES]) -> io::Result<usize> {
    let mut controls = [Control([0; 64]); MESSAGES];
    let mut rooms = memory.chunks_exact_mut(ROOM);
    let mut parts: [libc::iovec; MESSAGES] = std::array::from_fn(|_| {
        let room = rooms.next().unwrap_or_default();
        libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }
    });
    // SAFETY: all zeroes is a valid `mmsghdr`.
    let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
    for ((header, part), control) in headers.iter_mut().zip(&mut parts).zip(&mut controls) {
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = (&raw mut *control).cast();
        header.msg_hdr.msg_controllen = size_of::<Control>() as _;
    }
    // SAFETY: each header points to a part of `memory` of the length that it says, and to a control buffer; all of them
    // live through the call and are not looked at meanwhile. No address is asked for: the socket is connected.
    let n = unsafe {
        libc::recvmmsg(fd, headers.as_mut_ptr(), MESSAGES as u32, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
    };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    let n = usize::try_from(n).unwrap_or(0).min(MESSAGES);
    for (meta, header) in metas.iter_mut().zip(&headers).take(n) {
        meta.len = (header.msg_len as usize).min(ROOM);
        // SAFETY: the kernel has filled in the header, whose control buffer is alive.
        unsafe { controls_of(&header.msg_hdr, meta) };
    }
    Ok(n)
}

/// Reads what the kernel says of a message.
///
/// # Safety
/// `header` was filled in by the kernel, and its control buffer is alive.
unsafe fn controls_of(header: &libc::msghdr, meta: &mut Meta) {
    // SAFETY: the macros stay within the control buffer, whose length the kernel has set; data of these kinds have the
    // sizes that are read (one byte for the TOS of IPv4, an `int` for the others).
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_UDP, UDP_GRO) => {
                    let stride = data.cast::<libc::c_int>().read_unaligned();
                    meta.stride = usize::try_from(stride).unwrap_or(0);
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => meta.ecn = EcnCodepoint::from_bits(*data),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    meta.ecn = EcnCodepoint::from_bits(data.cast::<libc::c_int>().read_unaligned() as u8);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::UdpSocket, os::fd::AsRawFd};

    fn pair() -> (UdpSocket, UdpSocket) {
        let (a, b) =
            (UdpSocket::bind("127.0.0.1:0").expect("a socket"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        a.connect(b.local_addr().expect("bound")).expect("connects");
        b.connect(a.local_addr().expect("bound")).expect("connects");
        (a, b)
    }

    #[test]
    fn the_block_is_used_again_and_not_while_a_part_of_it_is_held() {
        let (a, b) = pair();
        let mut basket = Basket::new();
        let (mut held, mut places) = (Vec::new(), Vec::new());
        for round in 0..4u8 {
            a.send(&[round; 100]).expect("sent");
            let taken = basket.receive(b.as_raw_fd(), |_, datagram| {
                assert_eq!(datagram[..], [round; 100]);
                places.push(datagram.as_ptr());
                if round == 1 {
                    held.push(datagram);
                }
            });
            assert_eq!(taken.expect("received").bytes, 100);
        }
        assert_eq!(places[0], places[1], "nobody held the first");
        assert_ne!(places[1], places[2], "the second was held");
        assert_eq!(held[0][..], [1; 100], "and nobody wrote over it");
        held.clear();
        a.send(&[9]).expect("sent");
        basket.receive(b.as_raw_fd(), |_, datagram| assert_eq!(datagram.as_ptr(), places[0])).expect("received");
    }

    #[test]
    fn messages_of_a_call_keep_apart_and_an_empty_one_is_passed_over() {
        let (a, b) = pair();
        for n in 0..20usize {
            a.send(&vec![n as u8; n]).expect("sent");
        }
        let mut basket = Basket::new();
        let (mut got, mut calls) = (Vec::new(), 0);
        loop {
            calls += 1;
            let taken = basket.receive(b.as_raw_fd(), |_, datagram| got.push(datagram)).expect("received");
            if !taken.more {
                break;
            }
        }
        assert_eq!(calls, 3);
        assert_eq!(got.len(), 19);
        assert!(got.iter().zip(1..).all(|(datagram, n)| datagram[..] == vec![n as u8; n]), "{got:?}");
        let nothing = basket.receive(b.as_raw_fd(), |_, _| {});
        assert_eq!(nothing.map(|t| t.bytes).map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
    }
}
