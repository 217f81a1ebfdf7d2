//! An encoder for tests, which may do all that RFC 9204 lets it do: it names entries that are still on their way, by any
//! kind of index, and keeps its table by the letter of section 3.2.
use crate::support::{Field, integer};
use edge_io::field_codec::string;
use edge_quic::h3::qpack::FIELD_OVERHEAD;

/// A string on the wire, coded if that is asked for and shorter.
fn text(out: &mut Vec<u8>, first: u8, bits: u32, text: &[u8], coded: bool) {
    if coded { string::write_coded(out, first, bits, text) } else { string::write_plain(out, first, bits, text) }
}

/// How one field of a section is to be written.
#[derive(Clone, Debug)]
pub enum Line {
    Static(usize),
    /// The entry that is this many per cent from the oldest.
    Dynamic(usize),
    StaticName {
        index: usize,
        value: Vec<u8>,
        coded: bool,
        never: bool,
    },
    DynamicName {
        at: usize,
        value: Vec<u8>,
        coded: bool,
        never: bool,
    },
    Literal {
        name: Vec<u8>,
        value: Vec<u8>,
        coded: bool,
        never: bool,
    },
}

/// How an entry is to be inserted.
#[derive(Clone, Debug)]
pub enum Insert {
    StaticName { index: usize, value: Vec<u8>, coded: bool },
    DynamicName { at: usize, value: Vec<u8>, coded: bool },
    Literal { name: Vec<u8>, value: Vec<u8>, coded: bool },
    Duplicate { at: usize },
}

/// A section as it was written.
#[derive(Clone, Debug)]
pub struct Section {
    pub stream: u64,
    pub octets: Vec<u8>,
    pub fields: Vec<Field>,
    pub required: u64,
    oldest: usize,
}

/// The encoder.
pub struct Model {
    entries: Vec<Field>,
    evicted: usize,
    capacity: usize,
    max_entries: u64,
    most: usize,
    statics: Vec<Field>,
    /// The encoder stream.
    pub stream: Vec<u8>,
}

impl Model {
    pub fn new(table_bytes_max: usize, statics: Vec<Field>) -> Model {
        let max_entries = (table_bytes_max / FIELD_OVERHEAD) as u64;
        Model { entries: vec![], evicted: 0, capacity: 0, max_entries, most: table_bytes_max, statics, stream: vec![] }
    }

    pub fn inserted(&self) -> usize {
        self.entries.len()
    }

    fn live(&self) -> usize {
        self.entries.len() - self.evicted
    }

    /// The absolute index of the entry that is this many per cent from the oldest.
    fn at(&self, per_cent: usize) -> Option<usize> {
        (self.live() > 0).then(|| self.evicted + per_cent * self.live() / 100)
    }

    /// How many entries are evicted once the rest has at most `bytes`.
    fn evicted_for(&self, bytes: usize) -> usize {
        let size = |f: &Field| f.0.len() + f.1.len() + FIELD_OVERHEAD;
        let mut total: usize = self.entries[self.evicted..].iter().map(size).sum();
        let mut evicted = self.evicted;
        while total > bytes {
            total -= size(&self.entries[evicted]);
            evicted += 1;
        }
        evicted
    }

    fn oldest_of(pending: &[Section]) -> usize {
        pending.iter().map(|s| s.oldest).min().unwrap_or(usize::MAX)
    }

    /// Sets the capacity, unless that would evict what `pending` names.
    pub fn set_capacity(&mut self, capacity: usize, pending: &[Section]) {
        let capacity = capacity.min(self.most);
        let evicted = self.evicted_for(capacity);
        if evicted <= Self::oldest_of(pending) {
            (self.capacity, self.evicted) = (capacity, evicted);
            self.stream.extend(integer(0x20, 5, capacity as u64));
        }
    }

    /// Inserts an entry, unless it does not fit or would evict what `pending` names.
    pub fn insert(&mut self, insert: &Insert, pending: &[Section]) {
        let newest = self.entries.len();
        let mut octets = Vec::new();
        let entry = match insert {
            Insert::StaticName { index, value, coded } => {
                let index = index % self.statics.len();
                octets.extend(integer(0xc0, 6, index as u64));
                text(&mut octets, 0, 7, value, *coded);
                (self.statics[index].0.clone(), value.clone())
            }
            Insert::DynamicName { at, value, coded } => {
                let Some(at) = self.at(*at) else { return };
                octets.extend(integer(0x80, 6, (newest - 1 - at) as u64));
                text(&mut octets, 0, 7, value, *coded);
                (self.entries[at].0.clone(), value.clone())
            }
            Insert::Literal { name, value, coded } => {
                text(&mut octets, 0x40, 5, name, *coded);
                text(&mut octets, 0, 7, value, *coded);
                (name.clone(), value.clone())
            }
            Insert::Duplicate { at } => {
                let Some(at) = self.at(*at) else { return };
                octets.extend(integer(0, 5, (newest - 1 - at) as u64));
                self.entries[at].clone()
            }
        };
        let Some(rest) = self.capacity.checked_sub(entry.0.len() + entry.1.len() + FIELD_OVERHEAD) else { return };
        let evicted = self.evicted_for(rest);
        if evicted <= Self::oldest_of(pending) {
            self.evicted = evicted;
            self.entries.push(entry);
            self.stream.extend(octets);
        }
    }

    /// Writes a section whose Base is `base` per cent of all insertions.
    pub fn section(&self, stream: u64, lines: &[Line], base: usize) -> Section {
        let base = self.entries.len() * base / 100;
        let (mut body, mut fields, mut named) = (Vec::new(), Vec::new(), Vec::new());
        let relative = |at: usize| (base - 1 - at) as u64;
        for line in lines {
            let dynamic = match line {
                Line::Dynamic(at) | Line::DynamicName { at, .. } => self.at(*at),
                _ => None,
            };
            named.extend(dynamic);
            match (line, dynamic) {
                (Line::Static(index), _) => {
                    let index = index % self.statics.len();
                    body.extend(integer(0xc0, 6, index as u64));
                    fields.push(self.statics[index].clone());
                }
                (Line::Dynamic(_), Some(at)) => {
                    let line =
                        if at < base { integer(0x80, 6, relative(at)) } else { integer(0x10, 4, (at - base) as u64) };
                    body.extend(line);
                    fields.push(self.entries[at].clone());
                }
                (Line::StaticName { index, value, coded, never }, _) => {
                    let index = index % self.statics.len();
                    body.extend(integer(0x50 | u8::from(*never) << 5, 4, index as u64));
                    text(&mut body, 0, 7, value, *coded);
                    fields.push((self.statics[index].0.clone(), value.clone()));
                }
                (Line::DynamicName { value, coded, never, .. }, Some(at)) => {
                    let name = if at < base {
                        integer(0x40 | u8::from(*never) << 5, 4, relative(at))
                    } else {
                        integer(u8::from(*never) << 3, 3, (at - base) as u64)
                    };
                    body.extend(name);
                    text(&mut body, 0, 7, value, *coded);
                    fields.push((self.entries[at].0.clone(), value.clone()));
                }
                (Line::Literal { name, value, coded, never }, _) => {
                    text(&mut body, 0x20 | u8::from(*never) << 4, 3, name, *coded);
                    text(&mut body, 0, 7, value, *coded);
                    fields.push((name.clone(), value.clone()));
                }
                (_, None) => {}
            }
        }
        let required = named.iter().max().map_or(0, |at| *at as u64 + 1);
        let mut octets = self.prefix(required, base as u64);
        octets.extend(body);
        Section { stream, octets, fields, required, oldest: named.into_iter().min().unwrap_or(usize::MAX) }
    }

    fn prefix(&self, required: u64, base: u64) -> Vec<u8> {
        if required == 0 {
            return integer(0, 8, 0).into_iter().chain(integer(0, 7, base)).collect();
        }
        let encoded = required % (2 * self.max_entries) + 1;
        let delta =
            if base >= required { integer(0, 7, base - required) } else { integer(0x80, 7, required - base - 1) };
        integer(0, 8, encoded).into_iter().chain(delta).collect()
    }
}
