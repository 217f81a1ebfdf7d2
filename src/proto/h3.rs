//! HTTP/3: a QUIC stream as the stream of an exchange.
use super::{Answer, Ended, Receive, Stream, StreamExchange};
use crate::message::Fill;
use bytes::Bytes;
use edge_io::{
    head::{FieldRef, Head},
    tls,
};
use edge_quic::{Cut, Next, RecvHalf, SendHalf, Stream as QuicStream, h3::ErrorCode};
use std::task::{Context, Poll};

/// A request on a stream.
pub type H3Exchange = StreamExchange<QuicStream>;

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Ended {
        match cut {
            Cut::Connection => Ended::Connection,
            Cut::Cancelled => Ended::Cancelled,
            Cut::Broken => Ended::Broken,
        }
    }
}

impl Stream for QuicStream {
    type Recv<'s> = RecvHalf<'s>;
    type Send<'s> = SendHalf<'s>;
    const PROTOCOL: &'static str = "h3";

    fn halves(&mut self) -> (RecvHalf<'_>, SendHalf<'_>) {
        QuicStream::halves(self)
    }

    fn tls(&self) -> Option<&tls::Info> {
        self.connection().tls()
    }

    fn is_received(&self) -> bool {
        QuicStream::is_received(self)
    }

    fn is_sent(&self) -> bool {
        QuicStream::is_sent(self)
    }

    fn received(&self) -> u64 {
        QuicStream::received(self)
    }

    fn fail(&mut self) {
        self.code = ErrorCode::H3_INTERNAL_ERROR;
    }

    fn end_connection(&self) {
        self.connection().go_away();
    }

    fn is_early(&self) -> bool {
        QuicStream::is_early(self)
    }
}

impl Receive for RecvHalf<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Ended>> {
        RecvHalf::poll_fill(self, cx).map(|filled| match filled {
            Ok(Next::Data) => Ok(Fill::Data),
            Ok(Next::End) => Ok(Fill::End),
            Err(cut) => Err(cut.into()),
        })
    }

    fn data(&self) -> &[u8] {
        RecvHalf::data(self)
    }

    fn consume(&mut self, n: usize) {
        RecvHalf::consume(self, n);
    }

    fn trailers(&self) -> Option<&Head> {
        RecvHalf::trailers(self)
    }

    fn bytes(&self) -> u64 {
        RecvHalf::bytes(self)
    }
}

impl Answer for SendHalf<'_> {
    fn response<'f>(&mut self, status: u16, fields: impl Iterator<Item = FieldRef<'f>>, end: bool) -> u64 {
        SendHalf::response(self, status, fields, end)
    }

    fn announce(&mut self, length: u64) {
        SendHalf::announce(self, length);
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8], end: bool) -> Poll<Result<usize, Ended>> {
        SendHalf::poll_data(self, cx, data, end).map_err(Ended::from)
    }

    fn poll_shared(&mut self, cx: &mut Context<'_>, data: &Bytes, end: bool) -> Poll<Result<usize, Ended>> {
        SendHalf::poll_shared(self, cx, data, end).map_err(Ended::from)
    }

    fn trailers<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>) -> Result<(), Ended> {
        SendHalf::trailers(self, fields).map_err(Ended::from)
    }

    fn flush(&mut self) {
        SendHalf::flush(self);
    }

    fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        SendHalf::poll_cut(self, cx).map(Ended::from)
    }
}
