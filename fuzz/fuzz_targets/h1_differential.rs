//! What we accept, a lenient parser reads the same way, or not at all: `httparse` heads and chunk sizes, and the request
//! decoder of `monoio-http` with its bodies. A lenient parser that waits for more bytes has read something else.
#![no_main]
#[path = "../../io/tests/http1/drive.rs"]
#[allow(dead_code)]
mod drive;

use bytes::{Bytes, BytesMut};
use drive::{Message, Wire, requests};
use edge_io::{
    head::{Head, Method},
    http1::{BodyDecoder, Framing, HeadParser, Limits, request_semantics, response_semantics},
};
use libfuzzer_sys::fuzz_target;
use monoio_codec::{Decoded, Decoder};
use monoio_http::{
    common::request::Request,
    h1::{
        codec::decoder::{DirectWrapper, GenericHeadDecoder, PayloadDecoder, RequestHeadDecoder},
        payload::Payload,
    },
};

type LenientHead = GenericHeadDecoder<Request<Payload>, RequestHeadDecoder, DirectWrapper>;

fuzz_target!(|bytes: &[u8]| {
    request_head(bytes);
    response_head(bytes);
    request_messages(bytes);
});

/// Fields as `httparse` sees them.
fn same_fields(head: &Head, lenient: &[httparse::Header<'_>]) {
    assert_eq!(head.len(), lenient.len());
    for (ours, theirs) in head.fields().zip(lenient) {
        assert_eq!((ours.name, ours.value), (theirs.name.as_bytes(), theirs.value));
    }
}

fn request_head(bytes: &[u8]) {
    let mut head = Head::new();
    let Ok(Some(n)) = HeadParser::request().parse(bytes, &Limits::default(), &mut head) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut lenient = httparse::Request::new(&mut fields);
    let Ok(status) = lenient.parse(bytes) else { return };
    assert_eq!(status, httparse::Status::Complete(n));
    assert_eq!(lenient.method.map(str::as_bytes), Some(head.method_bytes()));
    assert_eq!(lenient.version, Some(head.version() as u8));
    same_fields(&head, lenient.headers);
    let target = lenient.path.unwrap_or_default();
    // CONNECT has no path, and is refused.
    if target.starts_with('/') && head.method() != Method::Connect {
        assert_eq!(target.as_bytes(), head.path_and_query());
    }
    if let Ok(meaning) = request_semantics(&head) {
        body(&bytes[n..], meaning.framing);
    }
}

fn response_head(bytes: &[u8]) {
    let mut head = Head::new();
    let Ok(Some(n)) = HeadParser::response().parse(bytes, &Limits::default(), &mut head) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut lenient = httparse::Response::new(&mut fields);
    let Ok(status) = lenient.parse(bytes) else { return };
    assert_eq!(status, httparse::Status::Complete(n));
    assert_eq!(lenient.code, Some(head.status()));
    assert_eq!(lenient.version, Some(head.version() as u8));
    if head.reason().is_ascii() {
        assert_eq!(lenient.reason.map(str::as_bytes), Some(head.reason()));
    }
    same_fields(&head, lenient.headers);
    if let Ok(meaning) = response_semantics(&head, Method::Get, false) {
        body(&bytes[n..], meaning.framing);
    }
}

/// Chunks, as `httparse` reads their sizes.
fn body(bytes: &[u8], framing: Framing) {
    let (mut decoder, mut trailers) = (BodyDecoder::new(framing), Head::new());
    let (mut data, mut end) = (Vec::new(), 0);
    while framing == Framing::Chunked {
        let Ok(step) = decoder.decode(&bytes[end..], &Limits::default(), &mut trailers) else { return };
        data.extend_from_slice(&bytes[end..][step.data]);
        end += step.consumed;
        if step.done {
            break;
        }
        if end == bytes.len() {
            return;
        }
    }
    let (mut lenient_data, mut at) = (Vec::new(), 0);
    while framing == Framing::Chunked {
        let Ok(status) = httparse::parse_chunk_size(&bytes[at..]) else { return };
        let httparse::Status::Complete((n, size)) = status else { panic!("waits for a chunk size") };
        at += n;
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let Ok(status) = httparse::parse_headers(&bytes[at..], &mut fields) else { return };
            let httparse::Status::Complete((n, _)) = status else { panic!("waits for trailers") };
            assert_eq!((at + n, &lenient_data), (end, &data));
            return;
        }
        let size = usize::try_from(size).expect("a chunk that fits memory");
        lenient_data.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
    }
}

/// All requests of a connection with their bodies, as `monoio-http` reads them.
fn request_messages(bytes: &[u8]) {
    let mut heads = Vec::new();
    let outcome =
        requests(Wire::new(bytes, &mut || usize::MAX), &Limits::default(), &mut |head, _| heads.push(head.clone()));
    let mut source = BytesMut::from(bytes);
    for (message, head) in outcome.messages.iter().zip(&heads) {
        if !same_message(message, head, &mut source) {
            return;
        }
    }
    assert_eq!(source.len(), if outcome.fault.is_some() { source.len() } else { outcome.left });
}

/// False: the lenient decoder refuses.
fn same_message(message: &Message, head: &Head, source: &mut BytesMut) -> bool {
    let decoded = LenientHead::default().decode(source);
    let (lenient, payload) = match decoded {
        Ok(Decoded::Some(decoded)) => decoded,
        Ok(_) => panic!("waits for a head"),
        Err(_) => return false,
    };
    assert_eq!(lenient.method.as_str().as_bytes(), head.method_bytes());
    assert_eq!(lenient.headers.len(), head.len());
    for name in lenient.headers.keys() {
        let ours = head.fields().filter(|f| f.name.eq_ignore_ascii_case(name.as_str().as_bytes())).map(|f| f.value);
        assert!(lenient.headers.get_all(name).iter().map(|v| v.as_bytes()).eq(ours), "{name}");
    }
    let body = match payload {
        PayloadDecoder::None => Some(Vec::new()),
        PayloadDecoder::Fixed(mut decoder) => match decoder.decode(source) {
            Ok(Decoded::Some(data)) => Some(data.to_vec()),
            Ok(_) => panic!("waits for a body"),
            Err(_) => None,
        },
        PayloadDecoder::Streamed(mut decoder) => chunks(&mut decoder, source),
    };
    match body {
        Some(body) => {
            assert_eq!(body, message.body);
            true
        }
        None => false,
    }
}

fn chunks(decoder: &mut impl Decoder<Item = Option<Bytes>>, source: &mut BytesMut) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        match decoder.decode(source) {
            Ok(Decoded::Some(Some(data))) => body.extend_from_slice(&data),
            Ok(Decoded::Some(None)) => return Some(body),
            Ok(_) => panic!("waits for a chunk"),
            Err(_) => return None,
        }
    }
}
