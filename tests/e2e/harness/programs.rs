//! Programs of the system that serve as peers where they are installed.
use super::{not_installed, python};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where a program is, or a note for the end of the run.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(beside).map(|dir| dir.join(name)).find(|p| p.is_file());
    if found.is_none() {
        not_installed(name);
    }
    found
}

/// A command with nothing on its standard input.
pub fn command(program: &std::path::Path) -> Command {
    let mut c = Command::new(program);
    c.stdin(Stdio::null());
    c
}

/// A Python with the clients of `tests/e2e/requirements.txt`, or a note for the end of the run.
pub fn python_clients() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/requirements.txt");
    let made = PYTHON
        .get_or_init(|| python::environment("e2e-venv", &requirements, "aioquic, curl_cffi, niquests, pycurl, qh3"));
    match made {
        Ok(python) => Some(python),
        Err(why) => {
            not_installed(&format!("Python with clients of HTTP/3 ({})", why.lines().next().unwrap_or_default()));
            None
        }
    }
}
