//! What is written where: files, standard output, a pipe, a terminal.
use super::{bench, command, origin::Served};
use crate::harness::{Driver, edge::run, programs};
use std::process::Command;

crate::suite!("bench_reports";
    once:
        each_form_into_its_file,
        each_form_onto_standard_output_alone,
        nothing_on_a_pipe_but_the_report,
        a_line_lives_on_a_terminal_and_is_gone,
);

const SHORT: [&str; 6] = ["-c", "2", "-d", "400ms", "--warmup", "0"];

fn each_form_into_its_file() {
    let served = Served::start(&["--size", "10"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    let (csv, html, url) = (path("a.csv"), path("a.html"), served.url());
    let files = ["--csv", &csv, "--html", &html];
    let words = ["-c", "2", "-r", "500", "-d", "2s", "--warmup", "100ms", "-H", "authorization: Basic c2VjcmV0", &url];
    let ran = bench(Driver::IoUring, &[&words[..], &files].concat());
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}: {ran:?}"));

    assert_eq!((&ran.json["schema"], &ran.json["interrupted"]), (&1.into(), &false.into()), "{ran:?}");
    let series = ran.json["series"].as_array().expect("seconds").len();
    assert!((1..=3).contains(&series), "{ran:?}");
    assert!(!ran.json["environment"]["command"].to_string().contains("c2VjcmV0"), "{:?}", ran.json["environment"]);

    let table = read(&csv);
    let rows: Vec<Vec<&str>> = table.trim_end().split("\r\n").map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + series, "{table}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{table}");
    let at = rows[0].iter().position(|name| *name == "answered").expect("a column");
    let sum: u64 = rows[1..].iter().map(|row| row[at].parse::<u64>().expect("a number")).sum();
    assert_eq!(sum, ran.count("answered"), "{table}");

    let page = read(&html);
    assert!(page.trim_start().to_lowercase().starts_with("<!doctype html>") && page.contains("<svg"), "{page}");
    for outside in ["src=", "href=\"http", "@import", "url(http", "<link", "//cdn"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    assert!(!page.contains("c2VjcmV0"), "a secret in the page");
}

fn each_form_onto_standard_output_alone() {
    let served = Served::start(&["--size", "10"]);
    let url = served.url();
    for (form, first) in [("--json", "{\"schema\":1,"), ("--csv", "at_s,"), ("--html", "<!doctype html>")] {
        let out = run(command(&[&SHORT[..], &[form, "-", &url]].concat()));
        assert!([0, 6].contains(&out.code), "{form}: {out:?}");
        assert!(out.stdout.to_lowercase().starts_with(first), "{form}: {out:?}");
        assert!(out.stderr.is_empty(), "{form}: {out:?}");
        if form == "--json" {
            serde_json::from_str::<serde_json::Value>(&out.stdout).expect("JSON and nothing else");
        }
    }
}

fn nothing_on_a_pipe_but_the_report() {
    let served = Served::start(&["--size", "10"]);
    let url = served.url();
    let out = run(command(&[&SHORT[..], &[&url]].concat()));
    assert!([0, 6].contains(&out.code) && out.stderr.is_empty(), "{out:?}");
    assert!(out.stdout.contains(&url) && out.stdout.contains("closed loop"), "{out:?}");
    assert!(!out.stdout.contains('\x1b') && !out.stdout.contains('\r'), "{out:?}");
    let out = run(command(&[&SHORT[..], &[&url, "--assert", "errors==0"]].concat()));
    assert_eq!(out.stderr.lines().count(), 1, "the judgement: {out:?}");
    assert!(out.stderr.starts_with("met "), "{out:?}");
    let out = run(command(&[&SHORT[..], &[&url, "--quiet"]].concat()));
    assert!(out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
}

/// Runs it on a terminal of its own, whose output comes back.
fn on_a_terminal(script: &std::path::Path, words: &[&str], environment: &[(&str, &str)]) -> String {
    let mut line = vec![crate::harness::edge::BINARY, "bench"];
    line.extend(words);
    let quoted: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let mut command: Command = programs::command(script);
    command.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]).env_remove("NO_COLOR");
    command.env("TERM", "xterm").envs(environment.iter().copied());
    run(command).stdout
}

fn a_line_lives_on_a_terminal_and_is_gone() {
    let Some(script) = programs::find("script") else { return };
    let served = Served::start(&["--size", "10"]);
    let url = served.url();
    let words = [&SHORT[..], &[&url]].concat();
    let shown = on_a_terminal(&script, &words, &[]);
    let lines = shown.matches("\x1b[K").count();
    assert!(lines >= 2, "drawn and cleared: {shown:?}");
    // The last of it is an empty line: what follows is the report.
    let (_, report) = shown.rsplit_once("\r\x1b[K").expect("cleared");
    assert!(report.contains("closed loop") && report.contains(&url), "{shown:?}");
    assert!(report.contains("\x1b["), "colours on a terminal: {report:?}");
    let plain = on_a_terminal(&script, &words, &[("NO_COLOR", "1")]);
    let (_, report) = plain.rsplit_once("\r\x1b[K").expect("the line is there without colours too");
    assert!(!report.contains('\x1b'), "{report:?}");
    let dumb = on_a_terminal(&script, &words, &[("TERM", "dumb")]);
    assert!(!dumb.contains("\x1b[K"), "{dumb:?}");
    let quiet = on_a_terminal(&script, &[&words[..], &["-q"]].concat(), &[]);
    assert_eq!(quiet, "", "quiet on a terminal");
}
