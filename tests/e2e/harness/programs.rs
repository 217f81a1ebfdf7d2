//! Programs of the system that serve as peers where they are installed.
use super::not_installed;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
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
