//! Finds what belongs to a host name: by the whole name, then by a wildcard for its first label (RFC 6125 6.4.3).
use std::{borrow::Cow, collections::HashMap};

/// A table from host names to `T`. Upper and lower case are the same, and a final dot is none.
#[derive(Clone, Debug)]
pub struct NameTable<T> {
    exact: HashMap<Box<str>, T>,
    /// By what stands behind `*.`.
    wildcard: HashMap<Box<str>, T>,
}

impl<T> Default for NameTable<T> {
    fn default() -> NameTable<T> {
        NameTable { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T> NameTable<T> {
    /// What belongs to `name` itself (`*.` and a name for a wildcard); made if there is nothing yet.
    pub fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        let name = normal(name);
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.into()).or_default(),
            None => self.exact.entry(name.into()).or_default(),
        }
    }

    /// What belongs to `host`: at most two look-ups.
    pub fn find(&self, host: &str) -> Option<&T> {
        let host = normal(host);
        self.exact.get(&*host).or_else(|| {
            let (first, parent) = host.split_once('.')?;
            self.wildcard.get(parent).filter(|_| !first.is_empty())
        })
    }
}

/// In lower case, without the final dot.
pub(super) fn normal(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// Whether `pattern` (in lower case) covers `host` (in lower case): the same, or `*.` for one label.
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == host,
        Some(parent) => host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_come_before_wildcards_and_wildcards_stand_for_one_label() {
        let mut table = NameTable::<u32>::default();
        *table.entry("a.Example.com") = 1;
        *table.entry("*.example.com.") = 2;
        *table.entry("*.b.example.com") = 3;
        for (host, found) in [
            ("a.example.com", Some(1)),
            ("A.EXAMPLE.com.", Some(1)),
            ("b.example.com", Some(2)),
            ("x.b.example.com", Some(3)),
            ("x.a.example.com", None),
            ("example.com", None),
            (".example.com", None),
            ("", None),
            ("*.example.com", Some(2)),
        ] {
            assert_eq!(table.find(host).copied(), found, "{host}");
        }
    }

    #[test]
    fn one_name_covers_another() {
        for (pattern, host, yes) in [
            ("a.b", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "b", false),
            ("*.b", ".b", false),
            ("*.b", "x.a.b", false),
            ("a.b", "aab", false),
        ] {
            assert_eq!(covers(pattern, host), yes, "{pattern} {host}");
        }
    }
}
