//! Request paths: dot segments removed before anything looks at them, nothing else decoded.

use super::Problem;

/// The longest path a configuration may name, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// What [`normalize`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// The path has no dot segment: use it as received. The buffer was not touched.
    Unchanged,
    /// The path had dot segments: the buffer holds the path to use.
    Changed,
    /// The path holds a NUL, raw or as `%00`: answer 400.
    Nul,
}

/// Brings a path to one spelling (RFC 3986 sections 6.2.2.2 and 6.2.2.3), so that routing and forwarding see one and
/// the same: escapes of unreserved characters (`%61`, `%2e`) are decoded, dot segments removed. Keeps empty segments and
/// every other escape, `%2F` above all. `path` is without query.
///
/// `out` is cleared and filled only for [`Normalized::Changed`]. A path that does not start with `/` (`*`) stays.
pub fn normalize(path: &[u8], out: &mut Vec<u8>) -> Normalized {
    // Only a '.' or a '%' can begin what this function acts on, so that one vectorised scan decides most paths.
    let (mut dotted, mut escaped) = (None, None);
    for at in memchr::memchr3_iter(b'.', b'%', 0, path) {
        if is_nul(path, at) {
            return Normalized::Nul;
        }
        if escaped.is_none() && unreserved(&path[at..]).is_some() {
            escaped = Some(at);
        }
        if dotted.is_none() && at > 0 && path[at - 1] == b'/' && dots(segment(path, at)).is_some() {
            dotted = Some(at);
        }
    }
    if path.first() != Some(&b'/') {
        return Normalized::Unchanged;
    }
    match (escaped, dotted) {
        (None, None) => return Normalized::Unchanged,
        (None, Some(at)) => remove_dot_segments(path, at, out),
        (Some(at), None) => decode_unreserved(path, at, out),
        (Some(at), Some(dotted)) if dotted < at => {
            // What stands before the first escape is the same in both spellings.
            let mut decoded = Vec::with_capacity(path.len());
            decode_unreserved(path, at, &mut decoded);
            remove_dot_segments(&decoded, dotted, out);
        }
        (Some(at), Some(_)) => {
            let mut decoded = Vec::with_capacity(path.len());
            decode_unreserved(path, at, &mut decoded);
            match first_dot_segment(&decoded) {
                Some(dotted) => remove_dot_segments(&decoded, dotted, out),
                None => *out = decoded,
            }
        }
    }
    Normalized::Changed
}

/// The character that an escape at the start of `bytes` stands for, if it needs none (RFC 3986 section 2.3).
fn unreserved(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let byte = (digit(high)? << 4 | digit(low)?) as u8;
    (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')).then_some(byte)
}

/// `first` is where the first such escape stands.
fn decode_unreserved(path: &[u8], first: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&path[..first]);
    let mut rest = &path[first..];
    while let [byte, after @ ..] = rest {
        match unreserved(rest) {
            Some(decoded) => {
                out.push(decoded);
                rest = &rest[3..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

fn first_dot_segment(path: &[u8]) -> Option<usize> {
    memchr::memchr2_iter(b'.', b'%', path)
        .find(|at| *at > 0 && path[at - 1] == b'/' && dots(segment(path, *at)).is_some())
}

/// Whether `path` (or a whole request target's path) holds a segment `.` or `..` in any spelling.
pub fn has_dot_segment(path: &[u8]) -> bool {
    first_dot_segment(path).is_some()
}

fn is_nul(path: &[u8], at: usize) -> bool {
    path[at] == 0 || path[at..].starts_with(b"%00")
}

/// The bytes from `at` up to the next `/`.
fn segment(path: &[u8], at: usize) -> &[u8] {
    let rest = &path[at..];
    // A dot segment is at most "%2e%2e": no need to look further.
    let end = rest.iter().take(7).position(|b| *b == b'/').unwrap_or(rest.len());
    &rest[..end]
}

/// 1 for `.`, 2 for `..`, in any spelling.
fn dots(mut segment: &[u8]) -> Option<u8> {
    let mut count = 0;
    while !segment.is_empty() {
        segment = match segment {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        count += 1;
    }
    (1..=2).contains(&count).then_some(count)
}

/// `first` is where the first dot segment begins; what stands before it is copied as it is.
fn remove_dot_segments(path: &[u8], first: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&path[..first - 1]);
    let mut rest = &path[first - 1..];
    // Invariant: `rest` is empty or starts with '/'.
    while let [b'/', after @ ..] = rest {
        let end = memchr::memchr(b'/', after).unwrap_or(after.len());
        let (segment, next) = after.split_at(end);
        match dots(segment) {
            None => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
            Some(count) => {
                if count == 2 {
                    out.truncate(memchr::memrchr(b'/', out).unwrap_or(0));
                }
                if next.is_empty() {
                    out.push(b'/');
                }
            }
        }
        rest = next;
    }
}

/// Checks that a path in a configuration is one that a normalized request can have.
pub fn literal(text: &str) -> Result<&str, Problem> {
    if !text.starts_with('/') {
        return Err(Problem::new(format!("{text:?} does not begin with `/`"), format!("write \"/{text}\"")));
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(Problem::new(format!("{} bytes; a path has at most {PATH_BYTES_MAX}", text.len()), ""));
    }
    if let Some(bad) = text.chars().find(|c| matches!(c, '?' | '#') || !c.is_ascii_graphic()) {
        let help = match bad {
            '?' => "the query has conditions of its own: `query = […]`".to_string(),
            '#' => "a fragment is never sent to a server".to_string(),
            c => format!("requests carry it percent-encoded: {}", percent_encoded(c)),
        };
        return Err(Problem::new(format!("{text:?}: {bad:?} never stands in a request's path"), help));
    }
    let mut out = Vec::new();
    match normalize(text.as_bytes(), &mut out) {
        Normalized::Unchanged => Ok(text),
        Normalized::Changed => Err(Problem::new(
            format!("{text:?} has dot segments or needless escapes, which requests lose before routing"),
            format!("write {:?}", String::from_utf8_lossy(&out)),
        )),
        Normalized::Nul => Err(Problem::new(format!("{text:?} has a NUL, which no request may carry"), "")),
    }
}

fn percent_encoded(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().map(|b| format!("%{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(path: &str) -> (Normalized, String) {
        let mut out = b"untouched".to_vec();
        let found = normalize(path.as_bytes(), &mut out);
        (found, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn dot_segments_in_every_spelling() {
        for (path, expected) in [
            ("/./", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../", "/"),
            ("/a/b/c/./../../g", "/a/g"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a//../b", "/a/b"),
            ("//a/./b", "//a/b"),
            ("/a/../%2F/b", "/%2F/b"),
        ] {
            assert_eq!(run(path), (Normalized::Changed, expected.to_string()), "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_copied() {
        for path in
            ["/", "/a/b", "/a.b/.well-known", "/...", "/a/..b", "/a%2F..", "//", "*", "/a/.%2", "/%2F%3a%C3%A9", "/%zz"]
        {
            assert_eq!(run(path), (Normalized::Unchanged, "untouched".into()), "{path}");
        }
    }

    #[test]
    fn escapes_that_nothing_needs_are_decoded() {
        for (path, expected) in [
            ("/%73ecret", "/secret"),
            ("/%2e%2e%2e", "/..."),
            ("/a%2Etxt%2F", "/a.txt%2F"),
            ("/a/./%7euser%2f", "/a/~user%2f"),
            ("/%61/%2e%2E/b", "/b"),
            ("/%2561", "/%2561"),
        ] {
            let (found, got) = run(path);
            let got = if found == Normalized::Unchanged { path.to_owned() } else { got };
            assert_eq!(got, expected, "{path}");
        }
    }

    #[test]
    fn nul_is_refused_wherever_it_stands() {
        for path in ["/%00", "/a/../b%00", "/a\0b", "/./%00/.."] {
            assert_eq!(run(path).0, Normalized::Nul, "{path:?}");
        }
    }

    /// RFC 3986 section 5.2.4 as segments on a stack, over a path whose dots are all plain.
    fn reference(path: &str) -> String {
        let mut stack: Vec<&str> = Vec::new();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for (i, segment) in segments.iter().enumerate() {
            let last = i + 1 == segments.len();
            match *segment {
                "." | ".." => {
                    if *segment == ".." {
                        stack.pop();
                    }
                    if last {
                        stack.push("");
                    }
                }
                s => stack.push(s),
            }
        }
        format!("/{}", stack.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equals_the_reference(segments in prop::collection::vec(prop::sample::select(
            vec!["a", "b.c", ".", "..", "", "%2e", "%2E.", ".%2e", "...", "%2F", ".a"]), 1..8)) {
            let path: String = segments.iter().map(|s| format!("/{s}")).collect();
            let plain: String = segments.iter().map(|s| format!("/{}", s.replace("%2e", ".").replace("%2E", "."))).collect();
            let mut out = Vec::new();
            let got = match normalize(path.as_bytes(), &mut out) {
                Normalized::Changed => String::from_utf8(out.clone()).unwrap(),
                _ => path.clone(),
            };
            prop_assert_eq!(&got, &reference(&plain));
            prop_assert_eq!(normalize(got.as_bytes(), &mut out), Normalized::Unchanged);
            prop_assert!(!has_dot_segment(got.as_bytes()));
        }
    }
}
