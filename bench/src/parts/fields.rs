//! Fields of requests and responses as they come in life, for all protocols that code them.
use edge_io::{
    field_codec::Pseudo,
    head::{FieldId, FieldRef},
};

/// Names and values; pseudo-header fields first.
pub type Fields = &'static [(&'static str, &'static str)];

/// A load generator's request: all of it repeats.
pub const INDEXED: Fields = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("user-agent", "h2load nghttp2/1.52.0"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate"),
];

/// A browser's navigation. The path, the cookies and the referer are its own; the rest repeats on a connection.
pub const BROWSER: Fields = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/products/42?ref=home&page=3"),
    (":authority", "www.example.com"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://www.example.com/products"),
    ("cookie", "session=6f1c2b9a8d7e4f30"),
    ("cookie", "theme=dark"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("upgrade-insecure-requests", "1"),
    ("priority", "u=0, i"),
];

/// A small answer.
pub const RESPONSE: Fields = &[
    (":status", "200"),
    ("server", "edge"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "128"),
    ("x-frame-options", "DENY"),
];

/// A field with what a caller knows of its name.
pub struct Known {
    pub pseudo: Option<Pseudo>,
    pub id: FieldId,
    pub name: &'static [u8],
    pub value: &'static [u8],
}

/// What callers of the encoders hold.
pub fn known(fields: Fields) -> Vec<Known> {
    let of = |(name, value): &(&'static str, &'static str)| {
        let name = name.as_bytes();
        let pseudo = Pseudo::of(name);
        let id = if pseudo.is_some() { FieldId::Other } else { FieldId::of(name) };
        Known { pseudo, id, name, value: value.as_bytes() }
    };
    fields.iter().map(of).collect()
}

/// Those that are no pseudo-header fields, as the engines take them.
pub fn regular(fields: &[Known]) -> impl Iterator<Item = FieldRef<'_>> {
    fields.iter().filter(|f| f.pseudo.is_none()).map(|f| FieldRef { id: f.id, name: f.name, value: f.value })
}

/// The value of a pseudo-header field; empty without it.
pub fn pseudo(fields: Fields, name: &str) -> &'static [u8] {
    fields.iter().find(|(n, _)| *n == name).map_or(b"", |(_, value)| value.as_bytes())
}
