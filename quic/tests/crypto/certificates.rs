//! Certificates of both sides, and the alerts with which handshakes end (RFC 9001 4.8).
use super::{
    net::Net,
    pki::{
        Authority, Identity, NAME, client, client_config, server, server_config, server_config_asking,
        small_client_config,
    },
};
use edge_io::tls::ErrorKind;
use edge_quic::crypto::failure;
use quinn_proto::{ConnectionError, TransportErrorCode};

const BAD_CERTIFICATE_UNKNOWN_CA: u8 = 48;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Expects that the server sends `alert` for `kind`, and the client hears it.
fn refused(net: &mut Net, alert: u8, kind: ErrorKind) {
    let code = TransportErrorCode::crypto(alert);
    let (why, connection) = match net.server.lost.first() {
        Some((number, why)) => (why, Some(&net.server.connections[number])),
        None => (net.server.refused.first().expect("it was refused"), None),
    };
    let ConnectionError::TransportError(e) = why else { panic!("{why:?}") };
    assert_eq!(e.code, code, "{e}");
    assert_eq!(failure(why, connection).kind, kind);
    assert_eq!(failure(why, None).kind, kind, "also without the connection");
    let (number, heard) = net.client.lost.first().expect("the client hears it");
    let ConnectionError::ConnectionClosed(close) = heard else { panic!("{heard:?}") };
    assert_eq!(close.error_code, code);
    assert_eq!(failure(heard, Some(&net.client.connections[number])).kind, ErrorKind::AlertReceived);
}

fn try_with(identity: Option<Identity>, authority: &Authority, clients: &Authority) -> Net {
    let mut net = Net::new(server(server_config_asking(authority, clients.roots())));
    net.begin(&client(client_config(authority, identity)), NAME);
    net.settle();
    net
}

#[test]
fn a_clients_certificate_is_told() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = clients.client();
    let der = identity.0[0].to_vec();
    let crypto = client(client_config(&authority, Some(identity)));
    let mut net = Net::new(server(server_config_asking(&authority, clients.roots())));
    for resumed in [false, true] {
        let (on_client, on_server) = net.connect(&crypto);
        let told = net.server.info(on_server);
        assert_eq!(told.client_certificate.as_deref(), Some(der.as_slice()));
        assert_eq!(told.resumed, resumed);
        let identity = net.server.connections[&on_server].crypto_session().peer_identity().unwrap();
        assert_eq!(identity.downcast::<Box<[u8]>>().unwrap().as_ref().as_ref(), der);
        assert_eq!(net.client.info(on_client).client_certificate, None, "the server's is no client's");
    }
}

#[test]
fn without_a_certificate_that_is_demanded() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let mut net = try_with(None, &authority, &clients);
    refused(&mut net, CERTIFICATE_REQUIRED, ErrorKind::CertificateRequired);
}

#[test]
fn with_a_certificate_of_another_authority() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let mut net = try_with(Some(Authority::new().client()), &authority, &clients);
    refused(&mut net, BAD_CERTIFICATE_UNKNOWN_CA, ErrorKind::UnknownCa);
}

#[test]
fn without_a_protocol_in_common() {
    let authority = Authority::new();
    let mut config = client_config(&authority, None);
    config.alpn_protocols = vec![b"hq-interop".to_vec(), b"h2".to_vec()];
    let mut net = Net::new(server(server_config(&authority)));
    net.begin(&client(config), NAME);
    net.settle();
    refused(&mut net, NO_APPLICATION_PROTOCOL, ErrorKind::NoSharedProtocol);
}

#[test]
fn refused_with_the_first_packet_already() {
    // Without the post-quantum share everything is in one packet, and there is no connection when it fails.
    let authority = Authority::new();
    let mut config = small_client_config(&authority);
    config.alpn_protocols = vec![b"other".to_vec()];
    let mut net = Net::new(server(server_config(&authority)));
    net.begin(&client(config), NAME);
    net.settle();
    assert_eq!((net.server.refused.len(), net.server.connections.len()), (1, 0));
    refused(&mut net, NO_APPLICATION_PROTOCOL, ErrorKind::NoSharedProtocol);
}

#[test]
fn a_client_that_does_not_trust_the_server() {
    let authority = Authority::new();
    let mut net = Net::new(server(server_config(&authority)));
    net.begin(&client(client_config(&Authority::new(), None)), NAME);
    net.settle();
    let (number, why) = net.client.lost.first().unwrap();
    let error = failure(why, Some(&net.client.connections[number]));
    assert_eq!(error.kind, ErrorKind::UnknownCa);
    assert!(error.detail.contains("UnknownIssuer"), "more words: {error}");
    let (number, why) = net.server.lost.first().unwrap();
    assert_eq!(failure(why, Some(&net.server.connections[number])).kind, ErrorKind::AlertReceived);
}

#[test]
fn a_configuration_that_cannot_do_quic_is_refused_when_it_is_made() {
    use edge_quic::crypto::{ClientCrypto, ServerCrypto};
    use std::sync::Arc;
    let authority = Authority::new();
    let mut config = server_config(&authority);
    config.alpn_protocols.clear();
    assert!(ServerCrypto::new(Arc::new(config)).is_err(), "no ALPN");
    let mut config = server_config(&authority);
    config.max_early_data_size = 1000;
    assert!(ServerCrypto::new(Arc::new(config)).is_err(), "a size of its own");
    let resolver = server_config(&authority).cert_resolver;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h3".to_vec()];
    assert!(ServerCrypto::new(Arc::new(config)).is_err(), "no TLS 1.3");
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut config = builder.with_root_certificates(authority.roots()).with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    assert!(ClientCrypto::new(Arc::new(config)).is_err(), "no TLS 1.3");
}
