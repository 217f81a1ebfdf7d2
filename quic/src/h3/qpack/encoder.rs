//! Encodes field sections (RFC 9204, section 4.5): processor time first, then bytes. It never makes the peer wait: only
//! entries that the peer has acknowledged are named (section 2.1.2).
use super::{
    Fault,
    dynamic::{Dynamic, Found, Open},
    literal::{self, Form},
    section::encoded_required,
    static_table,
};
use edge_io::{
    field_codec::{
        Kind, Malformed, Pseudo, integer,
        policy::{self, Policy},
    },
    head::FieldId,
};

/// A table with fewer bytes is not used: nothing worth it fits the share of an entry.
const TABLE_BYTES_MIN: u32 = 256;

/// The longest instruction of the decoder stream, in bytes.
const INSTRUCTION_MAX: usize = 10;

/// The sending side of a connection. What comes again on it is inserted when it comes the second time, and named once the
/// peer has acknowledged it; of each name the last values are remembered, nothing is searched.
pub struct Encoder {
    dynamic: Option<Box<Dynamic>>,
    open: Open,
    /// The start of an instruction of the decoder stream.
    partial: [u8; INSTRUCTION_MAX],
    partial_len: u8,
    out: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

impl Encoder {
    /// An encoder that uses the static table only, until [`Encoder::set_peer`].
    pub fn new() -> Encoder {
        let partial = [0; INSTRUCTION_MAX];
        Encoder { dynamic: None, open: Open::default(), partial, partial_len: 0, out: Vec::new() }
    }

    /// The peer's SETTINGS_QPACK_MAX_TABLE_CAPACITY has come, in bytes: at most [`super::ENCODER_TABLE_BYTES_MAX`] of it are used.
    /// Once in a connection, between sections; the peer's SETTINGS_QPACK_BLOCKED_STREAMS does not matter, as no stream is
    /// ever blocked.
    pub fn set_peer(&mut self, table_bytes: u32) {
        if table_bytes < TABLE_BYTES_MIN || self.dynamic.is_some() {
            return;
        }
        self.dynamic = Some(Box::new(Dynamic::new(table_bytes)));
    }

    /// Bytes held on the heap: at most two tables of [`super::ENCODER_TABLE_BYTES_MAX`], as much again that waits to be sent, and
    /// 10 KiB.
    pub fn memory(&self) -> usize {
        let dynamic = self.dynamic.as_ref();
        let dynamic = dynamic.map_or(0, |d| d.memory());
        self.out.capacity() + dynamic
    }

    /// Instructions to send on the encoder stream (RFC 9204, section 4.3): drain what was sent. At most the table and what
    /// its entries cost, as nothing is inserted in the place of what was not acknowledged.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether [`Encoder::out`] has anything to send.
    #[inline]
    pub fn has_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Starts a section of the stream `stream_id` at the end of `out`: fields follow, in `out` too, then
    /// [`Encoder::end`]. Pseudo-header fields come first; nothing but this encoder may change `out` in between.
    #[inline]
    pub fn begin(&mut self, stream_id: u64, out: &mut Vec<u8>) {
        let base = self.dynamic.as_ref().map_or(0, |d| if d.outstanding.is_full() { 0 } else { d.known });
        self.open = Open { stream: stream_id, start: out.len(), base, required: 0, oldest: 0 };
        out.extend_from_slice(&[0, 0]);
    }

    /// Ends the section: its prefix says now what it needs. The section has to be sent, whole, or its stream reset.
    #[inline]
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.open.required > 0 {
            self.end_dynamic(out);
        }
    }

    fn end_dynamic(&mut self, out: &mut Vec<u8>) {
        let Open { stream, start, base, required, oldest } = self.open;
        let Some(dynamic) = self.dynamic.as_mut() else { return };
        dynamic.outstanding.push(stream, oldest);
        let required_octets = encoded_required(required, dynamic.max_entries);
        let delta = base.saturating_sub(required);
        if required_octets < 0xff && delta < 0x7f {
            if let Some(prefix) = out.get_mut(start..start + 2) {
                prefix.copy_from_slice(&[required_octets as u8, delta as u8]);
            }
            return;
        }
        // A longer prefix, written behind the section and then brought to its front.
        let end = out.len();
        integer::write(out, 0, 8, required_octets as usize);
        integer::write(out, 0, 7, delta as usize);
        let len = out.len() - end;
        if let Some(section) = out.get_mut(start..) {
            section.rotate_right(len);
        }
        out.drain(start + len..start + len + 2);
    }

    /// Appends `:status`. `code` has three digits; others are cut to that.
    #[inline]
    pub fn status(&mut self, out: &mut Vec<u8>, code: u16) {
        match static_table::status(code) {
            Some(index) => integer::write(out, 0xc0, 6, index),
            None => {
                let digit = |n: u16| b'0' + (n % 10) as u8;
                self.repeated(out, Kind::pseudo(Pseudo::Status), &[digit(code / 100), digit(code / 10), digit(code)]);
            }
        }
    }

    /// Appends a pseudo-header field.
    pub fn pseudo(&mut self, out: &mut Vec<u8>, pseudo: Pseudo, value: &[u8]) {
        let kind = Kind::pseudo(pseudo);
        if pseudo == Pseudo::Path {
            plain(out, kind, value);
        } else {
            self.repeated(out, kind, value);
        }
    }

    /// Appends a field. `id` is the id of `name`, which may be in any case and is written in lower case; where `id` is
    /// not `Other`, `name` is not looked at.
    #[inline]
    pub fn field(&mut self, out: &mut Vec<u8>, id: FieldId, name: &[u8], value: &[u8]) {
        let kind = Kind::field(id);
        match policy::of(id) {
            _ if id == FieldId::Other => self.other(out, name, value),
            Policy::Index => self.repeated(out, kind, value),
            Policy::Plain => plain(out, kind, value),
            Policy::Never => known(out, Form::Never, kind, value),
            Policy::Cookie if value.len() < policy::COOKIE_LONG => known(out, Form::Never, kind, value),
            Policy::Cookie => known(out, Form::Plain, kind, value),
        }
    }

    /// Appends a field that no one on the way may compress: one that came that way
    /// ([`super::Decoded::never_indexed`]) has to go on that way (RFC 9204, section 4.5.4).
    pub fn never_indexed(&mut self, out: &mut Vec<u8>, id: FieldId, name: &[u8], value: &[u8]) {
        if id == FieldId::Other {
            literal::field(out, Form::Never, static_table::run_of_other(name), name, value);
        } else {
            known(out, Form::Never, Kind::field(id), value);
        }
    }

    /// A field whose value tends to come again.
    #[inline]
    fn repeated(&mut self, out: &mut Vec<u8>, kind: Kind, value: &[u8]) {
        let run = static_table::run(kind);
        if let Some(index) = run.with_value(value) {
            return integer::write(out, 0xc0, 6, index);
        }
        let Some(dynamic) = self.dynamic.as_mut() else {
            return literal::field(out, Form::Plain, run, kind.name().as_bytes(), value);
        };
        let may_name = match dynamic.find(&self.open, kind, value) {
            Found::At(absolute) => Some(absolute),
            Found::Draining(absolute) => dynamic.renew(&mut self.out, &self.open, kind, absolute).then_some(absolute),
            Found::OnItsWay => None,
            Found::Nowhere => {
                dynamic.learn(&mut self.out, &self.open, kind, value);
                None
            }
        };
        if may_name.is_some_and(|absolute| self.open.name(out, absolute)) {
            return;
        }
        literal::field(out, Form::Plain, run, kind.name().as_bytes(), value);
    }

    /// A field without an id.
    fn other(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let run = static_table::run_of_other(name);
        if let Some(index) = run.with_value(value) {
            return integer::write(out, 0xc0, 6, index);
        }
        if let Some(dynamic) = self.dynamic.as_mut()
            && let Some(absolute) = dynamic.other(&mut self.out, &self.open, run, name, value)
            && self.open.name(out, absolute)
        {
            return;
        }
        literal::field(out, Form::Plain, run, name, value);
    }

    /// Takes what came on the peer's decoder stream, cut anywhere.
    ///
    /// # Errors
    ///
    /// All end the connection.
    pub fn on_decoder_stream(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some((&next, rest)) = bytes.split_first() {
            let len = usize::from(self.partial_len);
            let whole = if len == 0 {
                self.on_instruction(&mut bytes)?
            } else {
                bytes = rest;
                let mut partial = self.partial;
                let octets = partial.get_mut(..=len).ok_or(Fault::DecoderStream(Malformed::IntegerOverflow))?;
                octets[len] = next;
                let whole = self.on_instruction(&mut &octets[..])?;
                (self.partial, self.partial_len) = (partial, if whole { 0 } else { self.partial_len + 1 });
                whole
            };
            if !whole && len == 0 {
                let partial = self.partial.get_mut(..bytes.len());
                let partial = partial.ok_or(Fault::DecoderStream(Malformed::IntegerOverflow))?;
                partial.copy_from_slice(bytes);
                self.partial_len = bytes.len() as u8;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads and follows one instruction (RFC 9204, section 4.4); false: it is not whole.
    fn on_instruction(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        let first = input.first().copied().unwrap_or(0);
        let bits = if first & 0x80 != 0 { 7 } else { 6 };
        let mut rest = *input;
        let number = match integer::read_62(&mut rest, bits) {
            Ok(number) => number,
            Err(Malformed::Truncated) => return Ok(false),
            Err(malformed) => return Err(Fault::DecoderStream(malformed)),
        };
        *input = rest;
        let dynamic = self.dynamic.as_mut();
        if first & 0x80 != 0 {
            if !dynamic.is_some_and(|d| d.outstanding.acknowledge(number)) {
                return Err(Fault::UnexpectedAcknowledgment);
            }
        } else if first & 0x40 != 0 {
            if let Some(dynamic) = dynamic {
                dynamic.outstanding.cancel(number);
            }
        } else {
            let dynamic = dynamic.ok_or(Fault::InvalidIncrement)?;
            if !dynamic.acknowledge_inserts(number) {
                return Err(Fault::InvalidIncrement);
            }
        }
        Ok(true)
    }
}

/// A field whose value changes each time.
#[inline]
fn plain(out: &mut Vec<u8>, kind: Kind, value: &[u8]) {
    match static_table::run(kind).with_value(value) {
        Some(index) => integer::write(out, 0xc0, 6, index),
        None => known(out, Form::Plain, kind, value),
    }
}

/// A literal with a known name.
#[inline]
fn known(out: &mut Vec<u8>, form: Form, kind: Kind, value: &[u8]) {
    literal::field(out, form, static_table::run(kind), kind.name().as_bytes(), value);
}
