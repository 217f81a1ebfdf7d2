//! Fixed responses: status, fields, body (FEATURES C9).
use crate::message::FieldError;
use bytes::Bytes;

/// The largest body in the configuration itself, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// The largest body from a file, in bytes: it stays in memory.
pub const BODY_FILE_BYTES_MAX: usize = 16 << 20;

/// A `respond` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondConfig {
    /// 200 to 599.
    pub status: u16,
    /// `Content-Type`; none: `text/plain; charset=utf-8` when there is a body.
    pub content_type: Option<String>,
    /// Further fields, in order.
    pub headers: Vec<(String, String)>,
    /// At most [`BODY_BYTES_MAX`], or [`BODY_FILE_BYTES_MAX`] from a file.
    pub body: Bytes,
    /// It is from a file.
    pub from_file: bool,
}

impl Default for RespondConfig {
    fn default() -> RespondConfig {
        RespondConfig { status: 200, content_type: None, headers: Vec::new(), body: Bytes::new(), from_file: false }
    }
}

/// A fixed response, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondRule {
    /// Never 1xx.
    pub status: u16,
    /// `None` only without body.
    pub content_type: Option<Box<str>>,
    /// Names and values fit for the wire; none of them frames the message.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// Empty for 204, 205 and 304.
    pub body: Bytes,
}

/// Fields the server itself writes.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl RespondRule {
    /// Checks a section.
    pub fn compile(config: &RespondConfig) -> Result<RespondRule, FieldError> {
        if !(200..=599).contains(&config.status) {
            return Err(FieldError::new("status", format!("{} is no final status", config.status), "200 to 599"));
        }
        let (key, most) = if config.from_file { ("body_file", BODY_FILE_BYTES_MAX) } else { ("body", BODY_BYTES_MAX) };
        if config.body.len() > most {
            let message = format!("{} bytes; at most {most}", config.body.len());
            let help = if config.from_file {
                "serve it from an origin"
            } else {
                "put it into a file, and name that as body_file"
            };
            return Err(FieldError::new(key, message, help));
        }
        if matches!(config.status, 204 | 205 | 304) && !config.body.is_empty() {
            let message = format!("a {} has no body", config.status);
            return Err(FieldError::new(key, message, "leave the body out, or use another status"));
        }
        if let Some(value) = &config.content_type {
            check_value("content_type", value)?;
        }
        let default = (!config.body.is_empty()).then_some("text/plain; charset=utf-8");
        Ok(RespondRule {
            status: config.status,
            content_type: config.content_type.as_deref().or(default).map(Into::into),
            headers: config.headers.iter().map(header).collect::<Result<_, _>>()?,
            body: config.body.clone(),
        })
    }
}

fn header((name, value): &(String, String)) -> Result<(Box<str>, Box<str>), FieldError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(FieldError::new("headers", format!("{name:?} is no field name"), ""));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        let help = if name.eq_ignore_ascii_case("content-type") { "use `content_type`" } else { "leave it out" };
        return Err(FieldError::new("headers", format!("{name} is written by the server"), help));
    }
    check_value("headers", value)?;
    Ok((name.as_str().into(), value.as_str().into()))
}

/// RFC 9110 section 5.5: visible characters, inner spaces and tabs.
fn check_value(key: &'static str, value: &str) -> Result<(), FieldError> {
    let legal = value.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
    if !legal || value.trim_matches([' ', '\t']) != value {
        let help = "no line ends or control characters, no space at the ends";
        return Err(FieldError::new(key, format!("{value:?} cannot be a field value"), help));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiles() {
        let config = RespondConfig {
            status: 503,
            headers: vec![("Retry-After".into(), "30".into())],
            body: "back soon".into(),
            ..RespondConfig::default()
        };
        let rule = RespondRule::compile(&config).unwrap();
        assert_eq!((rule.status, &rule.body[..]), (503, &b"back soon"[..]));
        assert_eq!(rule.content_type.as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(&*rule.headers[0].0, "Retry-After");
        assert_eq!(RespondRule::compile(&RespondConfig::default()).unwrap().content_type, None);
    }

    #[test]
    fn mistakes_name_their_key() {
        let base = RespondConfig::default();
        let header = |name: &str, value: &str| RespondConfig {
            headers: vec![(name.into(), value.into())],
            ..RespondConfig::default()
        };
        for (config, key) in [
            (RespondConfig { status: 100, ..base.clone() }, "status"),
            (RespondConfig { status: 204, body: "x".into(), ..base.clone() }, "body"),
            (RespondConfig { body: "x".repeat(BODY_BYTES_MAX + 1).into(), ..base.clone() }, "body"),
            (
                RespondConfig { body: vec![0; BODY_FILE_BYTES_MAX + 1].into(), from_file: true, ..base.clone() },
                "body_file",
            ),
            (RespondConfig { content_type: Some("a\r\nb: c".into()), ..base }, "content_type"),
            (header("a b", "c"), "headers"),
            (header("a", "b\r\nc: d"), "headers"),
            (header("a", "b\0"), "headers"),
            (header("Content-Length", "3"), "headers"),
            (header("transfer-encoding", "chunked"), "headers"),
        ] {
            assert_eq!(RespondRule::compile(&config).unwrap_err().key, key, "{config:?}");
        }
    }
}
