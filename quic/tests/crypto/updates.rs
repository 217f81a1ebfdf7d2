//! Key updates (RFC 9001 6), which either side may begin.
use super::{
    net::{Net, say},
    pki::{Authority, client, client_config, server, server_config},
};
use std::time::Duration;

#[test]
fn either_side_updates_its_keys_again_and_again() {
    let authority = Authority::new();
    let mut net = Net::new(server(server_config(&authority)));
    let (on_client, on_server) = net.connect(&client(client_config(&authority, None)));
    net.pass(Duration::from_secs(1));
    let mut expected = Vec::new();
    for round in 0..8u8 {
        let connections = if round % 2 == 0 { &mut net.client.connections } else { &mut net.server.connections };
        connections.get_mut(&if round % 2 == 0 { on_client } else { on_server }).unwrap().force_key_update();
        let text = [b'a' + round; 100];
        net.say(on_client, &text);
        say(net.server.connections.get_mut(&on_server).unwrap(), &text);
        net.settle();
        expected.extend(text);
        // Old keys are kept for three PTOs, and only then comes another update.
        net.pass(Duration::from_secs(5));
    }
    assert_eq!(net.server.received, expected);
    assert_eq!(net.client.received, expected);
    assert!(net.client.lost.is_empty() && net.server.lost.is_empty());
}

#[test]
fn both_sides_may_begin_at_once() {
    let authority = Authority::new();
    let mut net = Net::new(server(server_config(&authority)));
    let (on_client, on_server) = net.connect(&client(client_config(&authority, None)));
    net.pass(Duration::from_secs(1));
    net.client.connections.get_mut(&on_client).unwrap().force_key_update();
    let server = net.server.connections.get_mut(&on_server).unwrap();
    server.force_key_update();
    say(server, b"from the server");
    net.say(on_client, b"from the client");
    net.settle();
    assert_eq!(net.server.received, b"from the client");
    assert_eq!(net.client.received, b"from the server");
}
