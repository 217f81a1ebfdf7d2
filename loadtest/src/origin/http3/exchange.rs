//! One request over HTTP/3, by the script.
use super::{
    super::{
        desk::{Desk, Verdict},
        echo::{self, Told},
        payload::{Events, Timer, filler},
        script::{Fault, Reply},
        websocket::Echo,
    },
    LAST_TURNS,
};
use bytes::Bytes;
use edge_io::{
    head::{FieldId, FieldRef, Head},
    message::Protocol,
    tasks,
};
use edge_quic::{Cut, Next, Stream, h3};
use std::{future::poll_fn, rc::Rc};

/// The kind of texts for people.
const TEXT: FieldRef<'static> =
    FieldRef { id: FieldId::ContentType, name: b"content-type", value: b"text/plain; charset=utf-8" };

/// One request.
pub(super) struct Exchange {
    pub desk: Rc<Desk>,
    pub stream: Stream,
}

impl Exchange {
    /// Answers it.
    ///
    /// # Errors
    /// The client or the connection is gone.
    pub async fn answer(mut self, head: &Head, protocol: Protocol) -> Result<(), Cut> {
        match protocol {
            Protocol::WebSocket => return self.echo().await,
            Protocol::Other => return self.tell(501, "only WebSockets can be connected to\n").await,
            Protocol::None => {}
        }
        let received = self.drain().await?;
        let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
        let (path, query) = (text(head.path()), head.query().map(text));
        if self.desk.script.echo {
            return self.tell_request(head, path, query, received).await;
        }
        if path == "/ws" {
            return self.tell(400, "a WebSocket is expected here\n").await;
        }
        match self.desk.judge(path, query) {
            Verdict::Reply(reply, due) => {
                self.desk.wait(due).await;
                self.reply(reply, head.method_bytes() == b"HEAD").await
            }
            Verdict::Events(every, count) => self.events(every, count).await,
            Verdict::Never => {
                let (_, send) = self.stream.halves();
                Err(poll_fn(|cx| send.poll_cut(cx)).await)
            }
            Verdict::Refused => {
                self.desk.wait(self.desk.pace.release(self.desk.alarms.now())).await;
                self.tell(503, "too many requests wait already\n").await
            }
            Verdict::Mistake(mistake) => self.tell(400, &format!("{mistake}\n")).await,
        }
    }

    /// Reads the request's body: how many bytes.
    async fn drain(&mut self) -> Result<usize, Cut> {
        let (mut recv, _) = self.stream.halves();
        let mut received = 0;
        while poll_fn(|cx| recv.poll_fill(cx)).await? == Next::Data {
            let n = recv.data().len();
            recv.consume(n);
            received += n;
        }
        Ok(received)
    }

    /// What the request looked like, in the words of the other protocols.
    async fn tell_request(mut self, head: &Head, path: &str, query: Option<&str>, received: usize) -> Result<(), Cut> {
        let [method, authority, target] =
            [head.method_bytes(), head.authority(), head.path_and_query()].map(String::from_utf8_lossy);
        let line = format!("{method} https://{authority}{target} HTTP/3.0");
        let fields = || head.fields().map(|field| (field.name, field.value));
        let told = echo::answer(&self.desk, path, query, || echo::text(line, fields(), received)).await;
        let bodiless = head.method_bytes() == b"HEAD";
        match told {
            Told::Bytes(n) => {
                let ends = bodiless || n == 0;
                let mut digits = [0; 20];
                let value = decimal(n, &mut digits);
                let length = FieldRef { id: FieldId::ContentLength, name: b"content-length", value };
                self.stream.halves().1.response(200, [length].into_iter(), ends);
                if ends { Ok(()) } else { self.bytes(n, true).await }
            }
            Told::Text(status, _) if bodiless => {
                self.stream.halves().1.response(status, [TEXT].into_iter(), true);
                Ok(())
            }
            Told::Text(status, text) => self.tell(status, &text).await,
        }
    }

    async fn reply(mut self, reply: Reply, head_only: bool) -> Result<(), Cut> {
        let bodiless = head_only || !reply.has_body();
        match reply.fault {
            None => {}
            Some(Fault::Close) => {
                self.stream.connection().close(h3::ErrorCode::H3_NO_ERROR, b"");
                return Ok(());
            }
            Some(Fault::Truncate | Fault::Garbage) if !bodiless => return self.spoil(reply).await,
            Some(Fault::Reset | Fault::Stall | Fault::Truncate | Fault::Garbage) => {
                self.stream.code = h3::ErrorCode::H3_INTERNAL_ERROR;
                return Ok(()); // dropped before its end, the stream is reset
            }
        }
        let length = (reply.chunk.is_none() && reply.has_body()).then_some(reply.size);
        let ends = bodiless || reply.size == 0;
        self.head(reply.status, length, ends);
        match reply.chunk {
            _ if ends => Ok(()),
            None => self.bytes(reply.size, true).await,
            Some(piece) => self.pieces(reply.size, piece.get() as u64, reply.chunk_delay_us).await,
        }
    }

    /// Less comes than was announced: then the stream is reset, or for garbage ends as if all were well (RFC 9114,
    /// section 4.1.2: malformed).
    async fn spoil(mut self, reply: Reply) -> Result<(), Cut> {
        let announced = reply.size.max(2);
        self.head(reply.status, Some(announced), false);
        let garbage = reply.fault == Some(Fault::Garbage);
        self.bytes(announced / 2, garbage).await?;
        if !garbage {
            self.stream.halves().1.flush();
            for _ in 0..LAST_TURNS {
                tasks::turn().await;
            }
            self.stream.code = h3::ErrorCode::H3_INTERNAL_ERROR;
        }
        Ok(())
    }

    fn head(&mut self, status: u16, length: Option<u64>, end: bool) {
        let mut digits = [0; 20];
        let digits = length.map(|length| decimal(length, &mut digits));
        let length = digits.map(|value| FieldRef { id: FieldId::ContentLength, name: b"content-length", value });
        let fields = self.desk.fields.iter().map(|(name, value)| {
            let name = name.as_str().as_bytes();
            FieldRef { id: FieldId::of(name), name, value: value.as_bytes() }
        });
        self.stream.halves().1.response(status, fields.chain(length), end);
    }

    async fn tell(&mut self, status: u16, text: &str) -> Result<(), Cut> {
        self.stream.halves().1.response(status, [TEXT].into_iter(), false);
        self.send(&Bytes::copy_from_slice(text.as_bytes()), true).await
    }

    /// So many bytes, in one DATA frame after another.
    async fn bytes(&mut self, mut left: u64, end: bool) -> Result<(), Cut> {
        self.stream.halves().1.announce(left);
        loop {
            let piece = Bytes::from_static(filler(left));
            left -= piece.len() as u64;
            self.send(&piece, end && left == 0).await?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    async fn pieces(&mut self, mut left: u64, piece: u64, pause: u64) -> Result<(), Cut> {
        let mut timer = Timer::new(&self.desk);
        loop {
            let now = left.min(piece);
            left -= now;
            self.bytes(now, left == 0).await?;
            if left == 0 {
                return Ok(());
            }
            self.stream.halves().1.flush();
            if pause > 0 {
                timer.set(self.desk.alarms.now() + pause);
                poll_fn(|cx| timer.poll(cx)).await;
            }
        }
    }

    async fn send(&mut self, data: &Bytes, end: bool) -> Result<(), Cut> {
        let (_, mut send) = self.stream.halves();
        let mut done = 0;
        loop {
            let rest = data.slice(done..);
            done += poll_fn(|cx| send.poll_shared(cx, &rest, end)).await?;
            if done >= data.len() {
                return Ok(());
            }
        }
    }

    async fn events(mut self, every: u64, count: u64) -> Result<(), Cut> {
        let kind = FieldRef { id: FieldId::ContentType, name: b"content-type", value: b"text/event-stream" };
        let (_, mut send) = self.stream.halves();
        send.response(200, [kind].into_iter(), false);
        send.flush();
        let mut events = Events::new(&self.desk, every, count);
        while let Some(event) = poll_fn(|cx| events.poll_next(cx)).await {
            self.send(&event, false).await?;
            self.stream.halves().1.flush();
        }
        self.send(&Bytes::new(), true).await
    }

    /// A WebSocket (RFC 9220).
    async fn echo(mut self) -> Result<(), Cut> {
        self.stream.halves().1.response(200, [].into_iter(), false);
        self.stream.halves().1.flush();
        let mut echo = Echo::default();
        let mut out = Vec::new();
        while !echo.is_over() {
            let (mut recv, _) = self.stream.halves();
            if poll_fn(|cx| recv.poll_fill(cx)).await? == Next::End {
                break;
            }
            echo.feed(recv.data(), &mut out);
            let n = recv.data().len();
            recv.consume(n);
            self.desk.wait_to_echo(&mut echo).await;
            self.send(&Bytes::from(std::mem::take(&mut out)), false).await?;
            self.stream.halves().1.flush();
        }
        self.send(&Bytes::new(), true).await
    }
}

/// A number in decimal, in as many digits as it takes.
fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
        at -= 1;
        if n == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for n in [0, 7, 10, 1024, u64::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }
}
