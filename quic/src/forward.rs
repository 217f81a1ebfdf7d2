//! Packets for another shard, handed over without locks.
//!
//! A ring for each pair of shards, with one producer and one consumer, and an eventfd for each shard that receives. A
//! ring that is full loses the packet, as a network does: QUIC repeats it.
use bytes::BytesMut;
use quinn_proto::EcnCodepoint;
use rtrb::{Consumer, Producer, RingBuffer};
use std::{
    cell::RefCell,
    fmt,
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A received message on its way to its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The group whose socket received it (`Group::id`).
    pub group: u64,
    /// Who sent it.
    pub remote: SocketAddr,
    /// Which of our addresses it was sent to, if that is known.
    pub local_ip: Option<IpAddr>,
    /// The ECN bits of its IP header.
    pub ecn: Option<EcnCodepoint>,
    /// Length of each datagram in `data`, in bytes; the last may be shorter. All of them are for the same shard.
    pub stride: usize,
    /// The payloads one after another: in a buffer that `quinn_proto` takes as it is.
    pub data: BytesMut,
}

/// The packet was lost: the ring is full, the other shard is gone, or there is none of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room in the ring to that shard")
    }
}

impl std::error::Error for Full {}

/// One shard's end of the mesh. It may move to the shard's thread, and stays there.
pub struct Port {
    /// By the receiver's number; `None` for ourselves.
    to: Vec<Option<Outlet>>,
    from: RefCell<Vec<Consumer<Packet>>>,
    bell: Arc<Bell>,
}

struct Outlet {
    ring: RefCell<Producer<Packet>>,
    bell: Arc<Bell>,
}

/// Wakes one shard, with one system call for all that comes until it looks.
struct Bell {
    /// Somebody rang, or is about to, since the shard looked last.
    rung: AtomicBool,
    wake: File,
}

impl Bell {
    fn new() -> io::Result<Bell> {
        // SAFETY: takes two integers and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just opened `fd`, and nothing else owns it.
        let wake = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Bell { rung: AtomicBool::new(false), wake })
    }

    /// After a push. Found set, the flag says that the receiver has yet to call `clear`; its `swap` there then reads
    /// from ours (or from one behind ours), so it sees the push.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is at its end, and then the descriptor is readable anyhow.
            let _ = (&self.wake).write(&1u64.to_ne_bytes());
        }
    }

    /// Before looking. In this order: were the flag cleared first, the read could take away a wake-up that came after
    /// it, and the flag stay set with nothing to read, for ever.
    fn clear(&self) {
        let _ = (&self.wake).read(&mut [0; 8]);
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// The ports of `shards` shards, in their order. Each ring holds `capacity` packets (at least one); a packet takes about
/// 100 bytes in it, plus its payload. Errors are those of `eventfd(2)`.
pub fn mesh(shards: usize, capacity: usize) -> io::Result<Vec<Port>> {
    let bells = (0..shards).map(|_| Bell::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
    let mut ports: Vec<_> = bells
        .iter()
        .map(|bell| Port { to: Vec::with_capacity(shards), from: RefCell::default(), bell: bell.clone() })
        .collect();
    for (to, bell) in bells.iter().enumerate() {
        let mut inlets = Vec::with_capacity(shards.saturating_sub(1));
        for (from, port) in ports.iter_mut().enumerate() {
            port.to.push((from != to).then(|| {
                let (ring, inlet) = RingBuffer::new(capacity.max(1));
                inlets.push(inlet);
                Outlet { ring: RefCell::new(ring), bell: bell.clone() }
            }));
        }
        if let Some(port) = ports.get_mut(to) {
            port.from = RefCell::new(inlets);
        }
    }
    Ok(ports)
}

impl Port {
    /// Puts `packet` behind those sent to shard `to` before, and wakes it. Never blocks.
    ///
    /// # Errors
    /// `Full`: the packet is lost. Also for our own number, which needs no ring.
    pub fn send(&self, to: usize, packet: Packet) -> Result<(), Full> {
        let outlet = self.to.get(to).and_then(Option::as_ref).ok_or(Full)?;
        let mut ring = outlet.ring.borrow_mut();
        if ring.is_abandoned() {
            return Err(Full);
        }
        ring.push(packet).map_err(|_| Full)?;
        outlet.bell.ring();
        Ok(())
    }

    /// Gives each packet that has come, in order for each sender; at most the rings' capacity, so that it ends. Call
    /// `clear_wake` first: what comes meanwhile then wakes again. `each` may use this port.
    pub fn drain(&self, mut each: impl FnMut(Packet)) {
        for i in 0..self.to.len() {
            let waiting = self.from.borrow().get(i).map_or(0, Consumer::slots);
            for _ in 0..waiting {
                let Some(packet) = self.pop(i) else { break };
                each(packet);
            }
        }
    }

    fn pop(&self, i: usize) -> Option<Packet> {
        self.from.borrow_mut().get_mut(i)?.pop().ok()
    }

    /// Makes the descriptor unreadable until the next packet comes. Call it *before* `drain`, and `drain` after it:
    /// senders do not wake anew for what came before.
    pub fn clear_wake(&self) {
        self.bell.clear();
    }
}

impl AsFd for Port {
    /// Readable while there may be packets (`POLLIN`); non-blocking.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.wake.as_fd()
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.wake.as_raw_fd()
    }
}

impl Drop for Port {
    /// Gives the payloads back now: the rings themselves live until the other shards end.
    fn drop(&mut self) {
        self.drain(drop);
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({} shards)", self.to.len())
    }
}
