//! Servers that do wrong: each wrong is counted by its kind, and the run ends in its time.
use super::{Ran, bench};
use crate::harness::{Driver, Origin, Protocol, Wire};
use std::{
    io,
    net::{TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

crate::suite!("bench_wrong";
    each_driver:
        nothing_listens,
        nothing_is_said,
        the_connection_is_closed_at_once,
        the_connection_ends_within_an_answer,
        the_connection_is_reset,
        what_comes_is_no_http,
        a_head_has_no_end;
    once:
        another_protocol_is_chosen,
        tls_is_spoken_to_a_clear_port,
        a_body_is_larger_than_is_read,
);

/// What a run may take beyond its time on a busy machine.
const BEYOND: Duration = Duration::from_secs(3);
/// Measured time, and the time for an answer and for a connection, ms: longer again where the machine is so busy that
/// nothing came of it, or that the other side was late.
const TIMES: [(u64, u64); 3] = [(300, 200), (1500, 1000), (6000, 4000)];

/// How a server in clear or over TLS is reached, and how the generator speaks to it.
const TCP: [(Protocol, &[&str]); 4] = [
    (Protocol::H1, &["--h1"]),
    (Protocol::H2c, &["--h2"]),
    (Protocol::H1Tls, &["--h1", "-k"]),
    (Protocol::H2, &["--h2", "-k"]),
];

/// Runs, and nothing but this goes wrong; nothing is answered.
fn assert_only(driver: Driver, url: &str, flags: &[&str], kinds: &[&str]) -> Ran {
    let mut tries = TIMES.into_iter();
    loop {
        let (run, wait) = tries.next().expect("the last one returns");
        let [duration, timeout] = [run, wait].map(|ms| format!("{ms}ms"));
        let times = ["-d", &duration, "--warmup", "0", "--timeout", &timeout, "--connect-timeout", &timeout, "-c", "2"];
        let ran = bench(driver, &[&times[..], flags, &[url]].concat());
        assert!(ran.took < Duration::from_millis(run + wait) + BEYOND, "{flags:?} {url}: {ran:?}");
        let found = ran.faults();
        let fits = !found.is_empty() && found.iter().all(|kind| kinds.contains(kind)) && ran.count("answered") == 0;
        if !fits && tries.len() > 0 {
            continue;
        }
        assert!(fits && ran.code == NOTHING_ANSWERED, "{kinds:?} for {flags:?} {url}: {ran:?}");
        return ran;
    }
}

fn url(origin: &Origin, protocol: Protocol) -> String {
    format!("{}://{}/", protocol.scheme(), origin.addr())
}

/// Runs against raw connections over TCP, each protocol in turn.
fn each(driver: Driver, kinds: &[&str], script: fn(&mut Wire) -> io::Result<()>) {
    for (protocol, flags) in TCP {
        let origin = Origin::raw(protocol, move |wire, _| script(wire));
        assert_only(driver, &url(&origin, protocol), flags, kinds);
    }
}

/// Exit code of a run in which nothing was answered.
const NOTHING_ANSWERED: i32 = 4;

/// Waits for a request to begin: any byte.
fn asked(wire: &mut Wire) -> io::Result<()> {
    wire.some(1).map(|_| ())
}

fn nothing_listens(driver: Driver) {
    // Bound and not listening: nobody else gets the port meanwhile, and it refuses.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("a free port");
    let at = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("a bound socket has an address");
    for (protocol, flags) in TCP {
        let url = format!("{}://{at}/", protocol.scheme());
        let ran = assert_only(driver, &url, flags, &["connect_refused"]);
        // A pause grows between attempts: not a hot loop.
        assert!(ran.fault("connect_refused") < 100, "{ran:?}");
    }
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port");
    let kinds = ["connect_refused", "connect_timeout"];
    assert_only(driver, &format!("https://{free}/"), &["--h3", "-k"], &kinds);
}

fn nothing_is_said(driver: Driver) {
    each(driver, &["timeout"], |wire| wire.wait_hangup());
    // A TCP connection, and never a handshake.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = silent.local_addr().expect("a bound socket has an address");
    assert_only(driver, &format!("https://{at}/"), &["-k"], &["connect_timeout"]);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let at = silent.local_addr().expect("a bound socket has an address");
    assert_only(driver, &format!("https://{at}/"), &["--h3", "-k"], &["connect_timeout"]);
}

fn the_connection_is_closed_at_once(driver: Driver) {
    // Before or after the request was sent: an end, or a reset when it was on its way.
    each(driver, &["closed", "reset"], |_| Ok(()));
    // In order: all of the request is read, and then the connection ends.
    let read = |wire: &mut Wire| wire.request().map(|_| ());
    for (protocol, flags) in [TCP[0], TCP[2]] {
        let origin = Origin::raw(protocol, move |wire, _| read(wire));
        assert_only(driver, &url(&origin, protocol), flags, &["closed"]);
    }
    // Over TLS before the handshake.
    let origin = Origin::scripted(|wire, _| asked(wire));
    for (protocol, flags) in [TCP[2], TCP[3]] {
        let url = format!("{}://{}/", protocol.scheme(), origin.addr());
        assert_only(driver, &url, flags, &["handshake"]);
    }
}

fn the_connection_ends_within_an_answer(driver: Driver) {
    for (protocol, flags) in [TCP[0], TCP[2]] {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
        ] {
            let origin = Origin::raw(protocol, move |wire, _| {
                wire.request()?;
                wire.try_send(answer)
            });
            assert_only(driver, &url(&origin, protocol), flags, &["truncated"]);
        }
    }
    for (protocol, flags) in [TCP[1], TCP[3]] {
        let origin = Origin::serving(protocol, |served| {
            served.request()?;
            served.begin(200, &Vec::new(), Some(100))?;
            served.send("begun")?;
            std::thread::sleep(Duration::from_millis(20));
            served.order(crate::harness::served::Order::Cut);
            served.wait_cancel()
        });
        // A connection that is dropped with something unread is reset.
        let ran = assert_only(driver, &url(&origin, protocol), flags, &["truncated", "reset"]);
        assert!(ran.fault("truncated") > 0, "{ran:?}");
    }
}

fn the_connection_is_reset(driver: Driver) {
    let reset = |wire: &mut Wire| {
        asked(wire)?;
        wire.reset_on_close();
        Ok(())
    };
    each(driver, &["reset"], reset);
}

fn what_comes_is_no_http(driver: Driver) {
    let garbage = |wire: &mut Wire| {
        asked(wire)?;
        wire.try_send([0x5a; 4096])?;
        wire.wait_hangup()
    };
    each(driver, &["protocol"], garbage);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket takes a timeout");
    let at = socket.local_addr().expect("a bound socket has an address");
    let over = Arc::new(AtomicBool::new(false));
    let babble = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut packet = [0; 2048];
            while !over.load(Ordering::SeqCst) {
                if let Ok((_, from)) = socket.recv_from(&mut packet) {
                    let _ = socket.send_to(&[0x5a; 1200], from);
                }
            }
        }
    });
    // What is not QUIC is passed over (RFC 9000 5.2): nobody answers.
    assert_only(driver, &format!("https://{at}/"), &["--h3", "-k"], &["connect_timeout"]);
    over.store(true, Ordering::SeqCst);
    babble.join().expect("no panic");
}

fn a_head_has_no_end(driver: Driver) {
    for (protocol, flags) in [TCP[0], TCP[2]] {
        let origin = Origin::raw(protocol, |wire, _| {
            wire.request()?;
            wire.try_send("HTTP/1.1 200 OK\r\n")?;
            for n in 0..100_000 {
                wire.try_send(format!("x-{n}: {}\r\n", "v".repeat(100)))?;
            }
            Ok(())
        });
        assert_only(driver, &url(&origin, protocol), flags, &["protocol"]);
    }
    // Interim answers, and never the final one.
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        for _ in 0..100_000 {
            wire.try_send("HTTP/1.1 103 Early Hints\r\n\r\n")?;
        }
        Ok(())
    });
    assert_only(driver, &url(&origin, Protocol::H1), &["--h1"], &["protocol"]);
}

fn another_protocol_is_chosen() {
    for (offered, flags) in [(Protocol::H1Tls, &["--h2", "-k"][..]), (Protocol::H2, &["--h1", "-k"])] {
        let origin = Origin::fine(offered);
        assert_only(Driver::IoUring, &url(&origin, offered), flags, &["alpn"]);
    }
    // No ALPN at all is HTTP/1.1.
    let origin = Origin::serving_with(Protocol::H1Tls, crate::harness::tls::pki().origin.server(&[]), |served| {
        served.request()?;
        served.reply(&crate::harness::Reply::new(200, "ok"))
    });
    let url = url(&origin, Protocol::H1Tls);
    assert_only(Driver::IoUring, &url, &["--h2", "-k"], &["alpn"]);
    bench(Driver::IoUring, &["-k", "-n", "10", "-c", "1", &url]).assert_all(10);
}

fn tls_is_spoken_to_a_clear_port() {
    let origin = Origin::scripted(|wire, _| {
        asked(wire)?;
        wire.try_send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        wire.wait_hangup()
    });
    let url = format!("https://{}/", origin.addr());
    assert_only(Driver::IoUring, &url, &["-k"], &["handshake"]);
}

fn a_body_is_larger_than_is_read() {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            wire.try_send(format!("1000\r\n{}\r\n", "x".repeat(0x1000)))?;
        }
    });
    let url = url(&origin, Protocol::H1);
    assert_only(Driver::IoUring, &url, &["--body-max", "64k"], &["too_large"]);
}
