//! Address-validation tokens are good once, on whatever shard.
use super::{
    net::{CLIENT, End, Net},
    pki::{Authority, NAME, client, client_config, server, server_config},
};
use bytes::Bytes;
use edge_quic::{keys::Shared, tokens::Log};
use proptest::prelude::{any, proptest};
use quinn_proto::{ClientConfig, ServerConfig, TokenLog, TokenStore, ValidationTokenConfig};
use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

const LIFETIME: Duration = Duration::from_secs(100);

/// So many seconds after the beginning of a stretch.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + LIFETIME * 10_000_000 + Duration::from_secs(seconds)
}

/// A number that looks like chance.
fn nonce(n: u64) -> u128 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let hash = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (n, salt).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    hash(1) << 64 | hash(2)
}

fn takes(log: &Log, n: u64, issued: SystemTime) -> bool {
    log.check_and_insert(nonce(n), issued, LIFETIME).is_ok()
}

#[test]
fn a_token_is_good_once() {
    let log = Log::default();
    for n in 0..1000 {
        assert!(takes(&log, n, at(n / 10)), "{n}");
    }
    for n in 0..1000 {
        assert!(!takes(&log, n, at(n / 10)), "{n}");
    }
}

#[test]
fn a_new_token_is_seldom_taken_for_a_used_one() {
    let log = Log::new(4096);
    let refused = (0..4096).filter(|n| !takes(&log, *n, at(0))).count();
    assert!(refused <= 8, "{refused}");
}

#[test]
fn marks_last_as_long_as_tokens_and_no_longer() {
    let log = Log::new(1);
    // One word for everything: it is full after some tokens.
    let fill = |from: u64, issued| (from..from + 200).filter(|n| takes(&log, *n, issued)).count();
    assert!((5..150).contains(&fill(0, at(0))));
    assert_eq!(fill(1000, at(99)), 0, "full");
    assert!(fill(0, at(100)) >= 5, "the next stretch has a filter of its own");
    assert_eq!(fill(1000, at(0)), 0, "and the one before keeps its marks");
    assert!(fill(0, at(200)) >= 5, "of the first one none lives: its filter is used again");
    assert_eq!(fill(2000, at(0)), 0, "whose tokens are not taken any more");
    assert_eq!(fill(3000, at(200)), 0, "and have wiped nothing out");
}

#[test]
fn nonsense_is_refused() {
    let log = Log::default();
    assert!(log.check_and_insert(1, at(0), Duration::ZERO).is_err());
    assert!(log.check_and_insert(1, SystemTime::UNIX_EPOCH - LIFETIME, LIFETIME).is_err());
}

proptest! {
    #[test]
    fn whatever_the_token_it_is_not_taken_twice(nonce in any::<u128>(), issued in 0u64..1 << 40, life in 1u64..1 << 40) {
        let (log, life) = (Log::new(16), Duration::from_millis(life));
        let issued = SystemTime::UNIX_EPOCH + Duration::from_millis(issued);
        assert!(log.check_and_insert(nonce, issued, life).is_ok());
        assert!(log.check_and_insert(nonce, issued, life).is_err());
    }
}

#[test]
fn of_shards_that_see_a_token_at_once_one_takes_it() {
    const THREADS: usize = 4;
    const TOKENS: usize = 20_000;
    let log = Log::new(1 << 20);
    let taken: Vec<AtomicUsize> = (0..TOKENS).map(|_| AtomicUsize::new(0)).collect();
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for (n, taken) in taken.iter().enumerate() {
                    if takes(&log, n as u64, at(0)) {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let counts: Vec<usize> = taken.iter().map(|n| n.load(Ordering::Relaxed)).collect();
    assert!(counts.iter().all(|n| *n <= 1));
    assert!(counts.iter().sum::<usize>() > TOKENS - 10);
}

/// A client's tokens: the one that it shows, and the last one that came.
#[derive(Default)]
struct Kept {
    show: Option<Bytes>,
    came: Mutex<Option<Bytes>>,
}

impl TokenStore for Kept {
    fn insert(&self, _server_name: &str, token: Bytes) {
        *self.came.lock().unwrap() = Some(token);
    }

    fn take(&self, _server_name: &str) -> Option<Bytes> {
        self.show.clone()
    }
}

#[test]
fn a_token_validates_one_address_once_on_all_shards() {
    let (authority, shared, log) = (Authority::new(), Shared::new().unwrap(), Arc::new(Log::default()));
    let crypto = server(server_config(&authority));
    let shard = || {
        let mut config = ServerConfig::new(crypto.clone(), shared.token());
        let mut tokens = ValidationTokenConfig::default();
        tokens.sent(1).log(log.clone());
        config.validation_token_config(tokens);
        // Who has no token, or one that was used, is sent a Retry first.
        let mut end = End::server_with(config, &shared);
        end.retry = true;
        end
    };
    let crypto = client(client_config(&authority, None));
    let connect = |tokens: &Arc<Kept>| {
        let mut config = ClientConfig::new(crypto.clone());
        config.token_store(tokens.clone());
        let mut net = Net::with(shard());
        let number = net.begin_with(config, NAME);
        net.work();
        for datagram in std::mem::take(&mut net.to_server) {
            net.server.take(&datagram, CLIENT, net.now, &mut net.to_client);
        }
        let retried = net.server.connections.is_empty();
        net.settle();
        assert!(!net.client.connections[&number].is_handshaking());
        retried
    };
    let first = Arc::new(Kept::default());
    assert!(connect(&first), "without a token");
    let token = first.came.lock().unwrap().clone().expect("a token came");
    let shown = Arc::new(Kept { show: Some(token), came: Mutex::default() });
    assert!(!connect(&shown), "the token is good");
    assert!(connect(&shown), "but not again");
}
