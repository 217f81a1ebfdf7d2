//! A request and an answer as tests mean them, whatever protocol carries them.
use super::message::{Ends, Message, chunk_size, field};
use super::wire::Wire;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::io;

/// Field lines: names in any case, values of any bytes a field may have.
pub type Fields = Vec<(String, Vec<u8>)>;

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// None.
    #[default]
    None,
    /// These bytes, with their length declared.
    Whole(Vec<u8>),
    /// Sent later, piece by piece, of this length if it is declared.
    Later(Option<usize>),
}

/// A request to be.
#[derive(Clone, Debug)]
pub struct Ask {
    /// As on the wire.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `Host` or `:authority`.
    pub host: String,
    /// The rest of the head.
    pub fields: Fields,
    /// What follows it.
    pub body: Body,
    /// RFC 8441: the `:protocol` of an extended CONNECT; HTTP/2 only.
    pub protocol: Option<&'static str>,
}

impl Ask {
    /// A request without a body to the host `test`.
    pub fn new(method: &str, target: &str) -> Ask {
        Ask {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "test".to_owned(),
            fields: Vec::new(),
            body: Body::None,
            protocol: None,
        }
    }

    /// GET.
    pub fn get(target: &str) -> Ask {
        Ask::new("GET", target)
    }

    /// POST with a body whose length is declared.
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Ask {
        Ask { body: Body::Whole(body.as_ref().to_vec()), ..Ask::new("POST", target) }
    }

    /// POST with a body that the test sends piece by piece.
    pub fn upload(target: &str, length: Option<usize>) -> Ask {
        Ask { body: Body::Later(length), ..Ask::new("POST", target) }
    }

    /// Another host.
    pub fn host(mut self, host: &str) -> Ask {
        self.host = host.to_owned();
        self
    }

    /// One more field line.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Ask {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// More field lines, as `Name: value` with CRLF behind each.
    pub fn lines(mut self, lines: &str) -> Ask {
        for line in lines.split_terminator("\r\n") {
            let (name, value) = line.split_once(':').expect("a field line");
            self = self.field(name, value.trim());
        }
        self
    }

    /// Says that trailers are welcome.
    pub fn wants_trailers(self, http2: bool) -> Ask {
        let ask = self.field("TE", "trailers");
        if http2 { ask } else { ask.field("Connection", "TE") }
    }

    /// The head, and the body if it is there, as HTTP/1.1 has them.
    pub fn http1(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        match &self.body {
            Body::None => write_fields(&mut out, &self.fields),
            Body::Whole(bytes) => {
                write_fields(&mut out, &self.fields);
                out.extend_from_slice(format!("Content-Length: {}\r\n", bytes.len()).as_bytes());
            }
            Body::Later(Some(n)) => {
                write_fields(&mut out, &self.fields);
                out.extend_from_slice(format!("Content-Length: {n}\r\n").as_bytes());
            }
            Body::Later(None) => {
                write_fields(&mut out, &self.fields);
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        if let Body::Whole(bytes) = &self.body {
            out.extend_from_slice(bytes);
        }
        out
    }

    /// The head as the `h2` crate takes it.
    ///
    /// # Panics
    /// When HTTP/2 cannot say this.
    pub fn http2(&self, scheme: &str) -> http::Request<()> {
        let uri = http::Uri::builder().scheme(scheme).authority(self.host.as_str()).path_and_query(&*self.target);
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(uri.build().expect("a URI"))
            .version(http::Version::HTTP_2)
            .body(())
            .expect("a request");
        *request.headers_mut() = header_map(&self.fields);
        let length = match &self.body {
            Body::Whole(bytes) => Some(bytes.len()),
            Body::Later(length) => *length,
            Body::None => None,
        };
        if let Some(n) = length {
            request.headers_mut().insert("content-length", n.into());
        }
        if let Some(protocol) = self.protocol {
            request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
        }
        request
    }
}

/// An answer to be, whole.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its head, without what frames it.
    pub fields: Fields,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers; any make it chunked on HTTP/1.1.
    pub trailers: Fields,
    /// No declared length.
    pub streamed: bool,
    /// 1xx before it.
    pub interim: Vec<(u16, Fields)>,
    /// Declares this length, whatever the body's is.
    pub length: Option<usize>,
}

impl Reply {
    /// A body with its length declared.
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Reply {
        Reply { status, body: body.as_ref().to_vec(), ..Reply::default() }
    }

    /// One more field line.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Reply {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// One more trailer line.
    pub fn trailer(mut self, name: &str, value: &str) -> Reply {
        self.trailers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// A 1xx before the answer.
    pub fn interim(mut self, status: u16, name: &str, value: &str) -> Reply {
        self.interim.push((status, vec![(name.to_owned(), value.as_bytes().to_vec())]));
        self
    }

    /// Without a declared length.
    pub fn streamed(mut self) -> Reply {
        self.streamed = true;
        self
    }

    /// Declares this length.
    pub fn length(mut self, length: usize) -> Reply {
        self.length = Some(length);
        self
    }

    /// The length to declare.
    pub fn declared(&self) -> Option<usize> {
        if self.streamed || !self.trailers.is_empty() { None } else { Some(self.length.unwrap_or(self.body.len())) }
    }
}

/// Appends field lines.
pub fn write_fields(out: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// Fields as the `http` crate has them.
///
/// # Panics
/// When they are no fields.
pub fn header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        map.append(name, HeaderValue::from_bytes(value).expect("a field value"));
    }
    map
}

/// Fields as messages of the harness have them.
pub fn plain_fields(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
}

/// A response's head that came over HTTP/2.
pub fn response_message(response: &http::Response<()>) -> Message {
    let start = format!("HTTP/2 {}", response.status().as_u16());
    Message { start, fields: plain_fields(response.headers()), ..Message::default() }
}

/// A request's head that came over HTTP/2; `:authority` shows as `host`, the other pseudo-header fields by their names.
pub fn request_message<T>(request: &http::Request<T>) -> Message {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("", |t| t.as_str());
    let start = format!("{} {target} HTTP/2", request.method());
    let mut fields = Vec::new();
    if let Some(authority) = uri.authority() {
        fields.push(("host".to_owned(), authority.as_str().to_owned()));
    }
    if let Some(scheme) = uri.scheme_str() {
        fields.push((":scheme".to_owned(), scheme.to_owned()));
    }
    if let Some(protocol) = request.extensions().get::<h2::ext::Protocol>() {
        fields.push((":protocol".to_owned(), protocol.as_str().to_owned()));
    }
    fields.extend(plain_fields(request.headers()));
    Message { start, fields, ..Message::default() }
}

/// A body on its way over HTTP/1.1.
#[derive(Debug)]
pub struct Http1Body {
    ends: Ends,
    /// Of the declared length, or of the chunk.
    left: usize,
    done: bool,
    /// Behind the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Http1Body {
    /// One that ends like this.
    pub fn new(ends: Ends) -> Http1Body {
        let left = if let Ends::After(n) = ends { n } else { 0 };
        let done = ends == Ends::None || ends == Ends::After(0);
        Http1Body { ends, left, done, trailers: Vec::new() }
    }

    /// Whether all of it has come.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it came in chunks.
    pub fn is_chunked(&self) -> bool {
        self.ends == Ends::Chunked
    }

    /// Whether the connection ends with it.
    pub fn ends_connection(&self) -> bool {
        self.ends == Ends::AtClose
    }

    /// The next piece, or its end.
    ///
    /// # Errors
    /// The socket's, `UnexpectedEof` for a cut body, `InvalidData` for a broken one.
    pub fn next(&mut self, wire: &mut Wire) -> io::Result<Option<Vec<u8>>> {
        if self.done {
            return Ok(None);
        }
        if self.ends == Ends::Chunked && self.left == 0 && !self.next_chunk(wire)? {
            return Ok(None);
        }
        let max = if self.ends == Ends::AtClose { usize::MAX } else { self.left };
        let piece = wire.some(max)?;
        if piece.is_empty() {
            self.done = self.ends == Ends::AtClose;
            return if self.done { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if self.ends != Ends::AtClose {
            self.left -= piece.len();
            if self.left == 0 && self.ends == Ends::Chunked && wire.take(2)? != b"\r\n" {
                return Err(invalid("chunk data not followed by CRLF".to_owned()));
            }
            self.done = self.left == 0 && self.ends != Ends::Chunked;
        }
        Ok(Some(piece))
    }

    /// Reads the line before a chunk, and the trailers behind the last one; `false` then.
    fn next_chunk(&mut self, wire: &mut Wire) -> io::Result<bool> {
        self.left = chunk_size(&wire.line()?).map_err(invalid)?;
        if self.left > 0 {
            return Ok(true);
        }
        loop {
            let line = wire.line()?;
            if line.is_empty() {
                self.done = true;
                return Ok(false);
            }
            self.trailers.push(field(&line).map_err(invalid)?);
        }
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A piece of a chunked body on the wire; empty for nothing.
pub fn chunk(piece: &[u8]) -> Vec<u8> {
    if piece.is_empty() {
        return Vec::new();
    }
    let mut out = format!("{:x}\r\n", piece.len()).into_bytes();
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
    out
}

/// The end of a chunked body.
pub fn last_chunk(trailers: &Fields) -> Vec<u8> {
    let mut out = b"0\r\n".to_vec();
    write_fields(&mut out, trailers);
    out.extend_from_slice(b"\r\n");
    out
}
