//! What is wrong with one key of a configuration section, before the place in the file is known.

/// A key whose value cannot be used. The configuration adds file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The key's name within its section.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
}

impl FieldError {
    /// A `FieldError` from its parts.
    pub fn new(key: &'static str, message: impl Into<String>, help: impl Into<String>) -> FieldError {
        FieldError { key, message: message.into(), help: help.into() }
    }
}

/// What is wrong with a value, before it is known whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
}

impl Problem {
    /// A `Problem` from its parts.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: help.into() }
    }

    /// The same, of this key.
    pub fn of(self, key: &'static str) -> FieldError {
        FieldError { key, message: self.message, help: self.help }
    }
}
