//! Reads one table of the document against its shape: typed values, bounds, unknown keys, all mistakes noted.
use super::{
    limits::{Bounds, Default, Key, Kind, LIST_MAX, Shape},
    report::{Log, Problem},
    suggest, units,
};
use std::{cell::Cell, ops::Range, time::Duration};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// A parsed piece of the source, and where it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// (offset in the piece, offset in the source), ascending: from there on both run in step.
    steps: Vec<(usize, usize)>,
}

impl Origin {
    /// A piece that begins at `start` in the source.
    pub fn at(start: usize) -> Origin {
        Origin { steps: vec![(0, start)] }
    }

    /// A piece glued from several; answers the text too.
    pub fn glue(text: &str, ranges: &[Range<usize>]) -> (Origin, String) {
        let (mut steps, mut glued) = (Vec::with_capacity(ranges.len()), String::new());
        for range in ranges {
            steps.push((glued.len(), range.start));
            glued.push_str(text.get(range.clone()).unwrap_or(""));
        }
        (Origin { steps }, glued)
    }

    /// Where `span` of the piece is in the source.
    pub fn locate(&self, span: Range<usize>) -> Range<usize> {
        let index = self.steps.partition_point(|(piece, _)| *piece <= span.start);
        let (piece, source) = index.checked_sub(1).and_then(|i| self.steps.get(i)).copied().unwrap_or((0, 0));
        let start = source + (span.start - piece);
        start..start + span.end.saturating_sub(span.start)
    }
}

/// What readers of one piece share.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// Where the piece came from.
    pub origin: &'a Origin,
    /// Where mistakes go.
    pub log: &'a Log,
}

impl Scene<'_> {
    /// Notes a mistake at `span` of the piece.
    pub fn mistake(&self, span: Range<usize>, make: impl FnOnce(Range<usize>) -> Problem) {
        self.log.mistake(make(self.origin.locate(span)));
    }
}

/// A string and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Text<'a> {
    /// The string.
    pub value: &'a str,
    /// Its span in the piece.
    pub span: Range<usize>,
}

/// One table being read against its shape.
pub(crate) struct Section<'a> {
    /// What all readers of the piece share.
    pub scene: Scene<'a>,
    /// The table's span in the piece: its header or its braces.
    pub span: Range<usize>,
    shape: &'static Shape,
    table: &'a DeTable<'a>,
    /// One bit per key of the shape that was asked for.
    asked: Cell<u64>,
    /// One bit per key of the shape that an unknown key was most likely meant to be.
    meant: Cell<u64>,
}

impl<'a> Section<'a> {
    /// Reads `table`, which stands at `span`, as `shape`; unknown keys are noted at once.
    pub fn new(scene: Scene<'a>, shape: &'static Shape, table: &'a DeTable<'a>, span: Range<usize>) -> Section<'a> {
        let section = Section { scene, span, shape, table, asked: Cell::new(0), meant: Cell::new(0) };
        for (name, _) in table {
            if shape.key(name.get_ref()).is_none() {
                section.unknown(name.get_ref(), name.span());
            }
        }
        section
    }

    /// Reads `value`, called `name`, as a table of `shape`, or notes that it is none.
    pub fn of(
        scene: Scene<'a>,
        name: &str,
        shape: &'static Shape,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Option<Section<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(scene, shape, table, value.span())),
            other => {
                let names: Vec<&str> = shape.keys.iter().map(|key| key.name).collect();
                let expected = format!("a table of these keys: {}", names.join(", "));
                scene.mistake(value.span(), |at| wrong_type(at, name, other).expected(expected));
                None
            }
        }
    }

    fn unknown(&self, name: &str, span: Range<usize>) {
        let names = || self.shape.keys.iter().map(|k| k.name);
        let nearest = suggest::nearest(name, names());
        if let Some((index, _)) = nearest.and_then(|nearest| self.shape.key(nearest)) {
            self.meant.set(self.meant.get() | 1 << index);
        }
        self.scene.mistake(span, |at| {
            Problem::new(at, format!("unknown key {:?} {}", cut(name), self.shape.place))
                .expected(format!("one of {}", names().collect::<Vec<_>>().join(", ")))
                .help(suggest::did_you_mean(name, names()))
        });
    }

    /// Whether `name` is missing: neither given, nor meant by an unknown key.
    pub fn misses(&self, name: &str) -> bool {
        let meant = self.shape.key(name).is_some_and(|(index, _)| self.meant.get() & (1 << index) != 0);
        !self.has(name) && !meant
    }

    /// The value of `name`, and the key. A name that is not in the shape is a bug, not a mistake of the reader's.
    fn get(&self, name: &str) -> Option<(&'static Key, &'a Spanned<DeValue<'a>>)> {
        let found = self.shape.key(name);
        debug_assert!(found.is_some(), "{name} is not a key of {}", self.shape.title);
        let (index, key) = found?;
        self.asked.set(self.asked.get() | 1 << index);
        Some((key, self.table.get(name)?))
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.shape.key(name).map(|(_, key)| key)
    }

    /// Whether `name` is given, rightly or wrongly.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The untyped value of `name`.
    pub fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.get(name).map(|(_, value)| value)
    }

    /// Where the value of `name` stands, or else the table.
    pub fn span_of(&self, name: &str) -> Range<usize> {
        self.table.get(name).map_or(self.span.clone(), Spanned::span)
    }

    /// Where the key `name` stands, or else the table.
    pub fn span_of_key(&self, name: &str) -> Range<usize> {
        self.table.get_key_value(name).map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// Ends the reading. A key of the shape that nothing asked for would be decoration: a bug, found by any test.
    pub fn finish(self) {
        let all = (1u64 << self.shape.keys.len()) - 1;
        debug_assert_eq!(self.asked.get(), all, "keys of {} that nothing reads", self.shape.title);
    }

    /// A flag; its default when absent or wrong.
    pub fn flag(&self, name: &str) -> bool {
        let default = matches!(self.key(name), Some(Key { kind: Kind::Flag(true), .. }));
        match self.get(name) {
            None => default,
            Some((_, value)) => self.flag_of(name, value).unwrap_or(default),
        }
    }

    /// `value` as a flag, or a mistake.
    pub fn flag_of(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        if let DeValue::Boolean(flag) = value.get_ref() {
            return Some(*flag);
        }
        self.scene.mistake(value.span(), |at| {
            let help = match value.get_ref().as_str() {
                Some("true" | "yes" | "on") => "write true, without quotes",
                Some("false" | "no" | "off") => "write false, without quotes",
                _ => "",
            };
            wrong_type(at, name, value.get_ref()).expected("true or false").help(help)
        });
        None
    }

    /// A whole number that always has a value: its default when absent or wrong.
    pub fn count(&self, name: &str) -> u64 {
        self.count_or_word(name).unwrap_or(0)
    }

    /// A whole number, or `None` for the key's word ("auto").
    pub fn count_or_word(&self, name: &str) -> Option<u64> {
        let Some(Kind::Count(Bounds { default, min, max }, word)) = self.key(name).map(|k| k.kind) else { return None };
        let Some((_, value)) = self.get(name) else { return default.value() };
        if word.is_some() && value.get_ref().as_str() == word {
            return None;
        }
        let expected = match word {
            Some(word) => format!("\"{word}\" or a whole number from {min} to {max}"),
            None if min == max => format!("{min}"),
            None => format!("a whole number from {min} to {max}"),
        };
        match self.integer(name, value, &expected, word) {
            Some(n) if (i128::from(min)..=i128::from(max)).contains(&n) => u64::try_from(n).ok(),
            Some(n) => {
                self.out_of_bounds(name, &n.to_string(), value.span(), &expected);
                default.value()
            }
            None => default.value(),
        }
    }

    /// A signed whole number; 0 when absent or wrong.
    pub fn signed(&self, name: &str) -> i64 {
        let Some(Kind::Signed(max)) = self.key(name).map(|k| k.kind) else { return 0 };
        let Some((_, value)) = self.get(name) else { return 0 };
        let expected = format!("a whole number from -{max} to {max}");
        match self.integer(name, value, &expected, None) {
            Some(n) if n.unsigned_abs() <= u128::from(max.unsigned_abs()) => i64::try_from(n).unwrap_or(0),
            Some(n) => {
                self.out_of_bounds(name, &n.to_string(), value.span(), &expected);
                0
            }
            None => 0,
        }
    }

    fn integer(&self, name: &str, value: &Spanned<DeValue<'_>>, expected: &str, word: Option<&str>) -> Option<i128> {
        match value.get_ref() {
            DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Some(n),
                Err(_) => {
                    self.out_of_bounds(name, &cut(n.as_str()), value.span(), expected);
                    None
                }
            },
            other => {
                let quoted = other.as_str().filter(|s| s.parse::<u64>().is_ok());
                let unquoted = quoted.map(|s| format!("write {s}, without quotes"));
                let near = || other.as_str().map(|s| suggest::did_you_mean(s, word)).unwrap_or_default();
                let help = unquoted.unwrap_or_else(near);
                self.scene.mistake(value.span(), |at| wrong_type(at, name, other).expected(expected).help(help));
                None
            }
        }
    }

    fn out_of_bounds(&self, name: &str, given: &str, span: Range<usize>, expected: &str) {
        self.scene
            .mistake(span, |at| Problem::new(at, format!("{name} = {given} is out of bounds")).expected(expected));
    }

    /// A duration that always has a value: its default when absent or wrong.
    pub fn time(&self, name: &str) -> Duration {
        self.time_or_off(name).unwrap_or_default()
    }

    /// A duration, or `None` for "off".
    pub fn time_or_off(&self, name: &str) -> Option<Duration> {
        let Some(Kind::Time(bounds, off)) = self.key(name).map(|k| k.kind) else { return None };
        let spelling = Spelling { read: units::time, show: units::show_time, what: "a duration", example: "30s" };
        self.amount(name, bounds, off, &spelling).map(Duration::from_millis)
    }

    /// A size that always has a value: its default when absent or wrong.
    pub fn size(&self, name: &str) -> u64 {
        self.size_or_off(name).unwrap_or(0)
    }

    /// A size, or `None` for "off".
    pub fn size_or_off(&self, name: &str) -> Option<u64> {
        let Some(Kind::Size(bounds, off)) = self.key(name).map(|k| k.kind) else { return None };
        let spelling = Spelling { read: units::size, show: units::show_size, what: "a size", example: "64KiB" };
        self.amount(name, bounds, off, &spelling)
    }

    /// A rate in bytes per second; 0 for "off".
    pub fn rate(&self, name: &str) -> u64 {
        let Some(Kind::Rate(bounds)) = self.key(name).map(|k| k.kind) else { return 0 };
        let show = |n| format!("{}/s", units::show_size(n));
        let spelling = Spelling { read: units::rate, show, what: "a rate", example: "500B/s" };
        self.amount(name, bounds, true, &spelling).unwrap_or(0)
    }

    /// A percentage in thousandths; its default when absent or wrong.
    pub fn percent(&self, name: &str) -> u64 {
        let Some(Kind::Percent(bounds)) = self.key(name).map(|k| k.kind) else { return 0 };
        let spelling =
            Spelling { read: units::percent, show: units::show_percent, what: "a percentage", example: "10%" };
        self.amount(name, bounds, false, &spelling).unwrap_or(0)
    }

    fn amount(&self, name: &str, bounds: Bounds, off: bool, s: &Spelling) -> Option<u64> {
        let Bounds { default, min, max } = bounds;
        let Some((_, value)) = self.get(name) else { return default.value() };
        let text = value.get_ref().as_str();
        if off && text == Some("off") {
            return None;
        }
        let or_off = if off { ", or \"off\"" } else { "" };
        let range = format!("{} from \"{}\" to \"{}\"{or_off}", s.what, (s.show)(min), (s.show)(max));
        let problem = match (text.map(s.read), value.get_ref()) {
            (Some(Ok(n)), _) if (min..=max).contains(&n) => return Some(n),
            (Some(Ok(_)), _) => {
                self.out_of_bounds(name, &cut(&format!("{:?}", text.unwrap_or(""))), value.span(), &range);
                return default.value();
            }
            (Some(Err(unreadable)), _) => (unreadable.try_this, format!("{name} is not {}", s.what)),
            (None, DeValue::Integer(n)) if n.radix() == 10 => {
                let meant = (s.read)(n.as_str()).err().and_then(|u| u.try_this);
                (meant, format!("{name} is a number without a unit"))
            }
            (None, other) => (None, format!("{name} is {}", a_type(other))),
        };
        let expected = format!("{} such as \"{}\"{or_off}", s.what, s.example);
        let help = problem.0.map(|t| format!("write \"{t}\"")).unwrap_or_default();
        self.scene.mistake(value.span(), |at| Problem::new(at, problem.1).expected(expected).help(help));
        default.value()
    }

    /// One of the key's words; its default when absent or wrong.
    pub fn word(&self, name: &str) -> &'static str {
        let Some(Kind::Word(words)) = self.key(name).map(|k| k.kind) else { return "" };
        let default = words.first().copied().unwrap_or("");
        let Some(text) = self.text(name) else { return default };
        words.iter().copied().find(|w| *w == text.value).unwrap_or_else(|| {
            let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
            self.scene.mistake(text.span, |at| {
                Problem::new(at, format!("{name} = {:?} is not known", cut(text.value)))
                    .expected(quoted.join(" or "))
                    .help(suggest::did_you_mean(text.value, words.iter().copied()))
            });
            default
        })
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<Text<'a>> {
        let (_, value) = self.get(name)?;
        self.text_of(name, value, "a string")
    }

    /// A string; an empty one is a mistake.
    pub fn text_not_empty(&self, name: &str) -> Option<Text<'a>> {
        let text = self.text(name)?;
        if !text.value.is_empty() {
            return Some(text);
        }
        self.scene.mistake(text.span, |at| Problem::new(at, format!("{name} is empty")));
        None
    }

    /// `value` as a string, or a mistake that says what was expected.
    pub fn text_of(&self, name: &str, value: &'a Spanned<DeValue<'a>>, expected: &str) -> Option<Text<'a>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Text { value: text, span: value.span() }),
            other => {
                self.scene.mistake(value.span(), |at| wrong_type(at, name, other).expected(expected));
                None
            }
        }
    }

    /// A string or a list of strings; nothing when absent.
    pub fn texts(&self, name: &str) -> Vec<Text<'a>> {
        let expected = "a string or a list of strings";
        match self.get(name) {
            None => Vec::new(),
            Some((_, value)) if value.get_ref().is_array() => {
                let items = self.list_of(name, value, expected);
                items.filter_map(|item| self.text_of(&format!("an element of {name}"), item, "a string")).collect()
            }
            Some((_, value)) => self.text_of(name, value, expected).into_iter().collect(),
        }
    }

    /// What the list of strings `name` holds by default.
    pub fn default_texts(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let default = self.key(name).map_or("", |key| key.default);
        default.split('"').skip(1).step_by(2)
    }

    /// The elements of a list; a mistake when it is none or too long.
    pub fn list_of(
        &self,
        name: &str,
        value: &'a Spanned<DeValue<'a>>,
        expected: &str,
    ) -> impl Iterator<Item = &'a Spanned<DeValue<'a>>> + use<'a> {
        let list = value.get_ref().as_array();
        match list {
            None => self.scene.mistake(value.span(), |at| wrong_type(at, name, value.get_ref()).expected(expected)),
            Some(list) if list.len() > LIST_MAX => {
                let problem =
                    |at| Problem::new(at, format!("{name} has {} elements, more than {LIST_MAX}", list.len()));
                self.scene.mistake(value.span(), problem);
            }
            Some(_) => {}
        }
        list.into_iter().flat_map(|list| list.iter()).take(LIST_MAX)
    }

    /// The entries of a table whose keys are free; a mistake when it is none. In the order of the file.
    pub fn entries(&self, name: &str, expected: &str) -> Vec<(Text<'a>, &'a Spanned<DeValue<'a>>)> {
        let Some((_, value)) = self.get(name) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.scene.mistake(value.span(), |at| wrong_type(at, name, value.get_ref()).expected(expected));
            return Vec::new();
        };
        let entry =
            |(key, value): (&'a Spanned<DeString<'a>>, _)| (Text { value: key.get_ref(), span: key.span() }, value);
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(name, _)| name.span.start);
        entries
    }

    /// The sub-table `name`, of the shape that the key names.
    pub fn table(&self, name: &str) -> Option<Section<'a>> {
        let (key, value) = self.get(name)?;
        let Kind::Table(shape) = key.kind else { return None };
        Section::of(self.scene, name, shape, value)
    }

    /// The sub-tables `name`: one, or a list of them.
    pub fn tables(&self, name: &str) -> Vec<Section<'a>> {
        let Some((key, value)) = self.get(name) else { return Vec::new() };
        let Kind::Tables(shape) = key.kind else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(list) => {
                let title = format!("an element of {name}");
                list.iter().filter_map(|item| Section::of(self.scene, &title, shape, item)).collect()
            }
            other => {
                self.scene.mistake(value.span(), |at| {
                    wrong_type(at, name, other)
                        .expected(format!("a list of tables, each begun by [[{name}]]"))
                        .help(if other.is_table() { format!("write [[{name}]]") } else { String::new() })
                });
                Vec::new()
            }
        }
    }
}

/// How an amount is spelled.
struct Spelling {
    read: fn(&str) -> Result<u64, units::Unreadable>,
    show: fn(u64) -> String,
    what: &'static str,
    example: &'static str,
}

impl Default {
    fn value(self) -> Option<u64> {
        match self {
            Default::Is(n) => Some(n),
            Default::Off | Default::From(_) => None,
        }
    }
}

/// "name is a boolean".
pub(crate) fn wrong_type(at: Range<usize>, name: &str, value: &DeValue<'_>) -> Problem {
    Problem::new(at, format!("{name} is {}", a_type(value)))
}

fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `text` for a message, cut to a bounded length.
pub(crate) fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
    }
}
