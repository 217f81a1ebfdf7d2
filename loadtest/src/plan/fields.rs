//! Methods and fields of requests; by the grammar of the engines that send them.
use super::mistake::quoted;
use edge_io::{
    field_codec::{is_name, is_value},
    http1::is_token,
};

/// Most fields of a request: what servers take by their defaults.
pub const FIELDS_MAX: usize = 100;
/// Bytes of all fields together: twice what most servers take.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Longest method, bytes.
const METHOD_MAX: usize = 32;

/// Reads `NAME: VALUE`; the name is put in lower case, blanks around the value are taken off.
///
/// # Errors
/// A sentence: what is wrong with it, and what to do.
pub fn parse(text: &str) -> Result<(String, Vec<u8>), String> {
    let wrong = |what: &str| format!("--header {}: {what}", quoted(text));
    let Some((name, value)) = text.split_once(':') else {
        return Err(wrong("it has no colon; expected 'NAME: VALUE'"));
    };
    let name = name.to_ascii_lowercase();
    let value = value.trim_matches([' ', '\t']);
    if name.is_empty() {
        return Err(wrong("there is no name before the colon; expected 'NAME: VALUE'"));
    }
    if name.contains('_') {
        return Err(wrong("a name with _ is read as one with - by some servers; write -"));
    }
    if !is_name(name.as_bytes()) {
        return Err(wrong("a name has letters, digits and !#$%&'*+-.^`|~ only, and no blank before the colon"));
    }
    if let Some(instead) = refused(&name, value) {
        return Err(wrong(instead));
    }
    if !is_value(value.as_bytes()) {
        return Err(wrong("a value has no control characters (line ends, zero bytes)"));
    }
    Ok((name, value.into()))
}

/// What to do instead of giving a field that is not the user's to give.
fn refused(name: &str, value: &str) -> Option<&'static str> {
    Some(match name {
        "host" => "it is sent from the URL; use --host to send another",
        "content-length" => "it is sent from the body's length; leave it out",
        "transfer-encoding" => "bodies are sent with their length; leave it out",
        "connection" | "keep-alive" | "proxy-connection" => {
            "it is about the connection, which is the generator's; to close connections use --requests-per-conn"
        }
        "upgrade" | "http2-settings" => {
            "it is about the connection, which is the generator's; use --h2, --h3 or --ws to speak another protocol"
        }
        "expect" => "bodies are sent at once, without waiting for a 100; leave it out",
        "te" if !value.eq_ignore_ascii_case("trailers") => "only 'te: trailers' can be sent",
        "sec-websocket-key" | "sec-websocket-version" => "the generator makes it; use --ws",
        _ => return None,
    })
}

/// Reads all fields, and checks what they come to together.
pub(super) fn parse_all(texts: &[String], mistakes: &mut super::Mistakes) -> Vec<(String, Vec<u8>)> {
    if texts.len() > FIELDS_MAX {
        mistakes.add(format!("--header: {} fields; the most is {FIELDS_MAX}", texts.len()));
        return Vec::new();
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    if bytes > FIELD_BYTES_MAX {
        mistakes.add(format!("--header: the fields have {bytes} bytes together; the most is {FIELD_BYTES_MAX}"));
        return Vec::new();
    }
    texts.iter().filter_map(|text| mistakes.check(parse(text))).collect()
}

/// Checks a method.
///
/// # Errors
/// A sentence: what is wrong with it, and what was expected.
pub fn method(text: &str) -> Result<String, String> {
    let wrong = |what: &str| format!("--method {}: {what}", quoted(text));
    if !is_token(text.as_bytes()) || text.len() > METHOD_MAX {
        return Err(wrong("it is no method; expected one word such as GET, HEAD, POST, PUT"));
    }
    if text.eq_ignore_ascii_case("connect") {
        return Err(wrong("tunnels are not measured; for WebSockets use --ws"));
    }
    let upper = text.to_ascii_uppercase();
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];
    if text != upper && known.contains(&upper.as_str()) {
        return Err(wrong(&format!("methods are case-sensitive; write {upper}")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        assert_eq!(parse("Accept: */*").unwrap(), ("accept".into(), b"*/*".to_vec()));
        assert_eq!(parse("x-empty:").unwrap(), ("x-empty".into(), Vec::new()));
        assert_eq!(parse("x:\t a:b \t").unwrap(), ("x".into(), b"a:b".to_vec()));
        assert_eq!(parse("x: ä").unwrap().1, "ä".as_bytes());
        assert_eq!(parse("te: Trailers").unwrap().0, "te");
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, said) in [
            ("accept", "no colon"),
            (": x", "no name"),
            ("x y: z", "letters, digits"),
            ("x : z", "no blank before the colon"),
            ("x_y: z", "write -"),
            ("x: a\r\ny: b", "control characters"),
            ("x: \0", "control characters"),
            ("Host: h", "--host"),
            ("Content-Length: 3", "leave it out"),
            ("Transfer-Encoding: chunked", "leave it out"),
            ("Connection: close", "--requests-per-conn"),
            ("Upgrade: h2c", "--h2"),
            ("Expect: 100-continue", "without waiting"),
            ("TE: gzip", "te: trailers"),
        ] {
            let mistake = parse(text).unwrap_err();
            assert!(mistake.contains(said), "{text}: {mistake}");
        }
        let mut mistakes = super::super::Mistakes::default();
        assert!(parse_all(&vec!["a: b".to_owned(); FIELDS_MAX + 1], &mut mistakes).is_empty());
        assert!(parse_all(&[format!("a: {}", "b".repeat(FIELD_BYTES_MAX))], &mut mistakes).is_empty());
        assert_eq!(mistakes.iter().count(), 2);
    }

    #[test]
    fn methods_are_tokens() {
        assert_eq!(method("PURGE").unwrap(), "PURGE");
        for (text, said) in [("", "one word"), ("A B", "one word"), ("get", "write GET"), ("CONNECT", "--ws")] {
            assert!(method(text).unwrap_err().contains(said), "{text}");
        }
    }
}
