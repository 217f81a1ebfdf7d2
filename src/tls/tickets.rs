//! Session tickets (RFC 8446 4.6.1, RFC 5077): sealed with keys that change every 6 h and are the same on all shards,
//! and on all edges that share a secret.
//!
//! A key is made of the window's secret and the listener's context: what it demands of clients. A ticket of a listener
//! that asks for no certificate therefore opens nothing on one that does, and after a change of issuers or revocations
//! nobody resumes what was allowed before.
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use rustls::server::ProducesTickets;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How long one key seals, seconds.
const WINDOW: u64 = 6 * 3600;
/// How long a ticket can be of use, seconds: its key opens for one more window.
const LIFETIME: u32 = 12 * 3600;
/// A key's name in front of its tickets, bytes.
const ID_BYTES: usize = 8;
/// As AES-GCM takes them, bytes.
const NONCE_BYTES: usize = 12;
/// Largest ticket that is looked at, bytes: one may hold a chain of client certificates.
const TICKET_BYTES_MAX: usize = 32 << 10;

/// Seconds since 1970; tests bring their own.
pub(super) type Clock = fn() -> u64;

pub(super) fn wall_clock() -> u64 {
    u64::try_from(super::certificate::now()).unwrap_or(0)
}

/// Secrets by window, of which the keys of all listeners are made.
pub(super) struct Secrets {
    /// Given: every edge that knows it comes to the same keys. `None`: chance, and forgotten after its window.
    given: Option<hmac::Key>,
    chance: Mutex<Chance>,
}

/// Secrets by chance: of this window, and of the one before.
#[derive(Default)]
struct Chance {
    window: u64,
    current: Option<[u8; 32]>,
    previous: Option<[u8; 32]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Chosen by chance.
    pub fn random() -> Secrets {
        Secrets { given: None, chance: Mutex::default() }
    }

    /// Made of `secret`.
    pub fn given(secret: &[u8]) -> Secrets {
        Secrets { given: Some(hmac::Key::new(hmac::HMAC_SHA256, secret)), chance: Mutex::default() }
    }

    /// The secrets of `window` and those of its neighbours that may be in use: the one before, and on other edges,
    /// whose clocks differ, the one after. The first seals. `None` when there is no randomness.
    fn of(&self, window: u64) -> Option<Vec<[u8; 32]>> {
        if let Some(key) = &self.given {
            let secret = |window: u64| -> Option<[u8; 32]> {
                let mut said = b"edge session tickets, window ".to_vec();
                said.extend_from_slice(&window.to_be_bytes());
                hmac::sign(key, &said).as_ref().try_into().ok()
            };
            return [window, window.saturating_sub(1), window.saturating_add(1)].into_iter().map(secret).collect();
        }
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        if chance.current.is_none() || chance.window < window {
            let mut fresh = [0; 32];
            SystemRandom::new().fill(&mut fresh).ok()?;
            chance.previous = if chance.window + 1 == window { chance.current } else { None };
            (chance.window, chance.current) = (window, Some(fresh));
        }
        Some(chance.current.into_iter().chain(chance.previous).collect())
    }
}

/// Seals and opens the tickets of one listener.
pub(super) struct Tickets {
    secrets: Arc<Secrets>,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    context: [u8; 32],
    window: u64,
    /// The first seals; all open.
    keys: Arc<[TicketKey]>,
}

struct TicketKey {
    id: [u8; ID_BYTES],
    key: RandomizedNonceKey,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl TicketKey {
    fn new(secret: &[u8; 32], context: &[u8; 32]) -> Option<TicketKey> {
        let derive = |what: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, &[what, context.as_slice()].concat())
        };
        let (id, key) = (derive(b"edge ticket id "), derive(b"edge ticket key "));
        Some(TicketKey {
            id: id.as_ref().get(..ID_BYTES)?.try_into().ok()?,
            key: RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()?,
        })
    }
}

impl Tickets {
    /// For a listener that demands `context` of clients.
    pub fn new(secrets: Arc<Secrets>, context: [u8; 32], clock: Clock) -> Tickets {
        Tickets { secrets, clock, state: Mutex::new(State { context, window: 0, keys: Arc::new([]) }) }
    }

    /// The listener demands `context` from now on: tickets from before are worth nothing.
    pub fn demand(&self, context: [u8; 32]) {
        let mut state = self.lock();
        if state.context != context {
            *state = State { context, window: 0, keys: Arc::new([]) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of now. The lock is held for as long as it takes to look, but for the first look of a window.
    fn keys(&self) -> Arc<[TicketKey]> {
        let window = (self.clock)() / WINDOW;
        let mut state = self.lock();
        if state.window != window || state.keys.is_empty() {
            let secrets = self.secrets.of(window).unwrap_or_default();
            let context = state.context;
            state.keys = secrets.iter().filter_map(|secret| TicketKey::new(secret, &context)).collect();
            state.window = window;
        }
        state.keys.clone()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    /// Key's name, nonce, ciphertext, tag; the name is authenticated too.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let TicketKey { id, key } = keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(id), &mut sealed).ok()?;
        let ticket = [id.as_slice(), nonce.as_ref().as_slice(), &sealed].concat();
        (ticket.len() <= TICKET_BYTES_MAX).then_some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (id, rest) = ticket.split_at_checked(ID_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        let keys = self.keys();
        let key = keys.iter().find(|key| key.id == id)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
        let length = key.key.open_in_place(nonce, Aad::from(id), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(1_000_000 * WINDOW) };
    }

    fn tickets(secrets: &Arc<Secrets>, context: u8) -> Tickets {
        Tickets::new(secrets.clone(), [context; 32], || NOW.get())
    }

    fn pass(windows: u64) {
        NOW.set(NOW.get() + windows * WINDOW);
    }

    #[test]
    fn a_ticket_opens_in_its_window_and_the_next() {
        for secrets in [Secrets::random(), Secrets::given(&[7; 32])] {
            let tickets = tickets(&Arc::new(secrets), 0);
            let ticket = tickets.encrypt(b"session").unwrap();
            assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(b"session".as_slice()));
            assert_ne!(tickets.encrypt(b"session").unwrap(), ticket, "a nonce is used once");
            pass(1);
            assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(b"session".as_slice()));
            pass(1);
            assert_eq!(tickets.decrypt(&ticket), None);
        }
    }

    #[test]
    fn after_a_long_pause_no_old_key_is_left() {
        let tickets = tickets(&Arc::new(Secrets::random()), 0);
        let ticket = tickets.encrypt(b"session").unwrap();
        pass(7);
        assert_eq!(tickets.decrypt(&ticket), None);
    }

    #[test]
    fn listeners_share_a_secret_but_not_tickets_unless_they_demand_the_same() {
        let secrets = Arc::new(Secrets::random());
        let ticket = tickets(&secrets, 1).encrypt(b"session").unwrap();
        assert!(tickets(&secrets, 1).decrypt(&ticket).is_some());
        assert!(tickets(&secrets, 2).decrypt(&ticket).is_none());
        assert!(tickets(&Arc::new(Secrets::random()), 1).decrypt(&ticket).is_none());
        let changed = tickets(&secrets, 1);
        changed.demand([3; 32]);
        assert!(changed.decrypt(&ticket).is_none());
    }

    #[test]
    fn edges_with_one_secret_open_each_others_tickets_even_with_clocks_apart() {
        let edge = || tickets(&Arc::new(Secrets::given(&[7; 32])), 1);
        let (a, b) = (edge(), edge());
        pass(1);
        let ticket = a.encrypt(b"session").unwrap();
        NOW.set(NOW.get() - WINDOW);
        assert!(b.decrypt(&ticket).is_some(), "the other edge's clock is behind");
        assert!(tickets(&Arc::new(Secrets::given(&[8; 32])), 1).decrypt(&ticket).is_none());
    }

    #[test]
    fn whatever_a_client_sends_is_refused_politely() {
        let tickets = tickets(&Arc::new(Secrets::random()), 0);
        let good = tickets.encrypt(b"session").unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(tickets.decrypt(&bad), None, "byte {at}");
            assert_eq!(tickets.decrypt(&good[..at]), None, "cut at {at}");
        }
        assert_eq!(tickets.decrypt(&vec![0; TICKET_BYTES_MAX + 1]), None);
        assert_eq!(tickets.encrypt(&vec![0; TICKET_BYTES_MAX]), None);
    }
}
