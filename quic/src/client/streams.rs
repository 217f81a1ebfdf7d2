//! The requests of one connection that are under way: a place for each, and which stream has which.
use crate::h3;
use bytes::Bytes;
use quinn_proto::{SendStream, StreamId, WriteError};
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Which of a connection's places a request has: below the number of requests that were ever under way at once, and
/// given to another one when it is over.
pub type Place = u32;

/// One request under way.
pub(super) struct Asked {
    pub id: StreamId,
    /// How far its answer is.
    pub engine: h3::Stream,
    /// What came behind a head that waits for the QPACK table, and whether that is the end.
    pub held: Bytes,
    pub ended: bool,
    /// What of the request QUIC did not take yet.
    unsent: Option<Box<[Bytes; 2]>>,
    /// The place is taken.
    live: bool,
}

/// All of one connection.
#[derive(Default)]
pub(super) struct Streams {
    places: Vec<Asked>,
    free: Vec<Place>,
    by_id: HashMap<u64, Place, BuildHasherDefault<OfId>>,
}

/// Stream ids count up: their low bits, spread, are as good as a hash. A peer does not choose them.
#[derive(Default)]
pub(super) struct OfId(u64);

impl Hasher for OfId {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u64(self.0 << 8 | u64::from(*b)));
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        self.0 = (id >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Streams {
    /// Requests under way.
    #[inline]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Takes a place for the request on stream `id`.
    #[inline]
    pub fn insert(&mut self, id: StreamId, engine: h3::Stream) -> Place {
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(asked) = self.places.get_mut(place as usize) {
                    (asked.id, asked.engine, asked.live) = (id, engine, true);
                }
                place
            }
            None => {
                self.places.push(Asked { id, engine, held: Bytes::new(), ended: false, unsent: None, live: true });
                self.places.len() as Place - 1
            }
        };
        self.by_id.insert(id.into(), place);
        place
    }

    /// The request on stream `id`, if it is under way.
    #[inline]
    pub fn find(&mut self, id: StreamId) -> Option<(Place, &mut Asked)> {
        let place = *self.by_id.get(&u64::from(id))?;
        self.get(place).map(|asked| (place, asked))
    }

    /// The request in `place`.
    #[inline]
    pub fn get(&mut self, place: Place) -> Option<&mut Asked> {
        self.places.get_mut(place as usize).filter(|asked| asked.live)
    }

    /// It is over: its stream, how far its answer is, and whether QUIC had all of it. Its place is free.
    #[inline]
    pub fn remove(&mut self, place: Place) -> Option<(StreamId, &mut h3::Stream, bool)> {
        let asked = self.places.get_mut(place as usize).filter(|asked| asked.live)?;
        (asked.live, asked.ended) = (false, false);
        asked.held = Bytes::new(); // cleared, it would still hold receive memory
        let sent = asked.unsent.take().is_none();
        self.by_id.remove(&u64::from(asked.id));
        self.free.push(place);
        Some((asked.id, &mut asked.engine, sent))
    }

    /// Those on stream `first` and higher ones.
    pub fn from(&self, first: u64) -> Vec<Place> {
        self.by_id.iter().filter(|(id, _)| **id >= first).map(|(_, place)| *place).collect()
    }
}

impl Asked {
    /// Nothing more of the request is sent.
    pub fn forget_unsent(&mut self) {
        self.unsent = None;
    }

    /// Writes what QUIC did not take before.
    pub fn go_on(&mut self, stream: &mut SendStream<'_>) {
        if let Some(parts) = self.unsent.take() {
            self.send(stream, *parts);
        }
    }

    /// Writes a request, and ends it. What QUIC does not take is kept until it tells of room.
    #[inline]
    pub fn send(&mut self, stream: &mut SendStream<'_>, mut parts: [Bytes; 2]) {
        let mut written = 0;
        loop {
            let rest = parts.get_mut(written..).unwrap_or_default();
            match rest {
                [] => break,
                [first, ..] if first.is_empty() => written += 1,
                rest => match stream.write_chunks(rest) {
                    Ok(n) => written += n.chunks,
                    Err(WriteError::Blocked) => return self.unsent = Some(Box::new(parts)),
                    Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return,
                },
            }
        }
        let _ = stream.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn_proto::VarInt;

    fn id(n: u32) -> StreamId {
        StreamId::from(VarInt::from_u32(n * 4))
    }

    #[test]
    fn places_are_given_again_and_streams_found() {
        let mut all = Streams::default();
        let places: Vec<_> = (0..100).map(|n| all.insert(id(n), h3::Stream::new())).collect();
        assert_eq!(places, (0..100).collect::<Vec<_>>());
        for n in (0..100).filter(|n| n % 3 == 0) {
            assert!(matches!(all.remove(n), Some((was, _, true)) if was == id(n)));
            assert!(all.remove(n).is_none() && all.find(id(n)).is_none());
        }
        assert_eq!(all.len(), 66);
        for n in 100..134 {
            let place = all.insert(id(n), h3::Stream::new());
            assert!(place < 100);
            assert_eq!(all.find(id(n)).map(|(place, asked)| (place, asked.id)), Some((place, id(n))));
        }
        let mut late = all.from(u64::from(id(98)));
        late.sort_unstable();
        assert_eq!(late.len(), 35, "98, and 100 and up: {late:?}");
    }
}
