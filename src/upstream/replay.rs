//! A request's body that can be sent again: what was taken of it is kept, up to a bound.
use crate::message::{BodySource, Fault, Fill};
use edge_io::head::Head;
use std::task::{Context, Poll};

/// Bytes that are given at a time, as [`BodySource::data`] promises.
const PIECE: usize = 64 * 1024;

/// A body on its way to an endpoint. As long as it fits into `most` bytes, it can be rewound for another attempt.
pub struct Replay<'a, S> {
    source: &'a mut S,
    kept: Vec<u8>,
    /// How far the attempt under way has come in `kept`.
    at: usize,
    /// Bytes that may be kept; 0 keeps none.
    most: usize,
    /// Something was taken that was not kept.
    lost: bool,
    /// The source has said that it ends.
    ended: bool,
}

impl<'a, S: BodySource> Replay<'a, S> {
    /// Keeps up to `most` bytes of `source`. Allocates with the first byte.
    pub fn new(source: &'a mut S, most: usize) -> Replay<'a, S> {
        Replay { source, kept: Vec::new(), at: 0, most, lost: false, ended: false }
    }

    /// Whether another attempt can have the whole body.
    pub fn is_whole(&self) -> bool {
        !self.lost
    }

    /// From the beginning again. Means nothing unless `is_whole`.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// No other attempt will follow: nothing more is kept.
    pub fn release(&mut self) {
        self.most = 0;
    }

    fn replays(&self) -> bool {
        self.at < self.kept.len()
    }
}

impl<S: BodySource> BodySource for Replay<'_, S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        if self.replays() {
            return Poll::Ready(Ok(Fill::Data));
        }
        if self.ended {
            return Poll::Ready(Ok(Fill::End));
        }
        let filled = self.source.poll_fill(cx);
        self.ended = matches!(filled, Poll::Ready(Ok(Fill::End)));
        filled
    }

    fn data(&self) -> &[u8] {
        match self.kept.get(self.at..) {
            Some(rest) if !rest.is_empty() => rest.get(..PIECE).unwrap_or(rest),
            _ => self.source.data(),
        }
    }

    fn consume(&mut self, n: usize) {
        if self.replays() {
            self.at += n;
            return;
        }
        if !self.lost {
            match self.source.data().get(..n).filter(|_| self.kept.len() + n <= self.most) {
                Some(taken) => {
                    self.kept.extend_from_slice(taken);
                    self.at = self.kept.len();
                }
                None => {
                    self.lost = n > 0;
                    if self.lost {
                        (self.kept, self.at) = (Vec::new(), 0);
                    }
                }
            }
        }
        self.source.consume(n);
    }

    fn trailers(&self) -> &Head {
        self.source.trailers()
    }

    fn take_time(&mut self) {
        self.source.take_time();
    }

    fn upgrade(&mut self) {
        self.source.upgrade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Gives its bytes in pieces of at most three.
    struct Pieces<'a> {
        left: &'a [u8],
        trailers: Head,
    }

    impl BodySource for Pieces<'_> {
        fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
            Poll::Ready(Ok(if self.left.is_empty() { Fill::End } else { Fill::Data }))
        }
        fn data(&self) -> &[u8] {
            &self.left[..self.left.len().min(3)]
        }
        fn consume(&mut self, n: usize) {
            self.left = &self.left[n..];
        }
        fn trailers(&self) -> &Head {
            &self.trailers
        }
        fn upgrade(&mut self) {}
    }

    /// Takes up to `most` bytes, `step` at a time.
    fn take(body: &mut Replay<'_, Pieces<'_>>, most: usize, step: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while got.len() < most {
            match body.poll_fill(&mut cx) {
                Poll::Ready(Ok(Fill::Data)) => {
                    let n = body.data().len().min(step).min(most - got.len());
                    got.extend_from_slice(&body.data()[..n]);
                    body.consume(n);
                }
                _ => break,
            }
        }
        got
    }

    #[test]
    fn whatever_was_taken_comes_again_and_then_the_rest() {
        let text = b"abcdefghij";
        for first in 0..=text.len() {
            for second in 0..=text.len() {
                let mut source = Pieces { left: text, trailers: Head::new() };
                let mut body = Replay::new(&mut source, text.len());
                assert_eq!(take(&mut body, first, 2), text[..first]);
                body.rewind();
                assert_eq!(take(&mut body, second, 3), text[..second]);
                assert!(body.is_whole());
                body.rewind();
                assert_eq!(take(&mut body, usize::MAX, 1), text);
            }
        }
    }

    #[test]
    fn a_long_body_comes_again_in_pieces() {
        let text = vec![7; 2 * PIECE + 1];
        let mut source = Pieces { left: &text, trailers: Head::new() };
        let mut body = Replay::new(&mut source, text.len());
        assert_eq!(take(&mut body, usize::MAX, 3), text);
        body.rewind();
        assert_eq!(body.data().len(), PIECE);
        assert_eq!(take(&mut body, usize::MAX, usize::MAX), text);
    }

    #[test]
    fn a_body_beyond_the_bound_goes_through_once() {
        let mut source = Pieces { left: b"abcdefghij", trailers: Head::new() };
        let mut body = Replay::new(&mut source, 4);
        assert_eq!(take(&mut body, 3, 3), b"abc");
        assert!(body.is_whole());
        assert_eq!(take(&mut body, usize::MAX, 3), b"defghij");
        assert!(!body.is_whole());
    }

    #[test]
    fn what_is_released_is_kept_no_longer() {
        let mut source = Pieces { left: b"abcdef", trailers: Head::new() };
        let mut body = Replay::new(&mut source, 100);
        assert_eq!(take(&mut body, 2, 2), b"ab");
        body.release();
        assert_eq!(take(&mut body, usize::MAX, 3), b"cdef");
        assert!(!body.is_whole());
    }
}
