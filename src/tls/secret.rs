//! Reads secrets that a configuration points at: files and environment variables.
use super::{config::Secret, files};
use std::path::Path;

/// Fewest bytes of a secret: as many as the keys that are made of it.
const BYTES_MIN: usize = 32;

/// What is wrong or doubtful, and what to do (may be empty).
pub type Said = (String, String);

impl Secret {
    /// Reads `file:PATH` or `env:NAME`; relative paths start at `base`. `None` when it is neither.
    pub fn parse(text: &str, base: &Path) -> Option<Secret> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => Some(Secret::File(base.join(path))),
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Some(Secret::Env(name.to_owned()))
            }
            _ => None,
        }
    }

    /// Its bytes, and perhaps a warning. `what` is its name in messages, such as "ticket secret".
    ///
    /// # Errors
    /// When it cannot be read, or has fewer than 32 bytes.
    pub fn read(&self, what: &str) -> Result<(Vec<u8>, Option<Said>), Said> {
        let (bytes, shown, warning) = match self {
            Secret::File(path) => {
                let content = files::read(path)?;
                let shown = path.display().to_string();
                let warning = content.public.then(|| {
                    let message = format!("{shown}: everybody on this machine can read the {what}");
                    (message, format!("chmod 600 {shown}"))
                });
                (content.bytes, shown, warning)
            }
            Secret::Env(name) => {
                let value = std::env::var_os(name).unwrap_or_default();
                let bytes = std::os::unix::ffi::OsStringExt::into_vec(value);
                (bytes, format!("the environment variable {name}"), None)
            }
        };
        let bytes = bytes.trim_ascii(); // an editor's last newline is no part of it
        if bytes.len() < BYTES_MIN {
            let message = format!("{shown}: the {what} has {} bytes, fewer than {BYTES_MIN}", bytes.len());
            return Err((message, "make one: openssl rand -base64 48".to_owned()));
        }
        Ok((bytes.to_vec(), warning))
    }
}
