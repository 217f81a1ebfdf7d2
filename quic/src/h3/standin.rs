//! Stand-in until QPACK is there.
use edge_io::{
    head::FieldId,
    http2::hpack::{Decoded, Pseudo},
};

pub enum Decode {
    Done,
    Blocked { required_insert_count: u64 },
}
pub enum DecodeError<E> {
    Fault(Fault),
    Stopped(E),
}
#[derive(Clone, Copy)]
pub struct Fault;
impl Fault {
    pub fn as_str(self) -> &'static str {
        "truncated"
    }
}
pub struct Decoder(Vec<u8>);
impl Decoder {
    pub fn new(_: u32, _: u32) -> Self {
        Decoder(Vec::new())
    }
    pub fn decode<E>(
        &mut self,
        _id: u64,
        section: &[u8],
        mut field: impl FnMut(Decoded<'_>) -> Result<(), E>,
    ) -> Result<Decode, DecodeError<E>> {
        let mut rest = section.get(2..).ok_or(DecodeError::Fault(Fault))?;
        fn text<'a, E>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError<E>> {
            let (&n, r) = rest.split_first().ok_or(DecodeError::Fault(Fault))?;
            let (a, b) = r.split_at_checked(usize::from(n)).ok_or(DecodeError::Fault(Fault))?;
            *rest = b;
            Ok(a)
        }
        while !rest.is_empty() {
            let (name, value) = (text(&mut rest)?, text(&mut rest)?);
            let pseudo = Pseudo::of(name);
            let id = if pseudo.is_some() { FieldId::Other } else { FieldId::of(name) };
            field(Decoded { name, value, id, pseudo, name_checked: false, value_checked: false, never_indexed: false })
                .map_err(DecodeError::Stopped)?;
        }
        Ok(Decode::Done)
    }
    pub fn on_encoder_stream(&mut self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    pub fn insert_count(&self) -> u64 {
        0
    }
    pub fn cancel_stream(&mut self, _: u64) {}
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
    pub fn has_out(&self) -> bool {
        !self.0.is_empty()
    }
    pub fn memory(&self) -> usize {
        0
    }
}
pub struct Encoder(Vec<u8>);
impl Encoder {
    pub fn new() -> Self {
        Encoder(Vec::new())
    }
    pub fn set_peer(&mut self, _: u32, _: u32) {}
    pub fn begin(&mut self, _: u64, out: &mut Vec<u8>) {
        out.extend([0, 0]);
    }
    pub fn status(&mut self, out: &mut Vec<u8>, status: u16) {
        self.pseudo(out, Pseudo::Status, status.to_string().as_bytes());
    }
    pub fn pseudo(&mut self, out: &mut Vec<u8>, p: Pseudo, value: &[u8]) {
        self.field(out, FieldId::Other, p.as_str().as_bytes(), value);
    }
    pub fn field(&mut self, out: &mut Vec<u8>, _: FieldId, name: &[u8], value: &[u8]) {
        for t in [name, value] {
            out.push(t.len() as u8);
            out.extend_from_slice(&t.to_ascii_lowercase());
        }
    }
    pub fn end(&mut self, _: &mut Vec<u8>) {}
    pub fn on_decoder_stream(&mut self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
    pub fn has_out(&self) -> bool {
        !self.0.is_empty()
    }
    pub fn memory(&self) -> usize {
        0
    }
}
