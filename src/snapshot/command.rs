//! What control tells a shard through its mailbox, and what the shard answers. Both sides see this, not each other.
use super::{ListenAddr, ListenerRule, Snapshot};
use edge_quic::group::Group;
use std::{fmt, os::fd::OwnedFd, sync::Arc, time::Instant};

/// What control tells a shard.
#[derive(Debug)]
pub enum Command {
    /// Serve another configuration.
    Adopt(Adopt),
    /// Come to an end in good order: answers say `Connection: close`, idle connections are closed, and when the last
    /// connection is gone, or at `force`, the shard's thread ends.
    Drain {
        /// Accept new connections until then (`lb_grace`), then close the listeners.
        accept_until: Instant,
        /// Close what is left then.
        force: Instant,
    },
    /// End now.
    Stop,
}

/// Use `snapshot` for every request that begins from now on, listen on `listeners` and on nothing else, then
/// acknowledge.
pub struct Adopt {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Every socket the shard is to listen on. One whose `id` it knows stays open and gets its new rule; one it does
    /// not know comes with its descriptor; open ones that are not named are closed.
    pub listeners: Vec<ShardListener>,
    /// To be answered when it is done.
    pub ack: Ack,
}

impl fmt::Debug for Adopt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopt").field("version", &self.snapshot.version).finish_non_exhaustive()
    }
}

/// One address that a shard listens on.
#[derive(Debug)]
pub struct ShardListener {
    /// Names the stream socket for as long as it is open; never used again. (UDP sockets are named by their group.)
    pub id: u64,
    /// Where it listens, with the real port where the configuration says 0.
    pub addr: ListenAddr,
    /// Its settings.
    pub rule: Arc<ListenerRule>,
    /// The listening stream socket, non-blocking; `None` when the shard has it already, or the rule speaks HTTP/3 alone.
    pub fd: Option<OwnedFd>,
    /// The UDP sockets of the same address; `None` when the rule does not speak HTTP/3. The same group in every
    /// configuration that wants one there, for as long as somebody holds it: a shard whose connections drain holds it,
    /// and lets go of its descriptor first and of the group last, so that the address is free when nobody has it.
    pub udp: Option<Arc<Group>>,
}

/// Tells control that a shard did it, from whatever thread. Dropping it unused says that the shard will not.
pub struct Ack(Box<dyn FnOnce(ShardReport) + Send>);

impl Ack {
    /// An acknowledgement that calls `tell`.
    pub fn new(tell: impl FnOnce(ShardReport) + Send + 'static) -> Ack {
        Ack(Box::new(tell))
    }

    /// Done.
    pub fn done(self, report: ShardReport) {
        (self.0)(report);
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ack")
    }
}

/// What a shard answers to `Adopt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardReport {
    /// Which shard.
    pub shard: usize,
    /// The version it serves now.
    pub version: u64,
    /// Listeners that it could not begin to accept on, and why; normally none.
    pub errors: Vec<String>,
}
