//! A small origin that tells what it was asked: what the demo and the tests put behind the proxy.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes, N at most 1 GiB |
//! | `/slow?ms=N` | the echo, N milliseconds later, N at most 60,000 |
//! | anything else | an echo of the request: method, target, fields and the size of its body, as text |
use super::{
    desk::Desk,
    script::{DELAY_MAX, SIZE_MAX, Script},
    serve::{Address, Options, Running, Serve},
};
use std::{
    fmt::{Display, Write as _},
    io,
    net::SocketAddr,
    time::Duration,
};

/// A running origin of this kind; ends when dropped.
#[derive(Debug)]
pub struct Origin {
    running: Running,
    addr: SocketAddr,
}

impl Origin {
    /// Starts one on its own thread. Port 0 takes a free port.
    ///
    /// # Errors
    /// The address cannot be listened on, or the thread not be started.
    pub fn start(addr: SocketAddr) -> io::Result<Origin> {
        let script = Script { echo: true, ..Script::default() };
        let options = Options { listen: vec![Address::Ip(addr)], script, ..Options::default() };
        let running = Serve::start(options)?;
        let addr = running.addr().ok_or_else(|| io::Error::other("the origin listens nowhere"))?;
        Ok(Origin { running, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has seen.
    pub fn stats(&self) -> super::Stats {
        self.running.stats()
    }
}

/// An answer of this kind.
pub(super) enum Told {
    /// So many bytes.
    Bytes(u64),
    /// A status and a text.
    Text(u16, String),
}

/// The answer to a request; `echo` says what it looked like.
pub(super) async fn answer(desk: &Desk, path: &str, query: Option<&str>, echo: impl FnOnce() -> String) -> Told {
    let mut takes = Duration::ZERO;
    if path == "/slow" {
        let pairs = query.unwrap_or_default().split('&');
        let ms = pairs.filter_map(|pair| pair.strip_prefix("ms=")?.parse().ok()).next().unwrap_or(1000);
        takes = Duration::from_millis(ms).min(DELAY_MAX);
    }
    let Ok(due) = desk.due(super::script::micros(takes)) else {
        return Told::Text(503, "too many requests wait already\n".into());
    };
    desk.wait(due).await;
    if let Some(size) = path.strip_prefix("/bytes/") {
        return match size.parse() {
            Ok(size) if size <= SIZE_MAX => Told::Bytes(size),
            _ => Told::Text(400, format!("a number up to {SIZE_MAX} is expected, as in /bytes/1000\n")),
        };
    }
    Told::Text(200, echo())
}

/// What a request looked like: its first line, its fields, and how many bytes of body came.
pub(super) fn text<'a>(
    line: impl Display,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    received: usize,
) -> String {
    let mut echo = format!("{line}\n");
    for (name, value) in fields {
        let _ = writeln!(echo, "{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    }
    if received > 0 {
        let _ = writeln!(echo, "\n({received} bytes of body)");
    }
    echo
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    fn talk(origin: &Origin, request: &str) -> String {
        let mut stream = TcpStream::connect(origin.addr()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn get(origin: &Origin, target: &str) -> String {
        talk(origin, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\nConnection: close\r\n\r\n"))
    }

    #[test]
    fn answers_and_ends() {
        let origin = Origin::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let echo = get(&origin, "/a?b=c");
        assert!(
            echo.starts_with("HTTP/1.1 200") && echo.contains("GET /a?b=c HTTP/1.1") && echo.contains("x-test: yes")
        );
        let posted = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        assert!(talk(&origin, posted).contains("(5 bytes of body)"));
        let bytes = get(&origin, "/bytes/100000");
        assert!(bytes.contains("content-length: 100000\r\n"));
        assert_eq!(bytes.split_once("\r\n\r\n").unwrap().1.len(), 100_000);
        assert!(get(&origin, "/bytes/x").starts_with("HTTP/1.1 400"));
        assert!(get(&origin, "/bytes/99999999999").starts_with("HTTP/1.1 400"));
        assert!(get(&origin, "/slow?ms=1").starts_with("HTTP/1.1 200"));
        assert_eq!(origin.stats().requests, 6);
        let addr = origin.addr();
        drop(origin);
        assert!(TcpStream::connect(addr).is_err());
    }
}
