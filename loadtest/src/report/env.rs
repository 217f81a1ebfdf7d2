//! Where and when a result was measured, and on which command line, without its secrets.
use crate::record::Environment;
use std::{fs, io::Read as _};

/// What is read of a file of the system at most, bytes: `/proc/cpuinfo` of 1,024 processors is about 1.5 MiB.
const FILE_MAX: u64 = 4 << 20;
/// What stands for a secret.
const HIDDEN: &str = "***";
/// Words in the names of fields, flags and query parameters that hold secrets.
const SECRET: [&str; 10] =
    ["auth", "cookie", "token", "secret", "pass", "pwd", "credential", "session", "signature", "jwt"];
/// How such names end: `x-api-key`, `key`, `sig`.
const SECRET_END: [&str; 2] = ["key", "sig"];
/// A request's body: a form with a password as likely as not.
const BODY: &str = "--data";

/// This machine, now. `version` is this program's, `command` what it was started with, from its name on.
pub fn environment(version: &str, command: &[String]) -> Environment {
    let cpuinfo = file("/proc/cpuinfo");
    Environment {
        version: version.to_owned(),
        started: started(),
        kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: processor(&cpuinfo),
        cpus: processors(&cpuinfo),
        memory: memory(&file("/proc/meminfo")),
        os: system(&file("/etc/os-release")),
        command: without_secrets(command),
    }
}

/// RFC 3339 in UTC, to the second.
fn started() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Its text; empty where it cannot be read: a report must not fail for want of a name.
fn file(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(FILE_MAX).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of the first line `key : value`.
fn value<'a>(text: &'a str, separator: char, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|l| l.split_once(separator)).find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim())
}

/// x86 says `model name`, others at most the board's `Model`; else the architecture has to do.
fn processor(cpuinfo: &str) -> String {
    let named = ["model name", "Model", "Hardware"].iter().find_map(|key| value(cpuinfo, ':', key));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |n| n.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn processors(cpuinfo: &str) -> usize {
    let listed = cpuinfo.lines().filter(|l| l.split(':').next().is_some_and(|k| k.trim() == "processor")).count();
    if listed > 0 { listed } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

fn memory(meminfo: &str) -> u64 {
    let kib = value(meminfo, ':', "MemTotal").and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn system(os_release: &str) -> String {
    let name = value(os_release, '=', "PRETTY_NAME").or_else(|| value(os_release, '=', "NAME"));
    name.map_or_else(|| std::env::consts::OS.to_owned(), |n| n.trim_matches(['"', '\'']).to_owned())
}

/// The command line as it may be written down and sent to others: values of fields and query parameters that hold secrets
/// and passwords in URLs, and bodies, are replaced.
pub fn without_secrets(command: &[String]) -> Vec<String> {
    let mut before = Flag::Other;
    let mut out = Vec::with_capacity(command.len());
    for argument in command {
        let (shown, flag) = match before {
            Flag::Header => (hide_field(argument), Flag::Other),
            Flag::Body => (HIDDEN.to_owned(), Flag::Other),
            // A flag that needs no value may have such a name too: `--no-token -k`.
            Flag::Secret if !argument.starts_with('-') => (HIDDEN.to_owned(), Flag::Other),
            _ => (hide_argument(argument), flag(argument)),
        };
        out.push(shown);
        before = flag;
    }
    out
}

/// What comes behind an argument.
enum Flag {
    /// A field.
    Header,
    /// A secret, by the flag's name.
    Secret,
    /// A body.
    Body,
    /// Anything.
    Other,
}

fn flag(argument: &str) -> Flag {
    if argument == "--header" || is_short(argument) && argument.ends_with('H') {
        return Flag::Header;
    }
    if argument == BODY {
        return Flag::Body;
    }
    match argument.strip_prefix("--") {
        Some(name) if !name.contains('=') && is_secret(name) => Flag::Secret,
        _ => Flag::Other,
    }
}

fn hide_argument(argument: &str) -> String {
    if let Some((flag, field)) = header_in(argument) {
        return format!("{flag}{}", hide_field(field));
    }
    match argument.split_once('=') {
        Some((name, _)) if name == BODY || name.starts_with("--") && is_secret(name) => format!("{name}={HIDDEN}"),
        _ => hide_url(argument),
    }
}

/// `-HNAME: VALUE`, `-kHNAME: VALUE` and `--header=NAME: VALUE`: the flag, and what is behind it.
fn header_in(argument: &str) -> Option<(&str, &str)> {
    let at = if argument.starts_with("--header=") {
        "--header=".len()
    } else if is_short(argument) {
        argument.find('H')? + 1
    } else {
        return None;
    };
    Some(argument.split_at(at)).filter(|(_, field)| !field.is_empty())
}

/// `-k`, `-kH`, `-c64`: one or more short flags, the last perhaps with its value.
fn is_short(argument: &str) -> bool {
    argument.starts_with('-') && !argument.starts_with("--")
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.trim();
    SECRET.iter().any(|word| name.contains(word)) || SECRET_END.iter().any(|end| name.ends_with(end))
}

/// `NAME: VALUE` without the value, if its name says that it is a secret.
fn hide_field(field: &str) -> String {
    match field.split_once(':') {
        Some((name, _)) if is_secret(name) => format!("{name}: {HIDDEN}"),
        _ => hide_url(field),
    }
}

/// A URL, or text that holds one, without user information and without the values of query parameters that are secrets.
pub fn hide_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, h)| format!("{HIDDEN}@{h}"));
    // What is behind may hold a second URL (`?next=http://…`): it is looked at as well.
    let behind = match behind.split_once('?') {
        Some((path, query)) => format!("{path}?{}", hide_query(query)),
        None => behind.to_owned(),
    };
    format!("{scheme}://{host}{behind}")
}

fn hide_query(query: &str) -> String {
    let hidden = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => hide_url(pair),
    });
    hidden.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(command: &[&str]) -> String {
        without_secrets(&command.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn this_machine_has_a_kernel_processors_memory_and_a_time() {
        let here = environment("9.9.9", &["edge".to_owned(), "bench".to_owned()]);
        assert_eq!(here.version, "9.9.9");
        assert!(here.kernel.contains('.'), "{here:?}");
        assert!(here.cpus >= 1 && here.memory > 1 << 20 && !here.cpu.is_empty() && !here.os.is_empty(), "{here:?}");
        assert!(here.started.parse::<jiff::Timestamp>().is_ok() && here.started.ends_with('Z'), "{}", here.started);
        assert!(!here.started.contains('.'), "to the second: {}", here.started);
    }

    #[test]
    fn fields_that_hold_secrets_are_hidden_in_every_spelling() {
        for command in [
            &["-H", "Authorization: Bearer abc123"][..],
            &["-HAuthorization: Bearer abc123"],
            &["--header", "cookie: id=abc123"],
            &["--header=Proxy-Authorization: Basic abc123"],
            &["-H", "X-Api-Key:abc123"],
            &["-kH", "authorization: abc123"],
            &["-kHauthorization: abc123"],
            &["-H", "x-csrf-token: abc123"],
            &["--data", "user=ann&word=abc123"],
            &["--data={\"word\":\"abc123\"}"],
        ] {
            let shown = hidden(command);
            assert!(!shown.contains("abc123") && shown.contains(HIDDEN), "{shown}");
        }
        assert_eq!(hidden(&["--auth", "ann:pw", "-k", "--token=abc"]), "--auth *** -k --token=***");
        assert_eq!(hidden(&["--no-session", "-k", "x"]), "--no-session -k x");
        assert_eq!(hidden(&["-H", "accept: a/b", "-c", "64"]), "-H accept: a/b -c 64");
        assert_eq!(hidden(&["-H", "-H", "-H", "cookie: a"]), "-H -H -H cookie: ***");
    }

    #[test]
    fn user_information_and_secret_parameters_leave_urls() {
        assert_eq!(hidden(&["http://ann:pw@h:80/p@q"]), "http://***@h:80/p@q");
        assert_eq!(hidden(&["https://h/?a=1&access_token=x&b=2"]), "https://h/?a=1&access_token=***&b=2");
        assert_eq!(hidden(&["http://h/?key=x&keys=2&sig=y"]), "http://h/?key=***&keys=2&sig=***");
        assert_eq!(hidden(&["https://a@b:c@h/"]), "https://***@h/");
        assert_eq!(hidden(&["--url=http://u:p@h"]), "--url=http://***@h");
        assert_eq!(hidden(&["http://h/?next=http://u:p@g/"]), "http://h/?next=http://***@g/");
        assert_eq!(hidden(&["http://h/a?b=c", "-r", "5000"]), "http://h/a?b=c -r 5000");
    }

    #[test]
    fn what_the_system_does_not_say_is_not_invented() {
        assert_eq!(processor(""), std::env::consts::ARCH);
        assert_eq!(processor("processor\t: 0\nmodel name\t: A  B\n"), "A B");
        assert_eq!(processors("processor\t: 0\nx : y\nprocessor\t: 1\n"), 2);
        assert_eq!(memory("MemFree: 1 kB\nMemTotal:  2048 kB\n"), 2 << 20);
        assert_eq!(memory("nonsense"), 0);
        assert_eq!(system("NAME=x\nPRETTY_NAME=\"Some OS 12\"\n"), "Some OS 12");
        assert_eq!(system(""), std::env::consts::OS);
    }
}
