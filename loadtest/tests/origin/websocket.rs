//! The WebSocket echo over HTTP/1.1, asked by tungstenite.
use super::*;
use tungstenite::{Message, client};

#[test]
fn messages_come_back_as_they_are() {
    let origin = plain();
    let (mut socket, answer) = client(format!("ws://{}/ws", addr(&origin)), connect(&origin)).unwrap();
    assert_eq!(answer.status(), 101);
    for message in [Message::text("grüße"), Message::binary(vec![7; 300_000]), Message::text("")] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    assert_eq!(origin.stats().messages, 3);
}

#[test]
fn any_path_takes_an_upgrade_and_the_delay_holds_for_messages() {
    let origin = serve(Script { delay: "30ms".parse().unwrap(), ..Script::default() });
    let (mut socket, _) = client(format!("ws://{}/chat?x=1", addr(&origin)), connect(&origin)).unwrap();
    let begun = std::time::Instant::now();
    for n in 0..3 {
        socket.send(Message::text(n.to_string())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(n.to_string()));
    }
    assert!(begun.elapsed() >= Duration::from_millis(90));
}
