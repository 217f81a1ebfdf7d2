//! The control thread against shards that are plain threads.
use super::*;
use crate::{
    admin::view::Outcome,
    observe::access_log::Target,
    snapshot::command::{ShardListener, ShardReport},
};
use edge_io::mailbox::{self, Receiver};
use std::{
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::mpsc,
};

/// What a shard that is a thread has told the test.
#[derive(Debug)]
pub(super) enum Heard {
    Adopted(Arc<Snapshot>),
    Draining,
}

/// Does what a shard must do with its mailbox, and keeps its sockets open.
fn fake_shard(shard: usize, mailbox: Receiver<Command>, tell: mpsc::Sender<Heard>) {
    let mut open: Vec<(u64, OwnedFd)> = Vec::new();
    loop {
        std::thread::yield_now();
        match mailbox.try_recv() {
            Some(Command::Adopt(adopt)) => {
                open.retain(|(id, _)| adopt.listeners.iter().any(|l| l.id == *id));
                for ShardListener { id, fd, rule, .. } in adopt.listeners {
                    match fd {
                        Some(fd) => open.push((id, fd)),
                        None if !rule.speaks_over_tcp() => {}
                        None => assert!(open.iter().any(|(known, _)| *known == id), "a socket it does not have"),
                    }
                }
                let version = adopt.snapshot.version;
                let _ = tell.send(Heard::Adopted(adopt.snapshot));
                adopt.ack.done(ShardReport { shard, version, errors: Vec::new() });
            }
            Some(Command::Drain { accept_until, force }) => {
                assert!(accept_until <= force);
                let _ = tell.send(Heard::Draining);
            }
            Some(Command::Stop) => return,
            None => {}
        }
    }
}

pub(super) struct House {
    pub control: Rc<Control>,
    pub heard: mpsc::Receiver<Heard>,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl House {
    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    /// The addresses of TCP listeners.
    fn ports(&self) -> Vec<String> {
        self.control.listening().into_iter().map(|(_, addr)| addr).collect()
    }

    pub async fn load(&self, text: &str) -> Reload {
        self.write(text);
        self.control.reload().await
    }
}

fn text(listeners: &[(&str, &str)], extra: &str) -> String {
    let mut text = "version = 1\n".to_owned();
    for (name, address) in listeners {
        text += &format!("[[listener]]\nname = {name:?}\naddress = {address:?}\n");
    }
    text + "[[route]]\nid = \"r\"\nrespond = { status = 204 }\n" + extra
}

/// Runs `test` with two shards that are threads.
pub(super) fn with_house<F: Future<Output = ()>>(test: impl FnOnce(House) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let stats = Arc::new(StatsRegistry::new(2));
    let (tell, heard) = mpsc::channel();
    let mut shards = Vec::new();
    let mut threads = Vec::new();
    for shard in 0..2 {
        let (sender, receiver) = mailbox::channel(broadcast::MAILBOX_CAPACITY).unwrap();
        let tell = tell.clone();
        threads.push(std::thread::spawn(move || fake_shard(shard, receiver, tell)));
        shards.push(sender);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let control = Control::new(Parts {
            source: Source::File(file.clone()),
            registry: Arc::new(Registry::new()),
            stats: stats.clone(),
            log: access_log::start(Target::Off, stats).unwrap(),
            shards: shards.clone(),
            cores: vec![None; 2],
            admin: Vec::new(),
        });
        let house = House { control, heard, file, _dir: dir };
        tokio::time::timeout(Duration::from_secs(30), test(house)).await.expect("in time");
    });
    shards.iter().for_each(|shard| while shard.send(Command::Stop).is_err() {});
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_configuration_reaches_every_shard_and_its_listeners_listen() {
    with_house(|house| async move {
        let reload = house.load(&text(&[("a", "127.0.0.1:0")], "")).await;
        assert_eq!((reload.outcome, reload.version), (Outcome::Applied, 1));
        assert_eq!(house.heard.try_iter().count(), 2);
        TcpStream::connect(&house.ports()[0]).unwrap();
        let status = Handle(house.control.clone()).status();
        assert!(status.ready);
        assert_eq!(status.listeners[0].address, house.ports());
        assert_eq!(status.config.sha256.len(), 64);
    });
}

#[test]
fn udp_is_listed_beside_tcp() {
    with_house(|house| async move {
        let listener = "[[listener]]\nname = \"u\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h3\"]\ntls = \"self-signed\"\n";
        let reload = house.load(&text(&[], listener)).await;
        assert_eq!(reload.outcome, Outcome::Applied, "{}", reload.detail);
        let [tcp, udp] = &house.ports()[..] else { panic!("{:?}", house.ports()) };
        assert_eq!(*udp, format!("udp:{tcp}"));
        assert_eq!(Handle(house.control.clone()).status().listeners[0].address, house.ports());
    });
}

#[test]
fn listeners_come_and_go_and_port_zero_keeps_its_port() {
    with_house(|house| async move {
        house.load(&text(&[("a", "127.0.0.1:0")], "")).await;
        let first = house.ports();
        let reload = house.load(&text(&[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")], "")).await;
        assert_eq!(reload.version, 2);
        assert!(reload.detail.contains("+b"), "{}", reload.detail);
        let second = house.ports();
        assert_eq!(second[0], first[0]);
        TcpStream::connect(&second[1]).unwrap();
        house.load(&text(&[("b", "127.0.0.1:0")], "")).await;
        assert_eq!(house.ports(), [second[1].clone()]);
        assert!(TcpStream::connect(&first[0]).is_err(), "closed by every shard before the reload returned");
        TcpStream::connect(&second[1]).unwrap();
    });
}

#[test]
fn mistakes_change_nothing_and_are_all_told() {
    with_house(|house| async move {
        house.load(&text(&[("a", "127.0.0.1:0")], "")).await;
        house.heard.try_iter().count();
        let before = house.ports();
        let reload = house.load("version = 1\nnonsense = 1\n[[route]]\nid = \"r\"\npool = \"none\"\n").await;
        assert_eq!((reload.outcome, reload.version), (Outcome::Invalid, 1));
        assert!(reload.detail.contains("1.") && reload.detail.contains("2."), "{}", reload.detail);
        assert_eq!(house.ports(), before);
        assert_eq!(house.heard.try_iter().count(), 0);
        std::fs::remove_file(&house.file).unwrap();
        assert_eq!(house.control.reload().await.outcome, Outcome::Invalid);
        TcpStream::connect(&before[0]).unwrap();
        assert_eq!(house.control.stats.control.applies()[1], 2);
    });
}

#[test]
fn one_address_that_cannot_be_opened_refuses_the_whole() {
    with_house(|house| async move {
        house.load(&text(&[("a", "127.0.0.1:0")], "")).await;
        house.heard.try_iter().count();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().map(|a| (a, taken)).unwrap();
        let reload = house.load(&text(&[("b", "127.0.0.1:0"), ("c", &taken.0.to_string())], "")).await;
        assert_eq!((reload.outcome, reload.version), (Outcome::BindFailed, 1));
        assert!(reload.detail.contains("\"c\""), "{}", reload.detail);
        assert_eq!(house.heard.try_iter().count(), 0);
        assert_eq!(house.control.listening().len(), 1);
    });
}

#[test]
fn an_access_log_that_cannot_be_opened_refuses_the_whole() {
    with_house(|house| async move {
        let log = house.file.with_file_name("access.log");
        let with_log = |path: &Path| text(&[("a", "127.0.0.1:0")], &format!("[server]\naccess_log = {path:?}\n"));
        house.load(&text(&[("a", "127.0.0.1:0")], "[server]\naccess_log = \"off\"\n")).await;
        assert_eq!(house.load(&with_log(Path::new("/no/such/dir/x.log"))).await.outcome, Outcome::BindFailed);
        assert_eq!(house.load(&with_log(&log)).await.outcome, Outcome::Applied);
        assert!(log.exists());
    });
}

#[test]
fn many_pinned_snapshots_refuse_another_until_one_is_free() {
    with_house(|house| async move {
        let mut pinned = Vec::new();
        for i in 0..=reload::RETIRED_MAX {
            let reload = house.load(&text(&[("a", "127.0.0.1:0")], &format!("# {i}\n"))).await;
            assert_eq!(reload.outcome, Outcome::Applied, "{i}: {}", reload.detail);
            pinned.extend(house.heard.try_iter());
        }
        let refused = house.control.reload().await;
        assert_eq!(refused.outcome, Outcome::ConfigPressure);
        assert_eq!(refused.version, 9);
        pinned.retain(|h| !matches!(h, Heard::Adopted(s) if s.version == 3));
        assert_eq!(house.control.reload().await.outcome, Outcome::Applied);
        // Without pins there is no limit.
        pinned.clear();
        for _ in 0..20 {
            assert_eq!(house.control.reload().await.outcome, Outcome::Applied);
            house.heard.try_iter().count();
        }
    });
}

#[test]
fn settings_that_need_a_restart_are_told() {
    with_house(|house| async move {
        house.load(&text(&[("a", "127.0.0.1:0")], "")).await;
        let reload = house.load(&text(&[("a", "127.0.0.1:0")], "[server]\nshards = 7\n")).await;
        assert_eq!(reload.outcome, Outcome::Applied);
        assert!(reload.warnings.iter().any(|w| w.contains("server.shards")), "{:?}", reload.warnings);
        let quic = "[server.quic]\nsteering = \"forward\"\nforward_queue = 99\n";
        let reload = house.load(&text(&[("a", "127.0.0.1:0")], quic)).await;
        let about = |reload: &Reload, key: &str| reload.warnings.iter().any(|w| w.contains(key));
        assert!(about(&reload, "server.quic.forward_queue"), "{:?}", reload.warnings);
        assert!(!about(&reload, "steering"), "no UDP socket is open: {:?}", reload.warnings);
        let h3 = |quic: &str| {
            let listener =
                "[[listener]]\nname = \"u\"\naddress = \"127.0.0.1:0\"\nprotocols = \"h3\"\ntls = \"self-signed\"\n";
            text(&[("a", "127.0.0.1:0")], &format!("{listener}{quic}"))
        };
        let reload = house.load(&h3(quic)).await;
        assert!(!about(&reload, "steering"), "the first ones have it: {:?}", reload.warnings);
        let reload = house.load(&h3("[server.quic]\nforward_queue = 99\nsteering = \"auto\"\n")).await;
        assert!(about(&reload, "server.quic.steering"), "{:?}", reload.warnings);
        let reload = house.load(&h3("").replace("tls =", "http3 = { cid_lifetime = \"0s\" }\ntls =")).await;
        assert!(about(&reload, "\"u\": http3.cid_lifetime") && !about(&reload, "max_udp"), "{:?}", reload.warnings);
    });
}

#[test]
fn reloads_wait_in_a_bounded_line() {
    with_house(|house| async move {
        house.write(&text(&[("a", "127.0.0.1:0")], ""));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let control = house.control.clone();
            all.spawn_local(async move { control.reload().await.outcome });
        }
        let outcomes = all.join_all().await;
        let count = |o| outcomes.iter().filter(|x| **x == o).count();
        assert_eq!(count(Outcome::Applied) + count(Outcome::Busy), 50, "{outcomes:?}");
        assert!(count(Outcome::Applied) >= 8 && count(Outcome::Busy) > 0);
    });
}

#[test]
fn draining_is_not_ready_refuses_reloads_and_closes_names() {
    with_house(|house| async move {
        let socket = house.file.with_file_name("data.sock");
        let unix = format!("unix:{}", socket.display());
        house.load(&text(&[("a", &unix)], "[server]\nlb_grace = \"0s\"\ndrain_timeout = \"0s\"\n")).await;
        UnixStream::connect(&socket).unwrap();
        house.heard.try_iter().count();
        let (ended, ends) = tokio::sync::mpsc::unbounded_channel();
        let control = house.control.clone();
        let signals = Signals::new().unwrap();
        let draining = spawn_local(async move { control.drain(signals, ends).await });
        while house.heard.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        assert!(Handle(house.control.clone()).ready().is_err());
        assert_eq!(house.control.reload().await.outcome, Outcome::Draining);
        while socket.exists() {
            tokio::task::yield_now().await;
        }
        ended.send(0).unwrap();
        ended.send(1).unwrap();
        assert!(matches!(draining.await.unwrap(), End::Drained | End::Forced));
    });
}

#[test]
fn health_names_the_silent_shard() {
    with_house(|house| async move {
        let backend = Handle(house.control.clone());
        let now = Instant::now();
        house.control.stats.shards.iter().for_each(|s| s.beat(now));
        assert_eq!(backend.health(), Ok(()));
        // No beat for a while: only the clock tells.
        while backend.health().is_ok() {
            house.control.stats.shards[0].beat(Instant::now());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let why = backend.health().unwrap_err();
        assert!(why.contains("shard 1") && !why.contains("shard 0"), "{why}");
    });
}
