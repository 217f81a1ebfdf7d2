//! The judged messages of `tests/vectors/http1.toml` through the engine, in pieces of every kind.
use crate::drive::{Outcome, Wire, requests, responses};
use edge_io::{head::Method, http1::Limits};
use serde::Deserialize;
use std::collections::HashSet;

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    name: String,
    /// Who sends it.
    pub role: Role,
    raw: String,
    expect: Expect,
    status: Option<u16>,
    fault: Option<String>,
    #[serde(default)]
    messages: usize,
    bodies: Option<Vec<String>>,
    #[serde(default)]
    left: usize,
    methods: Option<Vec<String>>,
    #[serde(default)]
    upgrade: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A client.
    Request,
    /// An origin.
    Response,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Accept,
    Reject,
}

impl Case {
    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        expand(&self.raw)
    }
}

/// All vectors.
pub fn load() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/http1.toml");
    let text = std::fs::read_to_string(path).expect("the vectors");
    toml::from_str::<File>(&text).expect("well-formed vectors").case
}

/// Writes `{text*n}` out; any other brace is itself.
fn expand(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        rest = &rest[open..];
        let repeated = rest.find('}').and_then(|close| {
            let (text, times) = rest[1..close].rsplit_once('*')?;
            Some((close, text.repeat(times.parse().ok()?)))
        });
        let (skip, written) = repeated.unwrap_or((0, "{".into()));
        out.extend_from_slice(written.as_bytes());
        rest = &rest[skip + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn run(case: &Case, raw: &[u8], piece: usize) -> Outcome {
    let limits = Limits::default();
    let mut size = || piece;
    let wire = Wire::new(raw, &mut size);
    match case.role {
        Role::Request => requests(wire, &limits, &mut |_, _| {}),
        Role::Response => {
            let get = ["GET".to_owned()];
            let methods = case.methods.as_deref().unwrap_or(&get);
            let methods: Vec<Method> = methods.iter().map(|m| Method::of(m.as_bytes())).collect();
            responses(wire, &limits, &methods, case.upgrade, &mut |_| {})
        }
    }
}

/// What is wrong with the outcome, if something is.
fn judge(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let got = format!("{outcome:?}");
    let got = got.get(..400).unwrap_or(&got);
    if outcome.messages.len() != case.messages {
        return Err(format!("{} messages instead of {}: {got}", outcome.messages.len(), case.messages));
    }
    if let Some(bodies) = &case.bodies {
        let bodies: Vec<_> = bodies.iter().map(|b| expand(b)).collect();
        let same = outcome.messages.iter().map(|m| &m.body).eq(&bodies);
        if !same {
            return Err(format!("other bodies: {got}"));
        }
    }
    match (case.expect, outcome.fault) {
        (Expect::Accept, None) if outcome.left == case.left => Ok(()),
        (Expect::Accept, None) => Err(format!("{} bytes left instead of {}", outcome.left, case.left)),
        (Expect::Accept, Some(fault)) => Err(format!("rejected: {fault:?}")),
        (Expect::Reject, None) => Err(format!("accepted: {got}")),
        (Expect::Reject, Some(fault)) => {
            let status = if case.role == Role::Request { fault.status() } else { 502 };
            let same = case.fault == Some(format!("{fault:?}")) && case.status == Some(status);
            if same { Ok(()) } else { Err(format!("rejected for another reason: {fault:?} {status}")) }
        }
    }
}

#[test]
fn every_vector_meets_its_verdict_however_it_is_cut() {
    let cases = load();
    let mut names = HashSet::new();
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(names.insert(&case.name), "{} twice", case.name);
        let raw = case.bytes();
        let whole = run(case, &raw, usize::MAX);
        if let Err(why) = judge(case, &whole) {
            wrong.push(format!("{}: {why}", case.name));
        }
        for piece in [1, 2, 3, 5, 7, 16, 61] {
            if run(case, &raw, piece) != whole {
                wrong.push(format!("{}: another outcome in pieces of {piece}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 400, "only {} vectors were read", cases.len());
}

#[test]
fn repetitions_are_written_out() {
    assert_eq!(expand("a{bc*2}d{e}{f*x}{"), b"abcbcd{e}{f*x}{");
}
