//! WebSockets: the handshake, frames, and what is said. Over HTTP/2 and HTTP/3 the stream of an extended CONNECT carries
//! the same [`Echo`].
mod echo;
mod frame;
mod handshake;
#[cfg(test)]
mod tests;
pub use echo::Echo;

use super::{
    Ended, Shard,
    opening::{self, Opening},
};
use crate::plan::{Origin, Request};
use edge_io::{head::Head, http1::Framing, stream::Stream};
use std::{
    hash::{BuildHasher, RandomState},
    rc::Rc,
};

/// Drives an established HTTP/1.1 connection: handshake, then messages of `size` bytes until it ends.
pub async fn drive(shard: &Rc<Shard>, origin: usize, stream: &Stream, size: usize) -> Ended {
    let (a, b) = (secret(), secret());
    let (mut random, [c, d]) = ([0; 16], [a.to_le_bytes(), b.to_le_bytes()]);
    random.iter_mut().zip(c.into_iter().chain(d)).for_each(|(place, byte)| *place = byte);
    let upgrade = Upgrade { key: handshake::key(random) };
    let mut echo = Echo::new(shard, origin, size, secret());
    opening::drive(shard, origin, stream, &upgrade, &mut echo).await
}

/// A number that nobody outside can guess: the standard library keys its hash tables with such.
pub fn secret() -> u64 {
    RandomState::new().hash_one(())
}

struct Upgrade {
    key: String,
}

impl Opening for Upgrade {
    fn write(&self, out: &mut Vec<u8>, origin: &Origin, request: &Request) {
        handshake::write(out, origin, request, &self.key);
    }

    fn granted(&self, head: &Head) -> Option<Framing> {
        handshake::is_granted(head, &self.key).then_some(Framing::Tunnel)
    }
}
