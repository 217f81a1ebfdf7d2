//! Text with placeholders: `{scheme}`, `{host}`, `{path}`, `{query}`, `{1}` … `{9}`.
use super::Problem;
use regex::bytes::Captures;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(Box<str>),
    /// `http` or `https`.
    Scheme,
    /// The request's host, without port.
    Host,
    /// The request's normalized path; it begins with `/`.
    Path,
    /// `?` and the request's query; nothing when it has none.
    Query,
    /// A group of the route's regex, 1 to 9; nothing when it took no part.
    Capture(u8),
}

/// Text with placeholders, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
}

/// What placeholders stand for, for one request.
pub struct Values<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Without port.
    pub host: &'a [u8],
    /// Normalized.
    pub path: &'a [u8],
    /// Without `?`.
    pub query: Option<&'a [u8]>,
    /// Of the route's regex on the path.
    pub captures: Option<&'a Captures<'a>>,
}

impl Template {
    /// Parses `text`; a brace stands only around a placeholder.
    pub fn parse(text: &str) -> Result<Template, Problem> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            push_text(&mut parts, before);
            let Some((name, after)) = brace.strip_prefix('{').and_then(|b| b.split_once('}')) else {
                return Err(Problem::new(
                    format!("{text:?}: a brace without its other half"),
                    "write %7B for {, %7D for }",
                ));
            };
            parts.push(part(name)?);
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Template { parts: parts.into() })
    }

    /// The pieces in order; two texts are never neighbours.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The highest group number named; 0 for none.
    pub fn captures_max(&self) -> u8 {
        let group = |part: &Part| if let Part::Capture(n) = part { *n } else { 0 };
        self.parts.iter().map(group).max().unwrap_or(0)
    }

    /// Appends the text for one request. What comes from the request passes through `push`.
    pub fn render(&self, values: &Values<'_>, push: impl Fn(&mut Vec<u8>, &[u8]), out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Scheme => out.extend_from_slice(values.scheme.as_bytes()),
                Part::Host => push(out, values.host),
                Part::Path => push(out, values.path),
                Part::Query => {
                    if let Some(query) = values.query {
                        out.push(b'?');
                        push(out, query);
                    }
                }
                Part::Capture(n) => {
                    let group = values.captures.and_then(|c| c.get(usize::from(*n)));
                    push(out, group.map(|m| m.as_bytes()).unwrap_or_default());
                }
            }
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
}

fn part(name: &str) -> Result<Part, Problem> {
    Ok(match name {
        "scheme" => Part::Scheme,
        "host" => Part::Host,
        "path" => Part::Path,
        "query" => Part::Query,
        _ => match name.as_bytes() {
            [digit @ b'1'..=b'9'] => Part::Capture(digit - b'0'),
            _ => {
                let help = "there are {scheme}, {host}, {path}, {query} and {1} to {9}";
                return Err(Problem::new(format!("{{{name}}} is no placeholder"), help));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_renders() {
        let regex = regex::bytes::Regex::new("^/(a)/(b)?").unwrap();
        let captures = regex.captures(b"/a/x").unwrap();
        let values =
            Values { scheme: "https", host: b"h", path: b"/a/x", query: Some(b"q=1"), captures: Some(&captures) };
        for (text, expected) in
            [("{scheme}://{host}{path}{query}", "https://h/a/x?q=1"), ("/{1}-{2}-{3}", "/a--"), ("x", "x"), ("", "")]
        {
            let mut out = Vec::new();
            Template::parse(text).unwrap().render(&values, |out, bytes| out.extend_from_slice(bytes), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for text in ["{", "}", "a{b", "{uri}", "{0}", "{10}", "{}", "}{"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
