//! The floors of the house: which room may name which, where `unsafe` may stand, and that every file says what it holds.
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rooms of `src/` from the ground up. A file names rooms above its own place in this list's order of floors only when
/// they are lower; rooms on one line do not see each other.
const FLOORS: &[&[&str]] = &[
    &["message"],
    &["observe"],
    &["proto", "route", "policy", "answer", "tls", "admin", "acme", "apps"],
    &["upstream"],
    &["config"],
    &["snapshot"],
    &["flow"],
    &["shard", "control"],
    &["serve"],
    &["cli"],
    &["main"],
];

/// Directories with Rust sources of the project.
const SOURCES: &[&str] = &["src", "io", "quic", "loadtest", "bench", "tests", "fuzz"];

/// Packages that may hold `unsafe`.
const UNSAFE_IN: &[&str] = &["io", "quic"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in SOURCES {
        sources(&root().join(dir), &mut found);
    }
    assert!(found.len() > 20, "the sources are not where this test looks");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The text without comments, string literals and character literals, so that only code is left.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        let rest = &bytes[i..];
        let skipped = if rest.starts_with(b"//") {
            rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            text[i..].find("*/").map_or(rest.len(), |n| n + 2)
        } else if let Some(len) = raw_string(rest) {
            len
        } else if rest[0] == b'"' {
            quoted(rest, b'"')
        } else if rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'')) {
            quoted(rest, b'\'')
        } else {
            out.push(if rest[0].is_ascii() { rest[0] as char } else { ' ' });
            i += 1;
            continue;
        };
        out.push(' ');
        i += skipped.max(1);
    }
    out
}

fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while i < bytes.len() && bytes[i] != quote {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_string(bytes: &[u8]) -> Option<usize> {
    let at = usize::from(bytes.first() == Some(&b'b'));
    let behind = bytes.get(at..)?.strip_prefix(b"r")?;
    let hashes = behind.iter().take_while(|b| **b == b'#').count();
    if behind.get(hashes) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &behind[hashes + 1..];
    let close = body.windows(end.len()).position(|w| w == end)?;
    Some(at + 1 + hashes + 1 + close + end.len())
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty())
}

/// The rooms named as `prefix::room` or `prefix::{room, room::item, …}`.
fn named(code: &str, prefix: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(prefix) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + prefix.len()..];
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let list = match rest.trim_start().strip_prefix('{') {
            Some(group) => top_level(group),
            None => vec![rest],
        };
        rooms.extend(list.into_iter().filter_map(|item| words(item).next()).map(str::to_owned));
    }
    rooms
}

/// The items of a `use` group, split at the commas of its own level.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0, 0, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[from..i]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    items
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The room of a file in `src/`: its first directory, or its name.
fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).expect("a file of src/");
    let first = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn files_name_only_lower_floors_or_their_own_room() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut faults = Vec::new();
    for path in files {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        let Some(own) = floor(&room) else {
            faults.push(format!("{}: the room {room:?} has no floor", shown(&path)));
            continue;
        };
        let code = code(&read(&path));
        for other in named(&code, "crate::").into_iter().chain(named(&code, "edge::")) {
            if other != room && floor(&other).is_some_and(|theirs| theirs >= own) {
                faults.push(format!("{}: {room} must not name {other}", shown(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_of_the_library_has_a_floor() {
    let code = code(&read(&root().join("src/lib.rs")));
    let words: Vec<&str> = words(&code).collect();
    for pair in words.windows(2).filter(|p| p[0] == "mod") {
        assert!(floor(pair[1]).is_some(), "src/lib.rs declares {:?}, which has no floor in tests/floors.rs", pair[1]);
    }
}

#[test]
fn lower_crates_do_not_know_higher_ones() {
    for (package, higher) in [
        ("io", &["edge", "edge_loadtest", "edge_quic", "edge_bench"][..]),
        ("quic", &["edge", "edge_loadtest", "edge_bench"]),
        ("loadtest", &["edge", "edge_bench"]),
        ("src", &["edge_bench"]),
    ] {
        let mut files = Vec::new();
        sources(&root().join(package), &mut files);
        for path in files {
            let code = code(&read(&path));
            for name in higher {
                assert!(named(&code, &format!("{name}::")).is_empty(), "{} names {name}", shown(&path));
            }
        }
    }
}

#[test]
fn every_file_says_first_what_it_holds() {
    let bad: Vec<String> = all_sources().iter().filter(|p| !read(p).starts_with("//! ")).map(|p| shown(p)).collect();
    assert!(bad.is_empty(), "these do not begin with a `//!` line:\n{}", bad.join("\n"));
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let allowed = |p: &Path| UNSAFE_IN.iter().any(|dir| p.starts_with(root().join(dir)));
    for path in all_sources().iter().filter(|p| !allowed(p)) {
        let code = code(&read(path));
        assert!(words(&code).all(|w| w != "unsafe"), "{} holds unsafe code", shown(path));
    }
}

#[test]
fn the_reader_of_this_test_reads_rust() {
    let text = "use crate::{\n    a::{x, y},\n    b,\n};\n// crate::no\nlet s = \"crate::no\"; let r = r#\"crate::no \"q\" \"#;\n\
                let c = '\"'; let d = '\\''; f::<'a>(crate::c::z); my_crate::no; $crate::d!()";
    assert_eq!(named(&code(text), "crate::"), ["a", "b", "c", "d"]);
    assert!(words(&code("// unsafe\nlet unsafe_x = 1; /* unsafe */")).all(|w| w != "unsafe"));
}
