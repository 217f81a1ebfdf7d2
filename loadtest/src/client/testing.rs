//! What tests of the client share: a plan, and servers that answer by a script over plain sockets.
use crate::plan::{Address, Exchange, Expect, Load, Origin, Plan, Protocol, Request, Tls};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// A plan for one plain origin at `address`: closed loop, one connection, 300 ms.
pub(crate) fn plan(address: SocketAddr) -> Plan {
    let request = Request { method: "GET".into(), target: "/x".into(), fields: Vec::new(), body: Default::default() };
    Plan {
        origins: vec![Origin {
            secure: false,
            host: address.ip().to_string(),
            port: address.port(),
            authority: address.to_string(),
            server_name: "localhost".into(),
            addresses: vec![Address::Ip(address)],
            requests: vec![request],
        }],
        protocol: Protocol::H1,
        load: Load::Closed,
        connections: 1,
        streams: 1,
        requests_per_connection: None,
        connect_rate: None,
        duration: Duration::from_secs(20),
        warmup: Duration::ZERO,
        requests: None,
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        tls: Tls::default(),
        cores: vec![0],
        exchange: Exchange::Requests,
        expect: Expect { status: (200, 399), body: None },
        body_max: 1 << 20,
        seed: 1,
        server_pid: None,
    }
}

/// A server: each connection has a thread of its own, which does what the script says. Ends when dropped.
pub(crate) struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `script` is called with each connection and its number.
    pub fn new(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let stop = Arc::new(AtomicBool::new(false));
        let (told, script) = (stop.clone(), Arc::new(script));
        let thread = std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(socket), script) = (socket, script.clone()) else { return };
                let _ = socket.set_read_timeout(Some(Duration::from_secs(30)));
                std::thread::spawn(move || script(socket, number));
            }
        });
        Server { address, stop, thread: Some(thread) }
    }

    /// One that answers each request head with `answer`.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Server {
        let answer = answer.into();
        Server::new(move |mut socket, _| {
            while head(&mut socket).is_some() {
                if socket.write_all(&answer).is_err() {
                    return;
                }
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads one request head, byte by byte so that the next stays. `None` at the end.
pub(crate) fn head(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(head)
}
