//! HTTP/3, asked by the crates quinn and h3.
use super::*;
use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use hyper::Request;
use quinn::crypto::rustls::QuicClientConfig;

type Sender = SendRequest<OpenStreams, Bytes>;

async fn open(origin: &Running) -> (quinn::Endpoint, Sender) {
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let crypto = QuicClientConfig::try_from(client_tls(origin, b"h3")).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let connection = endpoint.connect(addr(origin), "localhost").unwrap().await.unwrap();
    let (mut driver, send) = h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
    tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    (endpoint, send)
}

/// Status, content-length, and body bytes; what went wrong, and where.
async fn ask(send: &mut Sender, target: &str) -> Result<(u16, Option<usize>, usize), String> {
    let request = Request::post(format!("https://localhost{target}")).body(()).unwrap();
    let mut stream = send.send_request(request).await.map_err(|e| format!("request: {e}"))?;
    // An origin that resets needs no more of the request.
    let _ = stream.send_data(Bytes::from_static(b"body")).await;
    let _ = stream.finish().await;
    let answer = stream.recv_response().await.map_err(|e| format!("head: {e}"))?;
    let length = answer.headers().get("content-length").map(|l| l.to_str().unwrap().parse().unwrap());
    let mut bytes = 0;
    while let Some(piece) = stream.recv_data().await.map_err(|e| format!("body: {e}"))? {
        bytes += piece.remaining();
    }
    Ok((answer.status().as_u16(), length, bytes))
}

#[test]
fn answers() {
    let origin = secure(Script { headers: 3, ..Script::default() });
    block_on(async {
        let (_endpoint, mut send) = open(&origin).await;
        assert_eq!(ask(&mut send, "/").await, Ok((200, Some(1024), 1024)));
        assert_eq!(ask(&mut send, "/?size=3m").await, Ok((200, Some(3 << 20), 3 << 20)));
        assert_eq!(ask(&mut send, "/?size=0").await, Ok((200, Some(0), 0)));
        assert_eq!(ask(&mut send, "/?status=204").await, Ok((204, None, 0)));
        assert_eq!(ask(&mut send, "/?size=100k&chunk=30k&chunk-delay=2ms&status=404").await, Ok((404, None, 102_400)));
        assert_eq!(ask(&mut send, "/?delay=x").await.unwrap().0, 400);
        let events = ask(&mut send, "/events?interval=5ms&count=4").await.unwrap();
        assert!(events.0 == 200 && (80..200).contains(&events.2), "{events:?}");
        let begun = std::time::Instant::now();
        assert_eq!(ask(&mut send, "/?delay=30ms").await.unwrap().0, 200);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    });
    let stats = origin.stats();
    assert_eq!((stats.connections, stats.requests, stats.events), (1, 8, 4));
}

#[test]
fn requests_are_told_what_they_looked_like() {
    let origin = secure(Script { echo: true, ..Script::default() });
    block_on(async {
        let (_endpoint, mut send) = open(&origin).await;
        assert_eq!(ask(&mut send, "/bytes/100000").await, Ok((200, Some(100_000), 100_000)));
        assert_eq!(ask(&mut send, "/bytes/0").await, Ok((200, Some(0), 0)));
        assert_eq!(ask(&mut send, "/bytes/x").await.unwrap().0, 400);
        let request = Request::post("https://localhost/a?b=c").header("x-test", "yes").body(()).unwrap();
        let mut stream = send.send_request(request).await.unwrap();
        stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        let mut text = Vec::new();
        while let Some(mut piece) = stream.recv_data().await.unwrap() {
            text.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("POST https://localhost/a?b=c HTTP/3.0\n"), "{text}");
        assert!(text.contains("\nx-test: yes\n") && text.ends_with("\n(5 bytes of body)\n"), "{text}");
        let head = Request::head("https://localhost/").body(()).unwrap();
        let mut stream = send.send_request(head).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        assert!(stream.recv_data().await.unwrap().is_none());
    });
}

#[test]
fn faults_by_stream_and_by_connection() {
    let origin = secure(Script::default());
    block_on(async {
        let (_endpoint, mut send) = open(&origin).await;
        assert!(ask(&mut send, "/?fault=reset").await.unwrap_err().starts_with("head: "));
        assert!(ask(&mut send, "/?fault=truncate&size=50k").await.is_err());
        // h3 does not compare: the answer is malformed all the same.
        assert_eq!(ask(&mut send, "/?fault=garbage&size=100").await, Ok((200, Some(100), 50)));
        assert_eq!(ask(&mut send, "/").await.unwrap().0, 200);
        let stalled = tokio::time::timeout(Duration::from_millis(100), ask(&mut send, "/?fault=stall")).await;
        assert!(stalled.is_err());
        assert!(ask(&mut send, "/?fault=close").await.is_err());
        assert!(ask(&mut send, "/").await.is_err(), "the connection is gone");
    });
}

#[test]
fn several_shards_and_threads_share_the_address() {
    let options = Options { threads: 2, tls: Some(Tls::SelfSigned), h3: true, ..Options::default() };
    let origin = Serve::start(options).unwrap();
    block_on(async {
        for _ in 0..8 {
            let (_endpoint, mut send) = open(&origin).await;
            assert_eq!(ask(&mut send, "/").await.unwrap().0, 200);
        }
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client_tls(&origin, b"http/1.1")));
        for _ in 0..8 {
            let stream = tokio::net::TcpStream::connect(addr(&origin)).await.unwrap();
            let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
        }
    });
    let stats = origin.stats();
    assert_eq!((stats.connections, stats.requests), (16, 16));
}
