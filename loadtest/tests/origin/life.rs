//! Start and end: what cannot be is said at the start, and nothing is left behind.
use super::*;
use edge_loadtest::origin::Address;

fn why(options: Options) -> String {
    Serve::start(options).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    assert!(why(Options { listen: vec![], ..Options::default() }).contains("no address"));
    assert!(why(Options { h1: false, h2: false, ..Options::default() }).contains("no protocol"));
    assert!(why(Options { h3: true, ..Options::default() }).contains("needs TLS"));
    assert!(why(Options { threads: 0, ..Options::default() }).contains("threads"));
    let taken = plain();
    let again = why(Options { listen: taken.addresses().to_vec(), ..Options::default() });
    assert!(again.starts_with(&addr(&taken).to_string()) && again.contains("in use"), "{again}");
}

#[test]
fn it_ends_with_its_connections_when_dropped() {
    let origin = secure(Script::default());
    let addr = addr(&origin);
    let mut waiting = connect(&origin);
    drop(origin);
    assert!(matches!(waiting.read(&mut [0]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(addr).is_err());
    std::net::UdpSocket::bind(addr).unwrap();
}

#[test]
fn addresses_as_people_write_them() {
    let parse = |text: &str| text.parse::<Address>().map(|address| address.to_string());
    assert_eq!(parse("127.0.0.1:80").unwrap(), "127.0.0.1:80");
    assert_eq!(parse("[::1]:80").unwrap(), "[::1]:80");
    assert_eq!(parse(":80").unwrap(), "0.0.0.0:80");
    assert_eq!(parse("80").unwrap(), "127.0.0.1:80");
    assert_eq!(parse("unix:/run/x").unwrap(), "unix:/run/x");
    for bad in ["", "x", "unix:", "127.0.0.1", "127.0.0.1:99999", "::1"] {
        assert!(parse(bad).unwrap_err().contains("127.0.0.1:8080"), "{bad}");
    }
}
