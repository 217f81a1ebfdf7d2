//! The compiled tables: a few flat arrays for all hosts, so that thousands of hosts cost bytes and not objects.
//!
//! A *record* is one host: its name, its shape, its entries. A *shape* is a list of path patterns; hosts with the same
//! list share it. A *group* is one pattern of a shape with the entries it has on a host, the most specific first.
use super::{
    Problem,
    hash::{Slots, hash, same, start_word},
    path::PathPattern,
};
use regex::bytes::{RegexSet, RegexSetBuilder};
use std::{collections::HashMap, ops::ControlFlow};

/// A shape with more paths than this gets a hash index; up to it, comparing in a row is faster.
const LINEAR_MAX: usize = 8;
/// Bound on the compiled size of the regexes of one shape, in bytes.
const REGEX_SET_BYTES_MAX: usize = 64 << 20;
const NONE: u32 = u32::MAX;
const EXACT_SEED: u64 = 1;
const PREFIX_SEED: u64 = 2;
const HOST_SEED: u64 = 3;

/// How an entry's path matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole path.
    Exact,
    /// By segments.
    Prefix,
    /// Glob or regex.
    Pattern,
    /// The route has no path.
    Any,
}

/// A route that host and path select; its predicates have not been asked.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The entry's number: unique in the router.
    pub id: u32,
    /// The route's index.
    pub route: u32,
    /// Index of its predicates; `u32::MAX` for none.
    pub predicates: u32,
    /// What matched.
    pub kind: Kind,
}

/// Where a record begins in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(u32);

/// Hosts, their paths, their entries.
#[derive(Debug, Default)]
pub struct Tables {
    /// Every distinct path once.
    text: Box<[u8]>,
    keys: Box<[Key]>,
    starts: Box<[u32]>,
    shapes: Box<[Shape]>,
    patterns: Box<[Patterns]>,
    indexes: Box<[PathIndex]>,
    /// Per host: name length (1), name, shape (4), first entry's id (4), then route (4) and predicates (4) per entry.
    records: Box<[u8]>,
    exact: Slots,
    wildcard: Slots,
    /// Bit `n`: some wildcard's name has `n` bytes, so that other suffixes are not even hashed.
    wildcard_lens: [u64; 4],
    regex: Option<(Patterns, Box<[Record]>)>,
    any: Option<Record>,
}

/// A path of a shape.
#[derive(Clone, Copy, Debug)]
struct Key {
    /// Its first eight bytes, those missing as 0: a short path is compared without a look at its text.
    start: u64,
    at: u32,
    len: u16,
    exact: bool,
    /// A prefix that ends with a slash needs no boundary behind it.
    slash: bool,
}

impl Key {
    /// Whether `path`, which begins with `start`, begins with the key's text.
    #[inline]
    fn starts(&self, text: &[u8], start: u64, path: &[u8]) -> bool {
        let len = usize::from(self.len);
        let mask = if len < 8 { (1 << (8 * len)) - 1 } else { u64::MAX };
        let text = &text[self.at as usize..][..len];
        start & mask == self.start && (len <= 8 || path.get(..len).is_some_and(|path| same(path, text)))
    }
}

/// Groups are numbered: keys first, then patterns, then the one without path.
#[derive(Clone, Copy, Debug)]
struct Shape {
    keys: u32,
    keys_len: u32,
    /// Where the groups' first entries stand in `starts`; `NONE` when each group has exactly one entry.
    starts: u32,
    patterns: u32,
    index: u32,
    /// Whether there is a group without path.
    any: bool,
}

/// Regexes asked together; alone, one is asked without allocating.
#[derive(Debug)]
struct Patterns(RegexSet);

impl Patterns {
    fn build(texts: &[String]) -> Result<Patterns, Problem> {
        let set = RegexSetBuilder::new(texts).unicode(false).size_limit(REGEX_SET_BYTES_MAX).build();
        set.map(Patterns).map_err(|e| Problem::new(format!("the host's regexes together: {e}"), ""))
    }

    /// Calls `f` with the number of each regex that matches, in order.
    fn each<B>(&self, text: &[u8], mut f: impl FnMut(usize) -> ControlFlow<B>) -> ControlFlow<B> {
        // Most texts match nothing, and this question needs no memory.
        if !self.0.is_match(text) {
            return ControlFlow::Continue(());
        }
        if self.0.len() == 1 {
            return f(0);
        }
        self.0.matches(text).iter().try_for_each(f)
    }
}

/// For shapes with many paths.
#[derive(Debug)]
struct PathIndex {
    slots: Slots,
    /// Lengths that prefixes have, longest first.
    prefix_lens: Box<[u16]>,
}

impl Tables {
    /// Calls `f` with each candidate of `host` and `path`, the most specific first (C3 without explicit priorities).
    #[inline]
    pub fn visit<B>(
        &self,
        host: Option<&[u8]>,
        path: &[u8],
        mut f: impl FnMut(Candidate) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.visit_hosts(host, true, |record| self.visit_paths(record, path, &mut f))
    }

    /// Calls `f` with each record that `host` (folded) may use: its own, wildcards from the longest, regexes, any.
    #[inline]
    pub fn visit_hosts<B>(
        &self,
        host: Option<&[u8]>,
        regexes: bool,
        mut f: impl FnMut(Record) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if let Some(host) = host {
            if let Some(record) = self.find_name(&self.exact, host) {
                f(record)?;
            }
            if self.wildcard_lens != [0; 4] {
                self.visit_wildcards(host, &mut f)?;
            }
            if let Some((patterns, records)) = self.regex.as_ref().filter(|_| regexes) {
                patterns.each(host, |n| f(records[n]))?;
            }
        }
        self.any.map_or(ControlFlow::Continue(()), f)
    }

    fn visit_wildcards<B>(&self, host: &[u8], f: &mut impl FnMut(Record) -> ControlFlow<B>) -> ControlFlow<B> {
        for dot in memchr::memchr_iter(b'.', host).filter(|dot| *dot > 0) {
            let suffix = &host[dot + 1..];
            let bits = self.wildcard_lens[(suffix.len() / 64).min(3)];
            if bits & (1 << (suffix.len() % 64)) != 0
                && let Some(record) = self.find_name(&self.wildcard, suffix)
            {
                f(record)?;
            }
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn find_name(&self, slots: &Slots, name: &[u8]) -> Option<Record> {
        let found = slots.find(hash(name, HOST_SEED), |at| {
            let at = at as usize;
            let len = usize::from(self.records[at]);
            same(&self.records[at + 1..][..len], name)
        });
        found.map(Record)
    }

    /// The record of regex host number `n`, in file order.
    pub fn regex_host(&self, n: usize) -> Option<Record> {
        self.regex.as_ref().and_then(|(_, records)| records.get(n).copied())
    }

    /// The record of routes without a host.
    pub fn any_host(&self) -> Option<Record> {
        self.any
    }

    /// Calls `f` with each candidate of a record, the most specific path first.
    #[inline]
    pub fn visit_paths<B>(
        &self,
        record: Record,
        path: &[u8],
        mut f: impl FnMut(Candidate) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let at = record.0 as usize;
        let at = at + 1 + usize::from(self.records[at]);
        let shape = &self.shapes[self.u32_at(at) as usize];
        let group = Group { tables: self, starts: shape.starts, id: self.u32_at(at + 4), entries: at + 8 };
        match self.indexes.get(shape.index as usize) {
            Some(index) => self.visit_index(index, path, |n, kind| group.visit(n - shape.keys, kind, &mut f))?,
            None => {
                let keys = &self.keys[shape.keys as usize..][..shape.keys_len as usize];
                let start = start_word(path);
                for (n, key) in keys.iter().enumerate() {
                    if !key.starts(&self.text, start, path) {
                        continue;
                    }
                    let next = path.get(usize::from(key.len));
                    if key.exact && next.is_none() {
                        group.visit(n as u32, Kind::Exact, &mut f)?;
                    } else if !key.exact && (key.slash || matches!(next, None | Some(b'/'))) {
                        group.visit(n as u32, Kind::Prefix, &mut f)?;
                    }
                }
            }
        }
        let mut after = shape.keys_len;
        if let Some(patterns) = self.patterns.get(shape.patterns as usize) {
            // A regex may not see what is no path (`*`).
            if path.starts_with(b"/") {
                patterns.each(path, |n| group.visit(after + n as u32, Kind::Pattern, &mut f))?;
            }
            after += patterns.0.len() as u32;
        }
        match shape.any {
            true => group.visit(after, Kind::Any, &mut f),
            false => ControlFlow::Continue(()),
        }
    }

    /// Calls `f` with the key of the exact path, then of each prefix from the longest.
    #[inline]
    fn visit_index<B>(
        &self,
        index: &PathIndex,
        path: &[u8],
        mut f: impl FnMut(u32, Kind) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let find = |text: &[u8], exact: bool| {
            let seed = if exact { EXACT_SEED } else { PREFIX_SEED };
            index.slots.find(hash(text, seed), |n| {
                let key = &self.keys[n as usize];
                key.exact == exact && same(self.text_of(key), text)
            })
        };
        if let Some(n) = find(path, true) {
            f(n, Kind::Exact)?;
        }
        let shorter = index.prefix_lens.partition_point(|len| usize::from(*len) > path.len());
        for len in &index.prefix_lens[shorter..] {
            let (text, rest) = path.split_at(usize::from(*len));
            // Only where a segment ends can a prefix end.
            if (rest.is_empty() || rest[0] == b'/' || text.ends_with(b"/"))
                && let Some(n) = find(text, false)
            {
                f(n, Kind::Prefix)?;
            }
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn text_of(&self, key: &Key) -> &[u8] {
        &self.text[key.at as usize..][..usize::from(key.len)]
    }

    #[inline]
    fn u32_at(&self, at: usize) -> u32 {
        self.records[at..].first_chunk().map_or(NONE, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Bytes on the heap, without those inside compiled regexes.
    pub fn heap_bytes(&self) -> usize {
        let indexes = self.indexes.iter().map(|i| i.slots.heap_bytes() + size_of_val(&*i.prefix_lens)).sum::<usize>();
        size_of_val(&*self.text)
            + size_of_val(&*self.keys)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.shapes)
            + size_of_val(&*self.patterns)
            + size_of_val(&*self.indexes)
            + indexes
            + size_of_val(&*self.records)
            + self.exact.heap_bytes()
            + self.wildcard.heap_bytes()
    }
}

/// A record's entries, found by group number.
#[derive(Clone, Copy)]
struct Group<'t> {
    tables: &'t Tables,
    starts: u32,
    id: u32,
    entries: usize,
}

impl Group<'_> {
    #[inline]
    fn visit<B>(self, group: u32, kind: Kind, f: &mut impl FnMut(Candidate) -> ControlFlow<B>) -> ControlFlow<B> {
        let (from, to) = match self.starts {
            NONE => (group, group + 1),
            starts => {
                let at = (starts + group) as usize;
                (self.tables.starts[at], self.tables.starts[at + 1])
            }
        };
        for n in from..to {
            let at = self.entries + 8 * n as usize;
            let (route, predicates) = (self.tables.u32_at(at), self.tables.u32_at(at + 4));
            f(Candidate { id: self.id + n, route, predicates, kind })?;
        }
        ControlFlow::Continue(())
    }
}

/// One path pattern of a host, with how many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupSpec<'a> {
    /// The pattern.
    pub path: PathPattern<'a>,
    /// Entries of the host that have it.
    pub entries: u32,
}

/// Which hosts a record is for.
#[derive(Clone, Copy, Debug)]
pub enum HostSpec<'a> {
    /// This name.
    Exact(&'a str),
    /// Names below this one.
    Wildcard(&'a str),
    /// Hosts in which this pattern is found.
    Regex(&'a str),
    /// Every host.
    Any,
}

/// Builds [`Tables`] host by host.
#[derive(Default)]
pub struct Builder<'a> {
    text: Vec<u8>,
    interned: HashMap<&'a str, u32>,
    keys: Vec<Key>,
    starts: Vec<u32>,
    shapes: Vec<Shape>,
    shape_numbers: HashMap<Box<[GroupSpec<'a>]>, u32>,
    patterns: Vec<Patterns>,
    pattern_numbers: HashMap<Vec<String>, u32>,
    indexes: Vec<PathIndex>,
    records: Vec<u8>,
    exact: Vec<(u64, u32)>,
    wildcard: Vec<(u64, u32)>,
    wildcard_lens: [u64; 4],
    regex: Vec<String>,
    regex_records: Vec<Record>,
    any: Option<Record>,
    next_id: u32,
}

impl<'a> Builder<'a> {
    /// Adds a host. `groups` are in order of specificity: exact, prefixes from the longest, patterns, none; `entries`
    /// (route, predicates) group by group. Ids are given in the order of the entries. Fails on regexes too large together.
    pub fn host(
        &mut self,
        host: HostSpec<'_>,
        groups: &[GroupSpec<'a>],
        entries: impl Iterator<Item = (u32, u32)>,
    ) -> Result<(), Problem> {
        let shape = self.shape(groups)?;
        let at = self.records.len() as u32;
        let name = match host {
            HostSpec::Exact(name) | HostSpec::Wildcard(name) => name.as_bytes(),
            HostSpec::Regex(_) | HostSpec::Any => b"",
        };
        match host {
            HostSpec::Exact(_) => self.exact.push((hash(name, HOST_SEED), at)),
            HostSpec::Wildcard(_) => {
                self.wildcard.push((hash(name, HOST_SEED), at));
                self.wildcard_lens[name.len() / 64] |= 1 << (name.len() % 64);
            }
            HostSpec::Regex(pattern) => {
                self.regex.push(pattern.to_string());
                self.regex_records.push(Record(at));
            }
            HostSpec::Any => self.any = Some(Record(at)),
        }
        self.records.push(name.len() as u8);
        self.records.extend_from_slice(name);
        self.records.extend_from_slice(&shape.to_le_bytes());
        self.records.extend_from_slice(&self.next_id.to_le_bytes());
        for (route, predicates) in entries {
            self.records.extend_from_slice(&route.to_le_bytes());
            self.records.extend_from_slice(&predicates.to_le_bytes());
            self.next_id += 1;
        }
        Ok(())
    }

    fn shape(&mut self, groups: &[GroupSpec<'a>]) -> Result<u32, Problem> {
        if let Some(number) = self.shape_numbers.get(groups) {
            return Ok(*number);
        }
        let keys = self.keys.len();
        let mut regexes = Vec::new();
        for group in groups {
            match group.path {
                PathPattern::Exact(text) => self.key(text, true),
                PathPattern::Prefix(text) => self.key(text, false),
                PathPattern::Glob(_) | PathPattern::Regex(_) => regexes.extend(group.path.regex_text()),
                PathPattern::Any => {}
            }
        }
        let shape = Shape {
            keys: keys as u32,
            keys_len: (self.keys.len() - keys) as u32,
            starts: self.starts(groups),
            patterns: self.regexes(regexes)?,
            index: self.index(keys),
            any: groups.iter().any(|group| group.path == PathPattern::Any),
        };
        let number = self.shapes.len() as u32;
        self.shapes.push(shape);
        self.shape_numbers.insert(groups.into(), number);
        Ok(number)
    }

    fn key(&mut self, text: &'a str, exact: bool) {
        let arena = &mut self.text;
        let at = *self.interned.entry(text).or_insert_with(|| {
            arena.extend_from_slice(text.as_bytes());
            (arena.len() - text.len()) as u32
        });
        let start = start_word(text.as_bytes());
        self.keys.push(Key { start, at, len: text.len() as u16, exact, slash: text.ends_with('/') });
    }

    fn starts(&mut self, groups: &[GroupSpec<'a>]) -> u32 {
        if groups.iter().all(|group| group.entries == 1) {
            return NONE;
        }
        let at = self.starts.len() as u32;
        let mut next = 0;
        for group in groups {
            self.starts.push(next);
            next += group.entries;
        }
        self.starts.push(next);
        at
    }

    /// Compiled regexes are large: shapes with the same list share it, whatever else they hold.
    fn regexes(&mut self, texts: Vec<String>) -> Result<u32, Problem> {
        if texts.is_empty() {
            return Ok(NONE);
        }
        if let Some(number) = self.pattern_numbers.get(&texts) {
            return Ok(*number);
        }
        let number = self.patterns.len() as u32;
        self.patterns.push(Patterns::build(&texts)?);
        self.pattern_numbers.insert(texts, number);
        Ok(number)
    }

    fn index(&mut self, from: usize) -> u32 {
        let keys = &self.keys[from..];
        if keys.len() <= LINEAR_MAX {
            return NONE;
        }
        let mut entries = Vec::with_capacity(keys.len());
        for (n, key) in keys.iter().enumerate() {
            let text = &self.text[key.at as usize..][..usize::from(key.len)];
            let seed = if key.exact { EXACT_SEED } else { PREFIX_SEED };
            entries.push((hash(text, seed), (from + n) as u32));
        }
        let mut lens: Vec<u16> = keys.iter().filter(|key| !key.exact).map(|key| key.len).collect();
        lens.sort_unstable_by(|a, b| b.cmp(a));
        lens.dedup();
        self.indexes.push(PathIndex { slots: Slots::build(&entries), prefix_lens: lens.into() });
        self.indexes.len() as u32 - 1
    }

    /// The finished tables. Fails on host regexes too large together.
    pub fn build(self) -> Result<Tables, Problem> {
        let regex = match self.regex.is_empty() {
            true => None,
            false => Some((Patterns::build(&self.regex)?, self.regex_records.into())),
        };
        Ok(Tables {
            text: self.text.into(),
            keys: self.keys.into(),
            starts: self.starts.into(),
            shapes: self.shapes.into(),
            patterns: self.patterns.into(),
            indexes: self.indexes.into(),
            records: self.records.into(),
            exact: Slots::build(&self.exact),
            wildcard: Slots::build(&self.wildcard),
            wildcard_lens: self.wildcard_lens,
            regex,
            any: self.any,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_share_what_is_alike() {
        let group = |path| GroupSpec { path, entries: 1 };
        let (api, regex) = (group(PathPattern::Prefix("/api")), group(PathPattern::Regex("^/v[0-9]")));
        let own = ["/a", "/b", "/c"].map(|path| group(PathPattern::Prefix(path)));
        let mut builder = Builder::default();
        for n in 0..50_u32 {
            let name = format!("h{n}");
            builder.host(HostSpec::Exact(&name), &[api], [(n, NONE)].into_iter()).unwrap();
        }
        for (n, own) in own.into_iter().enumerate() {
            let name = format!("r{n}");
            builder.host(HostSpec::Exact(&name), &[own, regex], [(0, NONE), (1, NONE)].into_iter()).unwrap();
        }
        let tables = builder.build().unwrap();
        assert_eq!(tables.shapes.len(), 4, "one for all of h*, one for each of r*");
        assert_eq!(tables.patterns.len(), 1);
        assert_eq!(&*tables.text, b"/api/a/b/c");
        let names = 10 * 2 + 40 * 3 + 3 * 2;
        let bytes = names + 50 * (1 + 8 + 8) + 3 * (1 + 8 + 16);
        assert_eq!(tables.records.len(), bytes, "nothing but name, shape, id and entries");
    }
}
