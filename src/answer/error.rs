//! Error answers: one category, three forms, and the same word in `Proxy-Status` (FEATURES C9, J6).
use crate::message::{Category, Fault};
use edge_io::http1::reason_phrase;

/// `application/problem+json` (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// HTML.
pub const HTML: &str = "text/html; charset=utf-8";
/// Plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// Appends the body of an error answer in the form `accept` prefers and gives its `Content-Type`.
///
/// It always names the category and `request_id`; nothing in it comes from the request or the endpoint but that id.
pub fn render(fault: &Fault, accept: Option<&[u8]>, request_id: &str, out: &mut Vec<u8>) -> &'static str {
    let form = negotiate(accept);
    let page = Page {
        status: fault.status,
        title: title(fault.status),
        detail: explain(fault.category),
        category: fault.category.as_str(),
        request_id,
    };
    match form {
        HTML => page.html(out),
        TEXT => page.text(out),
        _ => page.json(out),
    }
    form
}

struct Page<'a> {
    status: u16,
    title: &'static str,
    detail: &'static str,
    category: &'static str,
    request_id: &'a str,
}

impl Page<'_> {
    fn json(&self, out: &mut Vec<u8>) {
        push(out, "{\"type\":\"about:blank\",\"title\":\"");
        push_json(out, self.title);
        push(out, "\",\"status\":");
        push_status(out, self.status);
        push(out, ",\"detail\":\"");
        push_json(out, self.detail);
        push(out, "\",\"category\":\"");
        push(out, self.category);
        push(out, "\",\"request_id\":\"");
        push_json(out, self.request_id);
        push(out, "\"}\n");
    }

    fn html(&self, out: &mut Vec<u8>) {
        push(out, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>");
        self.heading(out);
        push(out, "</title>\n<h1>");
        self.heading(out);
        push(out, "</h1>\n<p>");
        push_html(out, self.detail);
        push(out, "</p>\n<p>Category: <code>");
        push(out, self.category);
        push(out, "</code><br>\nRequest: <code>");
        push_html(out, self.request_id);
        push(out, "</code></p>\n</html>\n");
    }

    fn heading(&self, out: &mut Vec<u8>) {
        push_status(out, self.status);
        push(out, " ");
        push_html(out, self.title);
    }

    fn text(&self, out: &mut Vec<u8>) {
        push_status(out, self.status);
        push(out, " ");
        push(out, self.title);
        push(out, "\n");
        push(out, self.detail);
        push(out, "\ncategory: ");
        push(out, self.category);
        push(out, "\nrequest_id: ");
        // An id with a line end could add lines of its own.
        out.extend(self.request_id.bytes().map(|b| if b.is_ascii_control() { b'?' } else { b }));
        push(out, "\n");
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn push_status(out: &mut Vec<u8>, status: u16) {
    for place in [100, 10, 1] {
        out.push(b'0' + (status / place % 10) as u8);
    }
}

/// RFC 8259 section 7.
fn push_json(out: &mut Vec<u8>, text: &str) {
    for b in text.bytes() {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            0..=0x1f => {
                push(out, "\\u00");
                out.extend([b >> 4, b & 15].map(|d| if d < 10 { b'0' + d } else { b'a' + d - 10 }));
            }
            _ => out.push(b),
        }
    }
}

fn push_html(out: &mut Vec<u8>, text: &str) {
    for b in text.bytes() {
        match b {
            b'&' => push(out, "&amp;"),
            b'<' => push(out, "&lt;"),
            b'>' => push(out, "&gt;"),
            b'"' => push(out, "&quot;"),
            b'\'' => push(out, "&#39;"),
            _ => out.push(b),
        }
    }
}

fn title(status: u16) -> &'static str {
    match reason_phrase(status) {
        "" => "Error",
        phrase => phrase,
    }
}

/// What each form is asked as; the first wins a tie.
const FORMS: [(&str, &[&str]); 3] = [
    (PROBLEM_JSON, &["application/problem+json", "application/json"]),
    (HTML, &["text/html", "application/xhtml+xml"]),
    (TEXT, &["text/plain"]),
];

/// RFC 9110 section 12.5.1: the form with the highest weight, of those the one named most precisely. Nothing acceptable
/// is no reason to leave the client without a body: then JSON.
fn negotiate(accept: Option<&[u8]>) -> &'static str {
    let Some(accept) = accept else { return PROBLEM_JSON };
    let mut best = ((0, 0), PROBLEM_JSON);
    for (form, types) in FORMS {
        let weight = types.iter().map(|media| weight(accept, media)).max().unwrap_or_default();
        if weight.0 > 0 && weight > best.0 {
            best = (weight, form);
        }
    }
    best.1
}

/// Weight in thousandths and precision (3 type and subtype, 2 type, 1 anything) that `accept` gives a media type.
fn weight(accept: &[u8], media: &str) -> (u16, u8) {
    let mut found = (0, 0);
    for range in accept.split(|b| *b == b',') {
        let mut pieces = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let precision = precision(pieces.next().unwrap_or_default(), media);
        // The most precise range decides, whatever its weight.
        if precision > found.1 {
            found = (pieces.find_map(q_value).unwrap_or(1000), precision);
        }
    }
    found
}

fn precision(range: &[u8], media: &str) -> u8 {
    let kind = media.split('/').next().unwrap_or_default();
    if range.eq_ignore_ascii_case(media.as_bytes()) {
        3
    } else if range.strip_suffix(b"/*").is_some_and(|r| r.eq_ignore_ascii_case(kind.as_bytes())) {
        2
    } else if range == b"*/*" {
        1
    } else {
        0
    }
}

/// RFC 9110 section 12.4.2, in thousandths; a malformed weight counts as 0.
fn q_value(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let [whole @ (b'0' | b'1'), rest @ ..] = value else { return Some(0) };
    let digits = match rest {
        [] => &[],
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return Some(0),
    };
    let places = digits.iter().zip([100, 10, 1]);
    let fraction: u16 = places.map(|(d, place)| u16::from(d - b'0') * place).sum();
    Some((u16::from(whole - b'0') * 1000 + fraction).min(1000))
}

/// What a client may know of a category.
const fn explain(category: Category) -> &'static str {
    match category {
        Category::NoRoute => "Nothing is served at this address.",
        Category::MethodNotAllowed => "This address does not take the request's method.",
        Category::BadRequest => "The request cannot be understood.",
        Category::HeadTooLarge => "The request's head is too large.",
        Category::BodyTooLarge => "The request's body is too large.",
        Category::RequestTimeout => "The request did not arrive in time.",
        Category::BodyTimeout => "The request's body did not arrive in time.",
        Category::WriteTimeout => "The answer was not read in time.",
        Category::ClientAbort => "The client closed the connection.",
        Category::UpstreamConnectFailed => "The server behind this address cannot be reached.",
        Category::UpstreamTimeout => "The server behind this address did not answer in time.",
        Category::UpstreamReset => "The server behind this address broke off its answer.",
        Category::UpstreamTls => "No secure connection to the server behind this address could be made.",
        Category::UpstreamProtocol => "The server behind this address sent an invalid answer.",
        Category::NoHealthyEndpoint => "No server behind this address is available.",
        Category::CircuitOpen => "The server behind this address failed too often; it is given time to recover.",
        Category::Overloaded => "Too many requests are being served at the moment.",
        Category::RateLimited => "Too many requests came from this client.",
        Category::Unauthorized => "The request needs valid credentials.",
        Category::Forbidden => "This client may not do this.",
        Category::MtlsRequired => "This address is for clients with a certificate.",
        Category::Misdirected => "This connection is not for this host; open another one.",
        Category::TooEarly => "The request came too early to be safe from repetition; send it again.",
        Category::Draining => "The server is shutting down.",
        Category::Panic => "The server failed while it handled the request.",
    }
}

/// The value of `Proxy-Status` (RFC 9209): an error type of section 2.3, and the category as `details`.
pub const fn proxy_status(fault: &Fault) -> &'static str {
    macro_rules! value {
        ($error:literal, $category:literal) => {
            concat!("edge; error=", $error, "; details=\"", $category, "\"")
        };
    }
    match fault.category {
        Category::NoRoute => value!("destination_not_found", "no_route"),
        Category::MethodNotAllowed => value!("http_request_error", "method_not_allowed"),
        Category::BadRequest => value!("http_request_error", "bad_request"),
        Category::HeadTooLarge => value!("http_request_error", "head_too_large"),
        Category::BodyTooLarge => value!("http_request_error", "body_too_large"),
        Category::RequestTimeout => value!("http_request_error", "request_timeout"),
        Category::BodyTimeout => value!("http_request_error", "body_timeout"),
        Category::WriteTimeout => value!("http_request_error", "write_timeout"),
        Category::ClientAbort => value!("http_request_error", "client_abort"),
        Category::UpstreamConnectFailed => value!("connection_refused", "upstream_connect_failed"),
        // Nothing was sent yet: the connection itself timed out.
        Category::UpstreamTimeout if fault.unsent => value!("connection_timeout", "upstream_timeout"),
        Category::UpstreamTimeout => value!("http_response_timeout", "upstream_timeout"),
        Category::UpstreamReset => value!("connection_terminated", "upstream_reset"),
        Category::UpstreamTls => value!("tls_protocol_error", "upstream_tls"),
        Category::UpstreamProtocol => value!("http_protocol_error", "upstream_protocol"),
        Category::NoHealthyEndpoint => value!("destination_unavailable", "no_healthy_endpoint"),
        Category::CircuitOpen => value!("destination_unavailable", "circuit_open"),
        Category::Overloaded => value!("connection_limit_reached", "overloaded"),
        Category::RateLimited => value!("http_request_denied", "rate_limited"),
        Category::Unauthorized => value!("http_request_denied", "unauthorized"),
        Category::Forbidden => value!("http_request_denied", "forbidden"),
        Category::MtlsRequired => value!("http_request_denied", "mtls_required"),
        Category::Misdirected => value!("http_request_error", "misdirected"),
        Category::TooEarly => value!("http_request_denied", "too_early"),
        Category::Draining => value!("proxy_internal_response", "draining"),
        Category::Panic => value!("proxy_internal_error", "panic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Side;

    fn body(fault: &Fault, accept: Option<&str>, id: &str) -> (&'static str, String) {
        let mut out = Vec::new();
        let content_type = render(fault, accept.map(str::as_bytes), id, &mut out);
        (content_type, String::from_utf8(out).unwrap())
    }

    fn fault(category: Category) -> Fault {
        Fault::new(category, Side::Upstream, "not for the client")
    }

    #[test]
    fn c9_every_category_in_every_form() {
        for category in Category::ALL {
            for (accept, form) in [(None, PROBLEM_JSON), (Some("text/html"), HTML), (Some("text/plain"), TEXT)] {
                let (content_type, body) = body(&fault(category), accept, "id-7");
                assert_eq!(content_type, form);
                let body = body.replace("&#39;", "'");
                for part in [category.as_str(), "id-7", &category.status().to_string(), explain(category)] {
                    assert!(body.contains(part), "{part} is not in {body}");
                }
                assert!(!body.contains("not for the client") && body.len() < 1024, "{body}");
            }
        }
    }

    #[test]
    fn json_is_json_and_carries_what_rfc_9457_names() {
        let (_, body) = body(&fault(Category::UpstreamReset).with_status(503), None, "a\"b\\c\n<\u{1}é");
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["type"], "about:blank");
        assert_eq!(value["status"], 503);
        assert_eq!(value["title"], "Service Unavailable");
        assert_eq!(value["category"], "upstream_reset");
        assert_eq!(value["request_id"], "a\"b\\c\n<\u{1}é");
    }

    #[test]
    fn html_and_text_are_escaped() {
        let id = "<script>&\"'\r\n";
        let (_, html) = body(&fault(Category::NoRoute), Some("text/html"), id);
        assert!(html.contains("&lt;script&gt;&amp;&quot;&#39;") && !html.contains("<script>"), "{html}");
        let (_, text) = body(&fault(Category::NoRoute), Some("text/plain"), id);
        assert!(text.ends_with("request_id: <script>&\"'??\n"), "{text}");
    }

    #[test]
    fn forms_are_chosen_by_accept() {
        for (accept, expected) in [
            ("*/*", PROBLEM_JSON),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
            ("text/html, */*", HTML),
            ("application/json", PROBLEM_JSON),
            ("Text/Plain", TEXT),
            ("text/*", HTML),
            ("text/*, text/html;q=0.1", TEXT),
            ("text/plain;q=0.5, text/html;q=0.4", TEXT),
            ("text/html;q=0.3, application/problem+json;q=0.301", PROBLEM_JSON),
            ("text/html;q=0, */*", PROBLEM_JSON),
            ("application/json;q=0, application/problem+json;q=0, text/plain;q=0.1", TEXT),
            ("text/plain;format=flowed;q=0.2, text/html ; q=0.1", TEXT),
            ("text/html;q=2, text/plain;q=0.1", TEXT),
            ("text/html;q=0.1234, text/plain;q=0.1", TEXT),
            ("image/png", PROBLEM_JSON),
            ("", PROBLEM_JSON),
            (",;q=,;;", PROBLEM_JSON),
        ] {
            assert_eq!(negotiate(Some(accept.as_bytes())), expected, "{accept:?}");
        }
    }

    #[test]
    fn j6_each_category_has_its_proxy_status() {
        let expected: [&str; Category::ALL.len()] = [
            "destination_not_found",
            "http_request_error",
            "http_request_error",
            "http_request_error",
            "http_request_error",
            "http_request_error",
            "http_request_error",
            "http_request_error",
            "http_request_error",
            "connection_refused",
            "http_response_timeout",
            "connection_terminated",
            "tls_protocol_error",
            "http_protocol_error",
            "destination_unavailable",
            "destination_unavailable",
            "connection_limit_reached",
            "http_request_denied",
            "http_request_denied",
            "http_request_denied",
            "http_request_denied",
            "http_request_error",
            "http_request_denied",
            "proxy_internal_response",
            "proxy_internal_error",
        ];
        for (category, error) in Category::ALL.into_iter().zip(expected) {
            let value = proxy_status(&fault(category));
            assert_eq!(value, format!("edge; error={error}; details=\"{}\"", category.as_str()));
        }
        let unsent = fault(Category::UpstreamTimeout).unsent();
        assert_eq!(proxy_status(&unsent), "edge; error=connection_timeout; details=\"upstream_timeout\"");
    }
}
