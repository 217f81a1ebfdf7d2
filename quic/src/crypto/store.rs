//! Sessions that clients may resume with early data: each is good once, on whatever shard (RFC 8446 8.1).
//!
//! rustls allows early data only where the server keeps the session and forgets it when it is used, so that nothing
//! sent early can be played again; a sealed ticket, which any edge can open as often as it comes, does not do. One store
//! serves all shards. It is a table of places, chosen by the ticket's random name: a new session takes the place of
//! whichever is there, so memory is bounded and nothing has to be swept. A place has a lock of its own which nobody
//! waits for: who finds it taken goes on as if the session were not there, which costs a full handshake.
use rustls::server::StoresServerSessions;
use std::{
    fmt,
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Largest session that is kept, bytes: one may hold a chain of client certificates.
const SESSION_BYTES_MAX: usize = 8 << 10;
/// Sessions of clients without certificates have fewer bytes; what the whole store may take is reckoned with these.
const SESSION_BYTES: usize = 512;
/// A ticket's name, bytes, as rustls makes it.
const NAME_BYTES: usize = 32;
/// How long a session can be resumed: as long as a ticket over TCP.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// One that may be resumed.
struct Kept {
    name: [u8; NAME_BYTES],
    context: u64,
    since: Instant,
    session: Box<[u8]>,
}

/// The sessions of all listeners of a process.
pub struct Sessions {
    places: Box<[Mutex<Option<Box<Kept>>>]>,
    /// Bytes of what is kept.
    bytes: AtomicUsize,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Places of a process, without another wish: 8 MiB when all are taken, 256 KiB when none is.
    pub const PLACES: usize = 16 << 10;

    /// With `places` places (at least 1) and 512 bytes of memory for each.
    pub fn new(places: usize) -> Arc<Sessions> {
        let places = (0..places.max(1)).map(|_| Mutex::default()).collect();
        Arc::new(Sessions { places, bytes: AtomicUsize::new(0) })
    }

    /// What is kept, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn place(&self, name: &[u8; NAME_BYTES]) -> Option<&Mutex<Option<Box<Kept>>>> {
        // Names are random, so a part of one is as good as a hash.
        let number = name.first_chunk::<8>().map(|n| u64::from_le_bytes(*n))?;
        let at = usize::try_from(number % u64::try_from(self.places.len()).ok()?).ok()?;
        self.places.get(at)
    }

    /// Does `act` in the place of `name`, unless somebody else is there.
    fn at<T>(&self, name: &[u8; NAME_BYTES], act: impl FnOnce(&mut Option<Box<Kept>>) -> T) -> Option<T> {
        match self.place(name)?.try_lock() {
            Ok(mut place) => Some(act(&mut place)),
            Err(TryLockError::Poisoned(place)) => Some(act(&mut place.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn put(&self, kept: Kept) -> bool {
        let bytes = kept.session.len();
        let room = SESSION_BYTES.saturating_mul(self.places.len()).max(SESSION_BYTES_MAX);
        let name = kept.name;
        let done = self.at(&name, |place| {
            let old = place.as_ref().map_or(0, |old| old.session.len());
            // Others add at the same time: the bound may be passed by one session for each of them.
            if (self.bytes() + bytes).saturating_sub(old) > room {
                return false;
            }
            *place = Some(Box::new(kept));
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.bytes.fetch_sub(old, Ordering::Relaxed);
            true
        });
        done == Some(true)
    }

    fn take(&self, name: &[u8; NAME_BYTES], context: u64) -> Option<Box<[u8]>> {
        let kept = self.at(name, |place| place.take_if(|kept| kept.name == *name))??;
        self.bytes.fetch_sub(kept.session.len(), Ordering::Relaxed);
        (kept.context == context && kept.since.elapsed() < LIFETIME).then_some(kept.session)
    }
}

/// One listener's part of [`Sessions`], as rustls takes it.
#[derive(Debug)]
pub struct Storage {
    sessions: Arc<Sessions>,
    context: AtomicU64,
}

impl Storage {
    /// For a listener on which sessions are good while `context` stands (see [`Storage::demand`]).
    pub fn new(sessions: Arc<Sessions>, context: u64) -> Storage {
        Storage { sessions, context: AtomicU64::new(context) }
    }

    /// Sessions from under another `context` are not resumed from now on. It stands for what the listener demands of
    /// clients and for the limits that it grants: a client's early data rests on those of the session's first
    /// connection (RFC 9000 7.4.1, RFC 9114 7.2.4.2).
    pub fn demand(&self, context: u64) {
        self.context.store(context, Ordering::Relaxed);
    }
}

impl StoresServerSessions for Storage {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let Ok(name) = key.try_into() else { return false };
        if value.len() > SESSION_BYTES_MAX {
            return false;
        }
        let context = self.context.load(Ordering::Relaxed);
        self.sessions.put(Kept { name, context, since: Instant::now(), session: value.into() })
    }

    /// Never: a session is good once.
    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let taken = self.sessions.take(key.try_into().ok()?, self.context.load(Ordering::Relaxed))?;
        Some(taken.into_vec())
    }

    fn can_cache(&self) -> bool {
        true
    }
}
