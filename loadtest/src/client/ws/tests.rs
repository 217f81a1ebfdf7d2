//! WebSockets against a server of another house, and against ones that misbehave.
use crate::{
    client::{
        Why,
        harness::{Came, plan, read_head, read_to_end, run, say, server},
    },
    plan::{Arrivals, Exchange, Load, Plan, Protocol},
    record::Fault,
};
use std::{
    net::{SocketAddr, TcpStream},
    num::NonZeroU64,
    time::Duration,
};
use tungstenite::{Message, WebSocket};

fn websockets(server: SocketAddr, size: usize) -> Plan {
    let mut plan = Plan { protocol: Protocol::H1, exchange: Exchange::WebSocket { size }, ..plan(server) };
    plan.origins[0].requests[0].target = "/chat?a=1".into();
    plan.origins[0].requests[0].fields = vec![("origin".into(), b"http://here".to_vec())];
    plan
}

/// A server of the `tungstenite` crate; what it does with each message is up to `answer`.
fn other_house(
    connections: usize,
    mut answer: impl FnMut(&mut WebSocket<TcpStream>, Message) -> tungstenite::Result<()> + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<()>) {
    server(connections, move |_, socket| {
        let mut peer = tungstenite::accept(socket).unwrap();
        loop {
            match peer.read() {
                Ok(Message::Close(_)) => {}
                Ok(message) => {
                    if answer(&mut peer, message).is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        read_to_end(peer.get_mut());
    })
}

fn echo(peer: &mut WebSocket<TcpStream>, message: Message) -> tungstenite::Result<()> {
    if message.is_binary() { peer.send(message) } else { Ok(()) }
}

#[test]
fn echoes_of_every_size_are_counted() {
    for size in [0, 1, 7, 125, 126, 65_535, 65_536, 300_000] {
        let (address, thread) = other_house(2, echo);
        let mut plan = websockets(address, size);
        // One connection after the other: the server has one thread.
        plan.requests_per_connection = NonZeroU64::new(10);
        plan.requests = NonZeroU64::new(20);
        let came = run(plan, 2);
        thread.join().unwrap();
        assert_eq!((came.all_faults(), came.answered()), (vec![], 20), "{size}");
        assert_eq!(came.record.counts.body_bytes, 20 * size as u64);
        assert!(came.ends[0].why == Why::Served && came.ends.iter().all(|end| end.answered == 10), "{:?}", came.ends);
    }
}

#[test]
fn an_open_loop_has_several_messages_in_flight() {
    let (address, thread) = other_house(1, echo);
    let mut plan = websockets(address, 100);
    plan.load = Load::Open { rate: 2000.0, arrivals: Arrivals::Poisson };
    (plan.streams, plan.duration) = (5, Duration::from_millis(400));
    let came = run(plan, 1);
    thread.join().unwrap();
    assert_eq!(came.all_faults(), []);
    assert!((600..1000).contains(&came.answered()), "{}", came.answered());
    assert!(!came.record.service.is_empty());
}

#[test]
fn pings_are_answered_between_messages_and_pieces() {
    let (mut pings, mut pongs) = (0, 0);
    let (address, thread) = other_house(1, move |peer, message| match message {
        Message::Pong(payload) => {
            assert_eq!(&payload[..], b"are you there");
            pongs += 1;
            // All but those to the last message, which may be under way when it ends.
            assert!(pongs <= pings);
            Ok(())
        }
        message => {
            assert!(pongs + 1 >= pings, "{pongs} {pings}");
            pings += 1;
            peer.send(Message::Ping(b"are you there".to_vec().into()))?;
            echo(peer, message)
        }
    });
    let came = run(Plan { requests: NonZeroU64::new(50), ..websockets(address, 10) }, 1);
    thread.join().unwrap();
    assert_eq!((came.all_faults(), came.answered()), (vec![], 50));
}

#[test]
fn a_server_that_closes_is_counted_by_its_reason() {
    use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    for (code, fault) in [
        (CloseCode::Normal, Fault::Closed),
        (CloseCode::Away, Fault::Closed),
        (CloseCode::Error, Fault::Closed),
        (CloseCode::Protocol, Fault::Protocol),
        (CloseCode::Size, Fault::TooLarge),
    ] {
        let mut n = 0;
        let (address, thread) = other_house(1, move |peer, message| {
            n += 1;
            if n < 4 {
                return echo(peer, message);
            }
            peer.close(Some(CloseFrame { code, reason: "".into() }))
        });
        let came = run(websockets(address, 10), 1);
        thread.join().unwrap();
        assert_eq!((came.all_faults(), came.answered()), (vec![(fault, 1)], 3), "{code}");
        assert_eq!(came.ends[0].why, Why::Failed(fault));
    }
}

#[test]
fn an_echo_that_is_not_what_was_sent_is_a_fault() {
    let mut n = 0;
    let (address, thread) = other_house(1, move |peer, message| {
        let mut bytes = message.into_data().to_vec();
        n += 1;
        match n {
            1 => bytes[99] ^= 1,
            2 => bytes.truncate(99),
            3 => bytes.push(0),
            4 => return peer.send(Message::Text("x".into())),
            _ => {}
        }
        peer.send(Message::Binary(bytes.into()))
    });
    let came = run(Plan { requests: NonZeroU64::new(10), ..websockets(address, 100) }, 1);
    thread.join().unwrap();
    // They came, and are not what was expected: answers and faults, as with HTTP.
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Body, 4)], 10));
    assert_eq!(came.record.counts.error_share(), 0.4);
}

/// A server that grants the WebSocket by hand, and goes on as `script` says.
fn by_hand(change: impl FnOnce(&mut Plan), script: impl FnOnce(&mut TcpStream) + Send + 'static) -> Came {
    let mut script = Some(script);
    let (address, thread) = server(1, move |_, mut socket| {
        let head = read_head(&mut socket);
        assert!(head.starts_with("GET /chat?a=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
        assert!(head.contains("\r\norigin: http://here\r\n"), "{head}");
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        let accept = crate::websocket::accept(key.as_bytes());
        let granted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        say(&mut socket, granted.as_bytes());
        script.take().unwrap()(&mut socket);
        read_to_end(&mut socket);
    });
    let mut plan = websockets(address, 2);
    change(&mut plan);
    let came = run(plan, 1);
    thread.join().unwrap();
    came
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    for (words, fault) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Fault::Protocol),
        (&[0x82, 0x82, 0, 0, 0, 0, 1, 2], Fault::Protocol),
        (&[0x88, 1, 3], Fault::Protocol),
        (&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0], Fault::Timeout),
    ] {
        let came = by_hand(|plan| plan.timeout = Duration::from_millis(40), move |socket| say(socket, words));
        assert_eq!(came.ends[0].why, Why::Failed(fault), "{words:?}");
        assert_eq!(came.all_faults(), [(fault, 1)], "{words:?}");
    }
}

#[test]
fn an_endless_echo_is_not_read_to_its_end() {
    let came = by_hand(
        |plan| plan.body_max = 1000,
        |socket| {
            std::io::Read::read_exact(socket, &mut [0; 8]).unwrap();
            say(socket, &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]);
            say(socket, &[0; 2000]);
        },
    );
    assert_eq!(came.all_faults(), [(Fault::TooLarge, 1)]);
}

#[test]
fn a_late_echo_is_no_answer_and_no_fault_of_the_next() {
    let came = by_hand(
        |plan| (plan.timeout, plan.streams, plan.requests) = (Duration::from_millis(200), 2, NonZeroU64::new(3)),
        |socket| {
            let mut frames = [[0; 8]; 2];
            for frame in &mut frames {
                std::io::Read::read_exact(socket, frame).unwrap();
            }
            let unmasked = |f: [u8; 8]| [0x82, 2, f[6] ^ f[2], f[7] ^ f[3]];
            std::thread::sleep(Duration::from_millis(300));
            for frame in frames {
                say(socket, &unmasked(frame));
            }
            let mut last = [0; 8];
            std::io::Read::read_exact(socket, &mut last).unwrap();
            say(socket, &unmasked(last));
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Timeout, 2)], 1));
}

#[test]
fn who_is_cut_off_by_anothers_timeout_did_not_time_out() {
    let came = by_hand(
        |plan| {
            // At 0 and 600 ms; what is not there at 400 is late, and at 800 the server is given up.
            plan.load = Load::Open { rate: 1.0 / 0.6, arrivals: Arrivals::Constant };
            (plan.timeout, plan.streams, plan.requests) = (Duration::from_millis(400), 2, NonZeroU64::new(2));
        },
        |_| {},
    );
    assert_eq!(came.faults(Fault::Timeout) + came.faults(Fault::Closed), 2, "{:?}", came.all_faults());
    assert_eq!((came.faults(Fault::Timeout), came.ends[0].why), (1, Why::Failed(Fault::Timeout)));
}

#[test]
fn what_is_not_granted_is_an_upgrade_fault() {
    for (head, fault) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Fault::Upgrade),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", Fault::Upgrade),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            Fault::Upgrade,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", Fault::Upgrade),
        ("SSH-2.0-OpenSSH\r\n\r\n", Fault::Protocol),
        ("HTTP/1.1 101 Swi", Fault::Truncated),
        ("", Fault::Closed),
    ] {
        let (address, thread) = server(1, move |_, mut socket| {
            read_head(&mut socket);
            say(&mut socket, head.as_bytes());
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            read_to_end(&mut socket);
        });
        let came = run(websockets(address, 10), 1);
        thread.join().unwrap();
        assert_eq!(came.all_faults(), [(fault, 1)], "{head:?}");
        assert_eq!(came.ends[0].why, Why::Failed(fault), "{head:?}");
    }
}

#[test]
fn a_handshake_that_is_not_answered_times_out() {
    let (address, thread) = server(1, |_, mut socket| read_to_end(&mut socket));
    let came = run(Plan { timeout: Duration::from_millis(30), ..websockets(address, 10) }, 1);
    thread.join().unwrap();
    assert_eq!(came.all_faults(), [(Fault::Timeout, 1)]);
}
