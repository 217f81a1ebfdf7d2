//! The origin's side of one exchange: the same script, whatever protocol carries it.
use super::{
    Message, Wire,
    client::{Tunnel, WEBSOCKET_KEY},
    exchange::{Fields, Http1Body, Reply, chunk, header_map, last_chunk, write_fields},
    http2::{Duplex, Engine, failed},
    message::{Kind, ends},
};
use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc::UnboundedSender;

/// What an origin remembers of a request.
#[derive(Default)]
pub struct Record {
    /// As far as it was read.
    pub message: Message,
    /// Whether all of it was.
    pub complete: bool,
}

/// What a script can do to the connection below an exchange.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// GOAWAY, and an end once the open streams are done.
    GoAway,
    /// GOAWAY with a code and the end.
    Fail(Reason),
    /// The end, without a word.
    Cut,
}

/// One request being served.
pub struct Served<'a> {
    head: Message,
    record: Arc<Mutex<Record>>,
    kind: Inner<'a>,
}

enum Inner<'a> {
    Http1 {
        wire: &'a mut Wire,
        body: Http1Body,
        answer: Option<Http1Answer>,
    },
    Http2 {
        respond: SendResponse<Bytes>,
        duplex: Duplex,
        engine: Arc<Engine>,
        orders: UnboundedSender<Order>,
        begun: bool,
    },
}

struct Http1Answer {
    chunked: bool,
    whole: bool,
    close: bool,
}

/// What becomes of an HTTP/1.1 connection behind an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request.
    Next,
    /// The end.
    Close,
}

impl<'a> Served<'a> {
    /// Reads the next head of a connection; `None` when it ends instead.
    ///
    /// # Errors
    /// As the connection says.
    pub fn http1(
        wire: &'a mut Wire,
        note: impl FnOnce(Message) -> Arc<Mutex<Record>>,
    ) -> io::Result<Option<Served<'a>>> {
        let Some(head) = wire.head(Kind::Request)? else { return Ok(None) };
        let ends = ends(&head, Kind::Request).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let record = note(head.clone());
        let kind = Inner::Http1 { wire, body: Http1Body::new(ends), answer: None };
        Ok(Some(Served { head, record, kind }))
    }

    /// A stream that the crate has accepted.
    pub fn http2(
        engine: &Arc<Engine>,
        (head, record): (Message, Arc<Mutex<Record>>),
        (body, respond): (h2::RecvStream, SendResponse<Bytes>),
        orders: UnboundedSender<Order>,
    ) -> Served<'static> {
        let duplex = Duplex::new(engine, None, Some(body));
        let kind = Inner::Http2 { respond, duplex, engine: Arc::clone(engine), orders, begun: false };
        Served { head, record, kind }
    }

    /// The request's head.
    pub fn head(&self) -> &Message {
        &self.head
    }

    /// The request's target.
    pub fn target(&self) -> &str {
        self.head.target()
    }

    /// Whether the origin speaks HTTP/2 here.
    pub fn is_http2(&self) -> bool {
        matches!(self.kind, Inner::Http2 { .. })
    }

    /// The next piece of the request's body, or its end.
    ///
    /// # Errors
    /// As the connection says.
    pub fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let piece = match &mut self.kind {
            Inner::Http1 { wire, body, .. } => body.next(wire)?,
            Inner::Http2 { duplex, .. } => duplex.next()?.map(Vec::from),
        };
        let mut record = self.record.lock().expect("recording does not panic");
        match &piece {
            Some(bytes) => record.message.body.extend_from_slice(bytes),
            None => {
                record.message.trailers = match &mut self.kind {
                    Inner::Http1 { body, .. } => body.trailers.clone(),
                    Inner::Http2 { duplex, .. } => duplex.trailers()?,
                };
                if let Inner::Http1 { body, .. } = &self.kind {
                    record.message.chunked = body.is_chunked();
                }
                record.complete = true;
            }
        }
        Ok(piece)
    }

    /// Reads and forgets the rest of the request; how many bytes there were. Nothing of it is recorded.
    ///
    /// # Errors
    /// As the connection says.
    pub fn skip(&mut self) -> io::Result<usize> {
        let mut total = 0;
        loop {
            let piece = match &mut self.kind {
                Inner::Http1 { wire, body, .. } => body.next(wire)?,
                Inner::Http2 { duplex, .. } => duplex.next()?.map(Vec::from),
            };
            match piece {
                Some(piece) => total += piece.len(),
                None => return Ok(total),
            }
        }
    }

    /// Reads the rest of the request and returns all of it.
    ///
    /// # Errors
    /// As the connection says.
    pub fn request(&mut self) -> io::Result<Message> {
        while self.next()?.is_some() {}
        Ok(self.record.lock().expect("recording does not panic").message.clone())
    }

    /// Sends a 1xx.
    ///
    /// # Errors
    /// As the connection says.
    pub fn interim(&mut self, status: u16, fields: &Fields) -> io::Result<()> {
        match &mut self.kind {
            Inner::Http1 { wire, .. } => {
                let mut out = format!("HTTP/1.1 {status} Interim\r\n").into_bytes();
                write_fields(&mut out, fields);
                out.extend_from_slice(b"\r\n");
                wire.try_send(out)
            }
            Inner::Http2 { respond, .. } => respond.send_informational(response(status, fields, None)).map_err(failed),
        }
    }

    /// Sends the head of the answer, with a length if it is to be declared.
    ///
    /// # Errors
    /// As the connection says.
    pub fn begin(&mut self, status: u16, fields: &Fields, length: Option<usize>) -> io::Result<()> {
        let bodiless = self.head.method() == "HEAD" || matches!(status, 204 | 304);
        match &mut self.kind {
            Inner::Http1 { wire, answer, .. } => {
                let mut out = format!("HTTP/1.1 {status} Answer\r\n").into_bytes();
                write_fields(&mut out, fields);
                match length {
                    _ if status == 204 => {}
                    Some(n) => out.extend_from_slice(format!("Content-Length: {n}\r\n").as_bytes()),
                    None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
                }
                out.extend_from_slice(b"\r\n");
                let close = fields.iter().any(|(n, v)| n.eq_ignore_ascii_case("connection") && v == b"close");
                *answer = Some(Http1Answer { chunked: length.is_none() && !bodiless, whole: bodiless, close });
                wire.try_send(out)
            }
            Inner::Http2 { respond, duplex, begun, .. } => {
                *begun = true;
                let length = length.filter(|_| status != 204);
                let head = response(status, fields, length);
                let out = respond.send_response(head, bodiless || length == Some(0)).map_err(failed)?;
                duplex.sends(out);
                Ok(())
            }
        }
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    /// As the connection says.
    pub fn send(&mut self, piece: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.kind {
            Inner::Http1 { wire, answer, .. } => match answer {
                Some(a) if a.chunked => wire.try_send(chunk(piece.as_ref())),
                _ => wire.try_send(piece),
            },
            Inner::Http2 { duplex, .. } => duplex.send(piece.as_ref()),
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As the connection says.
    pub fn finish(&mut self, trailers: &Fields) -> io::Result<()> {
        match &mut self.kind {
            Inner::Http1 { wire, answer, .. } => {
                let Some(answer) = answer else { return Err(io::ErrorKind::NotConnected.into()) };
                answer.whole = true;
                if answer.chunked { wire.try_send(last_chunk(trailers)) } else { Ok(()) }
            }
            Inner::Http2 { duplex, .. } if trailers.is_empty() => duplex.end(),
            Inner::Http2 { duplex, .. } => duplex.end_with(trailers),
        }
    }

    /// Sends a whole answer.
    ///
    /// # Errors
    /// As the connection says.
    pub fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        for (status, fields) in &reply.interim {
            self.interim(*status, fields)?;
        }
        let declared = reply.declared();
        self.begin(reply.status, &reply.fields, declared)?;
        let bodiless = self.head.method() == "HEAD" || matches!(reply.status, 204 | 304);
        let ended = bodiless || self.is_http2() && declared == Some(0);
        if ended {
            if let Inner::Http1 { answer: Some(a), .. } = &mut self.kind {
                a.whole = true;
            }
            return Ok(());
        }
        if !reply.body.is_empty() {
            self.send(&reply.body)?;
        }
        self.finish(&reply.trailers)
    }

    /// Reads the request and sends a whole answer.
    ///
    /// # Errors
    /// As the connection says.
    pub fn answer(&mut self, reply: &Reply) -> io::Result<()> {
        self.request()?;
        self.reply(reply)
    }

    /// Ends the exchange as no peer should: RST_STREAM with this code, or a TCP reset.
    pub fn reset(&mut self, code: Reason) {
        match &mut self.kind {
            Inner::Http1 { wire, .. } => wire.reset_on_close(),
            Inner::Http2 { respond, duplex, begun, .. } => {
                if *begun {
                    duplex.reset(code)
                } else {
                    respond.send_reset(code)
                }
            }
        }
    }

    /// Waits until the peer gives this exchange up.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_cancel(&mut self) -> io::Result<()> {
        self.wait_cancel_code().map(drop)
    }

    /// As [`Served::wait_cancel`], and with which code, if HTTP/2 said one.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_cancel_code(&mut self) -> io::Result<Option<Reason>> {
        match &mut self.kind {
            Inner::Http1 { wire, .. } => loop {
                match wire.fill() {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(e) if super::wire::timed_out(&e) => return Err(e),
                    Err(_) => return Ok(None),
                }
            },
            Inner::Http2 { respond, duplex, engine, begun, .. } => {
                if *begun {
                    return duplex.wait_reset();
                }
                Ok(engine.wait(std::future::poll_fn(|cx| respond.poll_reset(cx)))?.ok())
            }
        }
    }

    /// As [`Served::wait_cancel`], and leaves what the peer sends where it is, so that it gets no further.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_without_reading(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Inner::Http1 { wire, .. } => wire.wait_hangup(),
            Inner::Http2 { .. } => self.wait_cancel(),
        }
    }

    /// Does something to the connection. HTTP/1.1 knows only its end.
    pub fn order(&mut self, order: Order) {
        match &mut self.kind {
            Inner::Http1 { answer, .. } => {
                if let Some(answer) = answer {
                    answer.close = true;
                }
            }
            Inner::Http2 { orders, .. } => drop(orders.send(order)),
        }
    }

    /// Accepts a WebSocket handshake.
    ///
    /// # Errors
    /// As the connection says.
    pub fn tunnel(&mut self) -> io::Result<Tunnel> {
        let key = self.head.get("sec-websocket-key").unwrap_or(WEBSOCKET_KEY).to_owned();
        match &mut self.kind {
            Inner::Http1 { wire, .. } => {
                let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
                wire.try_send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                ))?;
                let mut handle = wire.second();
                handle.restore(wire.take_unread());
                Ok(Tunnel::Http1(Box::new(handle)))
            }
            Inner::Http2 { .. } => {
                self.begin(200, &Vec::new(), None)?;
                let Inner::Http2 { duplex, .. } = &self.kind else { return Err(io::ErrorKind::NotConnected.into()) };
                Ok(Tunnel::Http2(duplex.clone()))
            }
        }
    }

    /// What is to become of the connection.
    pub fn after(&self) -> After {
        match &self.kind {
            Inner::Http1 { body, answer: Some(a), .. } if a.whole && !a.close && body.is_done() => After::Next,
            _ => After::Close,
        }
    }
}

fn response(status: u16, fields: &Fields, length: Option<usize>) -> http::Response<()> {
    let mut response = http::Response::builder().status(status).body(()).expect("a response");
    *response.headers_mut() = header_map(fields);
    if let Some(n) = length {
        response.headers_mut().insert("content-length", n.into());
    }
    response
}
