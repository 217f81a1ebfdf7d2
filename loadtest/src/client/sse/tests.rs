//! Event streams from servers that send them well, and otherwise.
use crate::{
    client::{
        Why,
        harness::{Came, plan, read_head, read_to_end, run, say, server},
    },
    plan::{Exchange, Plan, Protocol},
    record::Fault,
};
use std::{
    net::{Shutdown, TcpStream},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n";

/// What connections come to, each of which is handed to `script` once its request is read.
fn against(connections: usize, mut script: impl FnMut(usize, &mut TcpStream) + Send + 'static) -> Came {
    let (address, thread) = server(connections, move |n, mut socket| {
        let head = read_head(&mut socket);
        assert!(head.contains("\r\naccept: text/event-stream\r\n"), "{head}");
        script(n, &mut socket);
        let _ = socket.shutdown(Shutdown::Write);
        read_to_end(&mut socket);
    });
    let mut plan = Plan { protocol: Protocol::H1, exchange: Exchange::Events, ..plan(address) };
    (plan.timeout, plan.body_max) = (Duration::from_millis(500), 100_000);
    let came = run(plan, connections);
    thread.join().unwrap();
    came
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

#[test]
fn events_their_delays_and_their_age() {
    let came = against(2, |n, socket| {
        // By the end of the connection, and in chunks that cut lines and events anywhere.
        say(socket, HEAD.as_bytes());
        say(socket, if n == 0 { b"\r\n" } else { b"transfer-encoding: chunked\r\n\r\n" });
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(20));
            let event = format!("id: 7\r\ndata: {} and more\r\n\r\n", now() - 5_000_000);
            match n {
                0 => say(socket, event.as_bytes()),
                _ => event.as_bytes().chunks(7).for_each(|part| {
                    say(socket, format!("{:x}\r\n{}\r\n", part.len(), std::str::from_utf8(part).unwrap()).as_bytes());
                }),
            }
        }
        say(socket, if n == 0 { b"" } else { b"0\r\n\r\n" });
    });
    assert_eq!((came.all_faults(), came.answered()), (vec![], 10));
    assert!(came.ends.iter().all(|end| end.why == Why::ByPeer && end.answered == 5), "{:?}", came.ends);
    assert_eq!((came.record.response.len(), came.record.service.len()), (8, 10));
    assert!(came.record.response.value_at_quantile(0.5) >= 15_000);
    assert!(came.record.service.min() >= 4_990_000, "{}", came.record.service.min());
    assert_eq!(came.record.counts.sent, 2);
}

#[test]
fn what_is_no_stream_of_events_is_a_fault() {
    for (answer, fault) in [
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n".to_owned(), Fault::Upgrade),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(), Fault::Upgrade),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), Fault::Upgrade),
        ("HTTP/1.1 500 Oh\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n".into(), Fault::Upgrade),
        ("HTTP/3 200".into(), Fault::Protocol),
        ("".into(), Fault::Closed),
        (format!("{HEAD}content-length: 9\r\n\r\ndata: 1"), Fault::Truncated),
        (format!("{HEAD}transfer-encoding: chunked\r\n\r\nzz"), Fault::Protocol),
        (format!("{HEAD}\r\ndata: {}", "x".repeat(200_000)), Fault::TooLarge),
    ] {
        let shown = answer.chars().take(90).collect::<String>();
        let came = against(1, move |_, socket| say(socket, answer.as_bytes()));
        assert_eq!(came.all_faults(), [(fault, 1)], "{shown:?}");
        assert_eq!(came.ends[0].why, Why::Failed(fault), "{shown:?}");
    }
}

#[test]
fn an_interim_answer_is_passed_over_and_silence_times_out() {
    let came = against(2, |n, socket| match n {
        0 => say(socket, format!("HTTP/1.1 103 Early\r\n\r\n{HEAD}content-length: 9\r\n\r\ndata: 1\n\n").as_bytes()),
        _ => read_to_end(socket),
    });
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Timeout, 1)], 1));
}
