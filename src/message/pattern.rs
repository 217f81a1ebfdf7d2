//! Regexes of the configuration: one dialect and one bound for all rooms.
use super::Problem;
use regex::bytes::{Regex, RegexBuilder};

/// Bound on the compiled size of one regex, in bytes.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiles a pattern over bytes: `.` is any byte but `\n`, classes are ASCII. The problem is one line.
pub fn compile_regex(pattern: &str) -> Result<Regex, Problem> {
    let compiled = RegexBuilder::new(pattern).unicode(false).size_limit(REGEX_BYTES_MAX).build();
    compiled.map_err(|e| Problem::new(format!("not a usable regex: {}", reason(&e)), ""))
}

/// The last line of a regex error is its reason; those above it draw the pattern again.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_one_line() {
        for (pattern, message) in [("(a", "unclosed group"), ("(?:a{1000}){1000}", "size limit"), ("a\n[", "unclosed")]
        {
            let problem = compile_regex(pattern).unwrap_err();
            assert!(problem.message.contains(message) && !problem.message.contains('\n'), "{}", problem.message);
        }
        assert!(compile_regex("^/[^/]+$").unwrap().is_match(b"/\xff"), "bytes, not text");
    }
}
