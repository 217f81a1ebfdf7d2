//! A Python with packages, made once and kept under `target/`.
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The interpreter of the environment `name`, which has what the file `requirements` lists; `imports` is what it must be
/// able to import.
///
/// # Errors
/// What is missing: Python, its `venv`, or a package.
pub fn environment(name: &str, requirements: &Path, imports: &str) -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ready = base.join(name);
    let python = ready.join("bin/python");
    if can_import(&python, imports) {
        return Ok(python);
    }
    // Made elsewhere and moved, so that another run never meets half of it.
    let new = tempfile::Builder::new().prefix("venv-").tempdir_in(base).map_err(|e| e.to_string())?;
    let venv = new.path().join("venv");
    ask(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    ask(Command::new(venv.join("bin/python")).args(pip).arg(requirements))?;
    let _ = std::fs::remove_dir_all(&ready);
    let moved = std::fs::rename(&venv, &ready);
    match can_import(&python, imports) {
        true => Ok(python),
        false => Err(format!("{}: {moved:?}", ready.display())),
    }
}

fn can_import(python: &Path, imports: &str) -> bool {
    Command::new(python).args(["-c", &format!("import {imports}")]).output().is_ok_and(|o| o.status.success())
}

fn ask(command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => {
            let said = [out.stdout, out.stderr].concat();
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&said)))
        }
        Err(e) => Err(format!("{command:?}: {e}")),
    }
}
