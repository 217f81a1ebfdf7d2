//! HTTP/2, asked by the crate h2: answers, faults by stream and by connection, a WebSocket by extended CONNECT.
use super::*;
use bytes::Bytes;
use h2::{
    Reason,
    client::{self, SendRequest},
    ext::Protocol,
};
use hyper::{Method, Request};
use tokio::net::TcpStream;

async fn open(origin: &Running) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(addr(origin)).await.unwrap();
    let (send, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

fn request(origin: &Running, target: &str) -> Request<()> {
    Request::get(format!("http://{}{target}", addr(origin))).body(()).unwrap()
}

/// Status, body bytes, and how it ended.
async fn ask(origin: &Running, send: &mut SendRequest<Bytes>, target: &str) -> Result<(u16, usize), h2::Error> {
    let (answer, _) = send.send_request(request(origin, target), true)?;
    let answer = answer.await?;
    let (status, mut body, mut bytes) = (answer.status().as_u16(), answer.into_body(), 0);
    while let Some(data) = body.data().await {
        let data = data?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((status, bytes))
}

#[test]
fn answers_by_prior_knowledge() {
    let origin = plain();
    block_on(async {
        let mut send = open(&origin).await;
        assert_eq!(ask(&origin, &mut send, "/").await.unwrap(), (200, 1024));
        assert_eq!(ask(&origin, &mut send, "/?status=503&size=1m").await.unwrap(), (503, 1 << 20));
        assert_eq!(ask(&origin, &mut send, "/?size=100k&chunk=30k&chunk-delay=1ms").await.unwrap(), (200, 102_400));
        assert_eq!(ask(&origin, &mut send, "/events?interval=1ms&count=3").await.unwrap().0, 200);
    });
    assert_eq!(origin.stats().connections, 1);
}

#[test]
fn faults_of_one_stream_leave_the_others_alone() {
    let origin = plain();
    block_on(async {
        let mut send = open(&origin).await;
        let (mut stalled, _) = send.send_request(request(&origin, "/?fault=stall"), true).unwrap();
        let reset = ask(&origin, &mut send, "/?fault=reset").await.unwrap_err();
        assert!(reset.is_reset() && reset.reason() == Some(Reason::INTERNAL_ERROR), "{reset}");
        let cut = ask(&origin, &mut send, "/?fault=truncate").await.unwrap_err();
        assert!(cut.is_reset(), "{cut}");
        assert_eq!(ask(&origin, &mut send, "/").await.unwrap(), (200, 1024));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut stalled).await.is_err());
    });
}

#[test]
fn faults_of_the_connection_end_it() {
    let origin = plain();
    block_on(async {
        for fault in ["close", "garbage"] {
            let mut send = open(&origin).await;
            assert_eq!(ask(&origin, &mut send, "/").await.unwrap(), (200, 1024));
            let end = ask(&origin, &mut send, &format!("/?fault={fault}")).await.unwrap_err();
            assert!(end.is_io() || end.is_go_away(), "{fault}: {end}");
            if fault == "garbage" {
                assert_eq!(end.reason(), Some(Reason::FRAME_SIZE_ERROR), "{end}");
            }
        }
    });
}

#[test]
fn a_websocket_by_extended_connect() {
    let origin = plain();
    block_on(async {
        let send = open(&origin).await;
        // The server's settings are there once it has answered something.
        let mut send = send.ready().await.unwrap();
        ask(&origin, &mut send, "/").await.unwrap();
        assert!(send.is_extended_connect_protocol_enabled());
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{}/ws", addr(&origin)))
            .extension(Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (answer, mut tx) = send.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        // "hi" as a masked text frame, then a close.
        tx.send_data(Bytes::from_static(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), [0x81, 2, b'h', b'i'].as_slice());
        tx.send_data(Bytes::from_static(&[0x88, 0x80, 0, 0, 0, 0]), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), [0x88, 0].as_slice());
        let mut end = body.data().await;
        while matches!(&end, Some(Ok(data)) if data.is_empty()) {
            end = body.data().await;
        }
        assert!(end.is_none(), "{end:?}");
    });
    assert_eq!(origin.stats().messages, 1);
}

#[test]
fn a_socket_speaks_only_what_it_was_told_to() {
    let only_h2 = Serve::start(Options { h1: false, ..Options::default() }).unwrap();
    block_on(async {
        let mut send = open(&only_h2).await;
        assert_eq!(ask(&only_h2, &mut send, "/").await.unwrap().0, 200);
    });
    let mut stream = connect(&only_h2);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1"));
    let only_h1 = Serve::start(Options { h2: false, tls: Some(Tls::SelfSigned), ..Options::default() }).unwrap();
    block_on(async {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client_tls(&only_h1, b"h2")));
        let stream = TcpStream::connect(addr(&only_h1)).await.unwrap();
        assert!(
            connector.connect("localhost".try_into().unwrap(), stream).await.is_err(),
            "ALPN has nothing in common"
        );
    });
}
