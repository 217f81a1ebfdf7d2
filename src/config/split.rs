//! Cuts a TOML document into its `[[route]]` tables and the rest, so that each can be parsed on its own.
//!
//! A parsed document takes about 100 times the memory of its text; with tens of thousands of routes, parsing one at a
//! time keeps the edge small while it reloads. The cut changes nothing in the meaning: a `[[route]]` table ends where
//! a header begins that is neither `[route.…]` nor `[[route.…]]`.
use std::ops::Range;

/// A document cut up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// What belongs to no route, in order.
    pub rest: Vec<Range<usize>>,
    /// One range for each `[[route]]`, header included.
    pub routes: Vec<Range<usize>>,
}

/// Cuts `text`.
pub(crate) fn split(text: &str) -> Split {
    let mut out = Split { rest: Vec::new(), routes: Vec::new() };
    let (mut from, mut in_route) = (0, false);
    let mut end_piece = |from: usize, to: usize, in_route: bool| match in_route {
        true => out.routes.push(from..to),
        false if from < to => out.rest.push(from..to),
        false => {}
    };
    for (at, header) in headers(text) {
        let stays = if in_route { header == Header::OfRoute } else { header != Header::Route };
        if !stays {
            end_piece(from, at, in_route);
            (from, in_route) = (at, header == Header::Route);
        }
    }
    end_piece(from, text.len(), in_route);
    out
}

/// What a header line opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    /// `[[route]]`.
    Route,
    /// `[route.…]` or `[[route.…]]`.
    OfRoute,
    /// Anything else.
    Other,
}

impl Header {
    fn of(line: &[u8]) -> Header {
        let inner = line.trim_ascii_start();
        let double = inner.starts_with(b"[[");
        let inner = inner.get(if double { 2 } else { 1 }..).unwrap_or(b"").trim_ascii_start();
        let Some(after) = inner.strip_prefix(b"route") else { return Header::Other };
        match after.trim_ascii_start() {
            [b'.', ..] => Header::OfRoute,
            [b']', b']', ..] if double => Header::Route,
            _ => Header::Other,
        }
    }
}

/// Header lines of the document: where each begins, and what it opens.
fn headers(text: &str) -> impl Iterator<Item = (usize, Header)> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            let line = bytes.get(start..line_end(bytes, start)).unwrap_or(b"");
            if depth == 0 && line.trim_ascii_start().starts_with(b"[") {
                at = start + line.len() + 1;
                return Some((start, Header::of(line)));
            }
            at = skip_line(bytes, start, &mut depth);
        }
        None
    })
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes.get(from..).and_then(|b| b.iter().position(|c| *c == b'\n')).map_or(bytes.len(), |n| from + n)
}

/// Passes over the line at `at` with the strings that span lines, counting open brackets; answers the next line.
fn skip_line(bytes: &[u8], mut at: usize, depth: &mut usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'\n' => return at + 1,
            b'#' => line_end(bytes, at),
            b'"' | b'\'' => skip_string(bytes, at, *byte),
            b'[' | b'{' => {
                *depth += 1;
                at + 1
            }
            b']' | b'}' => {
                *depth = depth.saturating_sub(1);
                at + 1
            }
            _ => at + 1,
        };
    }
    at
}

/// Passes over the string that `quote` opens at `at`. One without an end ends with its line, or with the text.
fn skip_string(bytes: &[u8], at: usize, quote: u8) -> usize {
    let long = bytes.get(at..at + 3).is_some_and(|b| b.iter().all(|c| *c == quote));
    let mut at = at + if long { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match *byte {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !long => return at,
            c if c == quote && !long => return at + 1,
            c if c == quote && bytes.get(at..at + 3).is_some_and(|b| b.iter().all(|c| *c == quote)) => {
                // up to two quotes may stand before the closing three (TOML 1.1, multi-line strings)
                let run = bytes.get(at..).unwrap_or(b"").iter().take_while(|c| **c == quote).count();
                return at + run.min(5);
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> (Vec<&str>, Vec<&str>) {
        let cut = split(text);
        let take = |ranges: &[Range<usize>]| ranges.iter().map(|r| &text[r.clone()]).collect::<Vec<_>>();
        (take(&cut.rest), take(&cut.routes))
    }

    #[test]
    fn routes_with_their_sub_tables_are_cut_out() {
        let text = "a = 1\n[[route]]\nb = 2\n[route.match]\nc = 3\n [[ route . x ]] # y\n[[route]]\n[pool.x]\nd = 4\n";
        let (rest, routes) = pieces(text);
        assert_eq!(rest, ["a = 1\n", "[pool.x]\nd = 4\n"]);
        assert_eq!(routes, ["[[route]]\nb = 2\n[route.match]\nc = 3\n [[ route . x ]] # y\n", "[[route]]\n"]);
    }

    #[test]
    fn what_only_looks_like_a_header_is_not_one() {
        for text in [
            "a = \"\"\"\n[[route]]\n\"\"\"\n",
            "a = '''\n[[route]]\n'''\n",
            "a = [\n[[route]]\n]\n",
            "a = [ # [ '''\n[\"[\"],\n[[route]]\n]\n",
            "a = \"\"\"\\\"\"\"\n[[route]]\n\"\"\"\"\"\n",
            "[[routes]]\n[[router.x]]\n[route]\n",
        ] {
            assert_eq!(pieces(text), (vec![text], vec![]), "{text}");
        }
    }

    #[test]
    fn an_unfinished_string_ends_with_its_line() {
        assert_eq!(pieces("a = \"x\n[[route]]\n").1, ["[[route]]\n"]);
    }
}
