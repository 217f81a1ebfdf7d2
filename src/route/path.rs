//! Path patterns: what a configuration may write, and what each form matches. Matching is on the normalized path.
pub use crate::message::path::{Normalized, normalize};
use crate::message::{Problem, compile_regex, path::literal};
use regex::bytes::Regex;

/// A path as a route names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern<'a> {
    /// The whole path.
    Exact(&'a str),
    /// The path itself and what is below it, by whole segments.
    Prefix(&'a str),
    /// `*` stands for one segment or a part of one, `**` for everything that is left.
    Glob(&'a str),
    /// Searched for in the path.
    Regex(&'a str),
    /// No condition on the path.
    Any,
}

impl<'a> PathPattern<'a> {
    /// Checks `path`.
    pub fn exact(text: &'a str) -> Result<PathPattern<'a>, Problem> {
        literal(text).map(PathPattern::Exact)
    }

    /// Checks `path_prefix`.
    pub fn prefix(text: &'a str) -> Result<PathPattern<'a>, Problem> {
        literal(text).map(PathPattern::Prefix)
    }

    /// Checks `path_glob`.
    pub fn glob(text: &'a str) -> Result<PathPattern<'a>, Problem> {
        literal(text).map(PathPattern::Glob)
    }

    /// Its key in a `match`; `path` for none.
    pub fn key(&self) -> &'static str {
        match self {
            PathPattern::Exact(_) | PathPattern::Any => "path",
            PathPattern::Prefix(_) => "path_prefix",
            PathPattern::Glob(_) => "path_glob",
            PathPattern::Regex(_) => "path_regex",
        }
    }

    /// The regex of a glob or regex pattern.
    pub fn regex_text(&self) -> Option<String> {
        match self {
            PathPattern::Glob(text) => Some(glob_to_regex(text)),
            PathPattern::Regex(text) => Some((*text).to_string()),
            _ => None,
        }
    }

    /// The pattern by itself, for `any` and `not`.
    pub fn test(&self) -> Result<PathTest, Problem> {
        Ok(match self {
            PathPattern::Exact(text) => PathTest::Exact((*text).into()),
            PathPattern::Prefix(text) => PathTest::Prefix((*text).into()),
            PathPattern::Glob(text) => PathTest::Regex(compile_regex(&glob_to_regex(text))?),
            PathPattern::Regex(text) => PathTest::Regex(compile_regex(text)?),
            PathPattern::Any => PathTest::Any,
        })
    }

    /// What every path matched by a glob begins with, up to and including a `/`.
    pub fn literal_start(&self) -> &'a str {
        match self {
            PathPattern::Exact(text) | PathPattern::Prefix(text) => text,
            PathPattern::Glob(text) => {
                let fixed = &text[..text.find('*').unwrap_or(text.len())];
                &fixed[..fixed.rfind('/').map_or(0, |at| at + 1)]
            }
            // A regex matches nothing that does not begin with '/'.
            PathPattern::Regex(_) => "/",
            PathPattern::Any => "",
        }
    }
}

/// One path pattern, ready to be asked outside a table.
#[derive(Debug)]
pub enum PathTest {
    /// See [`PathPattern::Exact`].
    Exact(Box<str>),
    /// See [`PathPattern::Prefix`].
    Prefix(Box<str>),
    /// A glob or a regex.
    Regex(Regex),
    /// See [`PathPattern::Any`].
    Any,
}

impl PathTest {
    /// Whether `path` is one of those the pattern means.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            PathTest::Exact(text) => path == text.as_bytes(),
            PathTest::Prefix(text) => prefix_matches(text.as_bytes(), path),
            PathTest::Regex(regex) => regex.is_match(path),
            PathTest::Any => true,
        }
    }
}

/// Whether `prefix` covers `path` by whole segments: "/api" covers "/api" and "/api/x", "/api/" only what begins with it.
pub fn prefix_matches(prefix: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => prefix.ends_with(b"/") || matches!(rest.first(), None | Some(b'/')),
        None => false,
    }
}

/// `*` is one segment (not empty where it stands alone) or a part of one, `**` is all that is left.
fn glob_to_regex(glob: &str) -> String {
    let mut out = String::from("^");
    let mut rest = glob;
    while let Some(at) = rest.find('*') {
        out.push_str(&regex::escape(&rest[..at]));
        let tail = &rest[at..];
        rest = tail.trim_start_matches('*');
        if tail.starts_with("**") {
            out.push_str("(?s:.*)");
        } else {
            let alone = out.ends_with('/') && (rest.is_empty() || rest.starts_with('/'));
            out.push_str(if alone { "[^/]+" } else { "[^/]*" });
        }
    }
    out.push_str(&regex::escape(rest));
    // `\z` and not `$`: the end of the path, nothing else.
    out.push_str(r"\z");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: PathPattern<'_>, path: &str) -> bool {
        pattern.test().unwrap().matches(path.as_bytes())
    }

    #[test]
    fn what_each_form_matches() {
        use PathPattern as P;
        for (pattern, yes, no) in [
            (P::exact("/a"), vec!["/a"], vec!["/a/", "/ab", "/"]),
            (P::prefix("/api"), vec!["/api", "/api/", "/api/x", "/api//"], vec!["/apix", "/ap", "/", "/API"]),
            (P::prefix("/api/"), vec!["/api/", "/api/x"], vec!["/api", "/apix"]),
            (P::prefix("/"), vec!["/", "/x", "//"], vec!["*"]),
            (P::glob("/u/*/posts"), vec!["/u/7/posts"], vec!["/u//posts", "/u/7/8/posts", "/u/7/posts/"]),
            (P::glob("/s/*.js"), vec!["/s/a.js", "/s/.js"], vec!["/s/a/b.js", "/s/axjs"]),
            (P::glob("/d/**"), vec!["/d/", "/d/a/b"], vec!["/d"]),
            (P::glob("/**/x"), vec!["/a/x", "/a/b/x", "//x"], vec!["/x", "/a/xy"]),
            (Ok(P::Regex(r"^/v\d+/")), vec!["/v1/", "/v22/x"], vec!["/v/", "/a/v1/"]),
            (Ok(P::Regex("php$")), vec!["/a.php"], vec!["/a.php/"]),
            (Ok(P::Any), vec!["/", "*"], vec![]),
        ] {
            let pattern = pattern.unwrap();
            for path in yes {
                assert!(matches(pattern, path), "{pattern:?} {path}");
            }
            for path in no {
                assert!(!matches(pattern, path), "{pattern:?} {path}");
            }
        }
    }

    #[test]
    fn mistakes_name_the_remedy() {
        for (problem, message, help) in [
            (PathPattern::prefix("api"), "begin with", "\"/api\""),
            (PathPattern::exact("/a?b=1"), "'?'", "query"),
            (PathPattern::exact("/a b"), "' '", "%20"),
            (PathPattern::exact("/é"), "'é'", "%C3%A9"),
            (PathPattern::prefix("/a/../b"), "dot segments", "\"/b\""),
            (PathPattern::glob("*/a"), "begin with", ""),
        ] {
            let problem = problem.unwrap_err();
            assert!(problem.message.contains(message), "{}", problem.message);
            assert!(problem.help.contains(help), "{}", problem.help);
        }
        for (regex, message) in [("(a", "unclosed group"), ("(?:a{1000}){1000}", "size limit")] {
            let problem = PathPattern::Regex(regex).test().unwrap_err();
            assert!(problem.message.contains(message), "{}", problem.message);
        }
    }
}
