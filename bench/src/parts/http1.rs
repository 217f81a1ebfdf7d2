//! HTTP/1.1: heads parsed, understood and written, and chunked bodies taken apart.
use crate::scenario::{Scenario, Work};
use edge_io::{
    head::{Head, Method},
    http1::{
        BodyDecoder, Framing, HeadParser, Limits, request_semantics, response_semantics, write_content_length,
        write_field, write_request_line, write_status_line,
    },
};
use std::hint::black_box;

const SMALL: &str = "GET /1k HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const BROWSER: &str = "GET /products/42?ref=home HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/\r\nCookie: session=6f1c2b9a8d7e4f30; theme=dark; consent=1\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";
const SMALL_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 21 Oct 2013 20:13:21 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 5120\r\nConnection: keep-alive\r\n\
    Last-Modified: Sun, 20 Oct 2013 10:00:00 GMT\r\nETag: \"5264f0c0-1400\"\r\nCache-Control: max-age=3600, public\r\n\
    Vary: Accept-Encoding\r\nX-Frame-Options: DENY\r\nAccept-Ranges: bytes\r\n\r\n";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (size, request, answer) in [("small", SMALL, SMALL_ANSWER), ("browser", BROWSER, ANSWER)] {
        let (ask, reply) = (format!("h1/parse request/{size}"), format!("h1/parse response/{size}"));
        all.push(Scenario::new(&*ask, move || parse(HeadParser::request(), request)));
        all.push(Scenario::beside(&ask, "httparse", move || httparse_request(request)));
        all.push(Scenario::new(format!("h1/understand request/{size}"), move || understand_request(request)));
        all.push(Scenario::new(&*reply, move || parse(HeadParser::response(), answer)));
        all.push(Scenario::beside(&reply, "httparse", move || httparse_response(answer)));
        all.push(Scenario::new(format!("h1/understand response/{size}"), move || understand_response(answer)));
        all.push(Scenario::new(format!("h1/write request/{size}"), move || write_request(request)));
        all.push(Scenario::new(format!("h1/write response/{size}"), move || write_response(answer)));
    }
    all.push(Scenario::new("h1/chunked body/16 KiB in 16", chunked));
    all
}

fn parse(mut parser: HeadParser, bytes: &'static str) -> Work {
    let (limits, mut head) = (Limits::default(), Head::new());
    Box::new(move || {
        parser.reset();
        let taken = parser.parse(black_box(bytes.as_bytes()), &limits, &mut head);
        assert_eq!(taken, Ok(Some(bytes.len())));
        black_box(&head);
    })
}

fn parsed(mut parser: HeadParser, bytes: &str) -> Head {
    let mut head = Head::new();
    assert_eq!(parser.parse(bytes.as_bytes(), &Limits::default(), &mut head), Ok(Some(bytes.len())));
    head
}

fn understand_request(bytes: &str) -> Work {
    let head = parsed(HeadParser::request(), bytes);
    Box::new(move || assert!(black_box(request_semantics(black_box(&head))).is_ok()))
}

fn understand_response(bytes: &str) -> Work {
    let head = parsed(HeadParser::response(), bytes);
    Box::new(move || assert!(black_box(response_semantics(black_box(&head), Method::Get, false)).is_ok()))
}

fn write_request(bytes: &str) -> Work {
    let (head, mut out) = (parsed(HeadParser::request(), bytes), Vec::with_capacity(4096));
    Box::new(move || {
        out.clear();
        let head = black_box(&head);
        write_request_line(&mut out, head.method_bytes(), head.path_and_query());
        head.fields().for_each(|f| write_field(&mut out, f.name, f.value));
        out.extend_from_slice(b"\r\n");
        black_box(&out);
    })
}

fn write_response(bytes: &str) -> Work {
    let (head, mut out) = (parsed(HeadParser::response(), bytes), Vec::with_capacity(4096));
    Box::new(move || {
        out.clear();
        let head = black_box(&head);
        write_status_line(&mut out, head.status(), head.reason());
        head.fields().for_each(|f| write_field(&mut out, f.name, f.value));
        write_content_length(&mut out, black_box(5120));
        out.extend_from_slice(b"\r\n");
        black_box(&out);
    })
}

fn chunked() -> Work {
    let body = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(16) + "0\r\n\r\n";
    let (limits, mut trailers) = (Limits::default(), Head::new());
    Box::new(move || {
        let (mut decoder, mut rest) = (BodyDecoder::new(Framing::Chunked), black_box(body.as_bytes()));
        while !decoder.is_done() {
            let step = decoder.decode(rest, &limits, &mut trailers).expect("a good body");
            rest = &rest[step.consumed..];
        }
        assert!(rest.is_empty());
    })
}

fn httparse_request(bytes: &'static str) -> Work {
    Box::new(move || {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        assert_eq!(request.parse(black_box(bytes.as_bytes())), Ok(httparse::Status::Complete(bytes.len())));
        black_box(&request);
    })
}

fn httparse_response(bytes: &'static str) -> Work {
    Box::new(move || {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut fields);
        assert_eq!(response.parse(black_box(bytes.as_bytes())), Ok(httparse::Status::Complete(bytes.len())));
        black_box(&response);
    })
}
