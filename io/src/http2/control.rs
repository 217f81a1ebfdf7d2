//! Frames that carry no message: SETTINGS, PING, GOAWAY, RST_STREAM, WINDOW_UPDATE, PRIORITY, PRIORITY_UPDATE.
use super::{
    Abuse, Connection, ErrorCode, Event, Fatal, Priority, Role,
    connection::{DRAIN_PING, Going},
    flow::{WINDOW_DEFAULT, grown},
    frame::{FrameHeader, flag, kind, setting, write_header},
    receive::Step,
};

/// What the peer's settings say (RFC 9113, section 6.5.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub settings_seen: bool,
    pub connect_protocol: bool,
    no_priorities: Option<bool>,
    pub streams: u32,
    /// Our streams' send windows at their start.
    pub initial_window: i32,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer {
            settings_seen: false,
            connect_protocol: false,
            no_priorities: None,
            streams: u32::MAX,
            initial_window: WINDOW_DEFAULT as i32,
        }
    }
}

/// Entries of one SETTINGS frame; there are fewer settings than this.
const SETTINGS_MAX: u32 = 64;
/// A SETTINGS frame counts once more for each so many entries.
const SETTINGS_USUAL: usize = 32;
/// Bytes of a PRIORITY_UPDATE frame that are looked at; longer ones are passed over.
const PRIORITY_UPDATE_MAX: u32 = 260;
/// Priorities kept for streams that are not open yet.
const EARLY_MAX: usize = 8;

impl Connection {
    /// A frame that is read as a whole.
    pub(super) fn on_control(&mut self, frame: FrameHeader, payload: &[u8]) -> Step {
        self.check_control(frame)?;
        let wanted = match frame.kind {
            kind::GOAWAY => 8,
            kind::PRIORITY_UPDATE if frame.length > PRIORITY_UPDATE_MAX => 4,
            _ => frame.length,
        };
        let Some(payload) = payload.get(..wanted as usize) else { return Ok(None) };
        self.skip(frame.length - wanted);
        let event = match frame.kind {
            kind::SETTINGS => self.on_settings(frame, payload)?,
            kind::PING => self.on_ping(frame, payload)?,
            kind::GOAWAY => Some(self.on_go_away(payload)?),
            kind::RST_STREAM => self.on_rst_stream(frame.stream, word(payload, 0))?,
            kind::WINDOW_UPDATE => self.on_window_update(frame.stream, word(payload, 0) & 0x7fff_ffff)?,
            kind::PRIORITY => self.on_priority(frame, payload)?,
            _ => self.on_priority_update(payload)?,
        };
        Ok(Some((wanted as usize, event)))
    }

    /// Sizes and streams that these frames may have.
    fn check_control(&mut self, frame: FrameHeader) -> Result<(), Fatal> {
        let on_stream = matches!(frame.kind, kind::RST_STREAM | kind::PRIORITY);
        if frame.kind != kind::WINDOW_UPDATE && on_stream != (frame.stream != 0) {
            return Err(Fatal::protocol("a frame on a stream where it may not be"));
        }
        let good = match frame.kind {
            kind::SETTINGS if frame.has(flag::ACK) => frame.length == 0,
            kind::SETTINGS => frame.length.is_multiple_of(6),
            kind::PING => frame.length == 8,
            kind::GOAWAY => frame.length >= 8,
            kind::PRIORITY_UPDATE => frame.length >= 4,
            // PRIORITY: a stream error, once the frame is there.
            kind::PRIORITY => true,
            _ => frame.length == 4,
        };
        if !good {
            return Err(Fatal::frame_size("a frame of the wrong size"));
        }
        if frame.kind == kind::SETTINGS && frame.length > SETTINGS_MAX * 6 {
            return Err(self.abused(Abuse::Settings));
        }
        if frame.kind == kind::PRIORITY && frame.length > 64 {
            return Err(Fatal::frame_size("a frame of the wrong size"));
        }
        Ok(())
    }

    fn on_settings(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        self.count_control(Abuse::Settings)?;
        if frame.has(flag::ACK) {
            self.on_settings_ack();
            return Ok(None);
        }
        let (entries, _) = payload.as_chunks::<6>();
        for _ in 0..entries.len() / SETTINGS_USUAL {
            self.count_control(Abuse::Settings)?; // a frame as long as many
        }
        for entry in entries {
            let [a, b, value @ ..] = *entry;
            self.on_setting(u16::from_be_bytes([a, b]), u32::from_be_bytes(value))?;
        }
        self.peer.settings_seen = true;
        write_header(&mut self.out, 0, kind::SETTINGS, flag::ACK, 0);
        self.count_reply(9)?;
        Ok(Some(Event::Settings))
    }

    /// The peer keeps to our settings from now on: windows smaller than the default shrink.
    fn on_settings_ack(&mut self) {
        if std::mem::replace(&mut self.settings_acked, true) {
            return;
        }
        self.decoder.set_max(self.limits.table_bytes);
        let excess = WINDOW_DEFAULT.saturating_sub(self.limits.stream_window) as i32;
        if excess > 0 {
            for slot in self.streams.slots() {
                self.streams.at(slot).recv_window -= excess;
            }
        }
    }

    fn on_setting(&mut self, id: u16, value: u32) -> Result<(), Fatal> {
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.set_max(value),
            // A server must not send 1 (RFC 9113, section 6.5.2).
            setting::ENABLE_PUSH if value > 1 || (value == 1 && self.role == Role::Client) => {
                return Err(Fatal::protocol("ENABLE_PUSH out of range"));
            }
            setting::MAX_CONCURRENT_STREAMS => self.peer.streams = value,
            setting::INITIAL_WINDOW_SIZE => self.on_initial_window(value)?,
            // Larger frames are not made use of: they would hold others up.
            setting::MAX_FRAME_SIZE if !(16_384..1 << 24).contains(&value) => {
                return Err(Fatal::protocol("MAX_FRAME_SIZE out of range"));
            }
            setting::ENABLE_CONNECT_PROTOCOL => {
                // RFC 8441, section 3.
                if value > 1 || (value == 0 && self.peer.connect_protocol) {
                    return Err(Fatal::protocol("ENABLE_CONNECT_PROTOCOL out of range"));
                }
                self.peer.connect_protocol = value == 1;
            }
            setting::NO_RFC7540_PRIORITIES => self.on_no_priorities(value)?,
            _ => {}
        }
        Ok(())
    }

    /// RFC 9218, section 2.1: 0 or 1, and never changed.
    fn on_no_priorities(&mut self, value: u32) -> Result<(), Fatal> {
        let before = self.peer.no_priorities.or(self.peer.settings_seen.then_some(false));
        if value > 1 || before.is_some_and(|before| before != (value == 1)) {
            return Err(Fatal::protocol("NO_RFC7540_PRIORITIES out of range"));
        }
        self.peer.no_priorities = Some(value == 1);
        Ok(())
    }

    /// Changes the send window of every open stream by the difference (RFC 9113, section 6.9.2).
    fn on_initial_window(&mut self, value: u32) -> Result<(), Fatal> {
        let overrun = Fatal::new(ErrorCode::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE too large");
        let value = i32::try_from(value).map_err(|_| overrun)?;
        let difference = i64::from(value) - i64::from(self.peer.initial_window);
        self.peer.initial_window = value;
        if difference == 0 || self.streams.len() == 0 {
            return Ok(());
        }
        // One frame may say it many times, and each time every stream is visited.
        self.count_control(Abuse::Settings)?;
        for slot in self.streams.slots() {
            let stream = self.streams.at(slot);
            stream.send_window = grown(stream.send_window, difference).ok_or(overrun)?;
            self.wake(slot);
        }
        Ok(())
    }

    fn on_ping(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        self.count_control(Abuse::Ping)?;
        let data = payload.first_chunk::<8>().copied().unwrap_or_default();
        if !frame.has(flag::ACK) {
            write_header(&mut self.out, 8, kind::PING, flag::ACK, 0);
            self.out.extend_from_slice(&data);
            self.count_reply(17)?;
            return Ok(None);
        }
        if data == DRAIN_PING && self.going == Going::Announced {
            self.go_away_gracefully();
            return Ok(None);
        }
        Ok(Some(Event::Pong(data)))
    }

    fn on_go_away(&mut self, payload: &[u8]) -> Result<Event, Fatal> {
        self.count_control(Abuse::GoAway)?;
        let code = ErrorCode(word(payload, 4));
        let said = word(payload, 0) & 0x7fff_ffff;
        // It may only become lower.
        let last_stream = self.peer_going.map_or(said, |before| before.min(said));
        self.peer_going = Some(last_stream);
        if self.role == Role::Client {
            self.sweep = Some(code);
        }
        Ok(Event::GoAway { last_stream, code })
    }

    /// The next stream that a GOAWAY left unprocessed.
    #[inline]
    pub(super) fn sweep(&mut self) -> Option<Event> {
        let code = self.sweep?;
        let last = self.peer_going.unwrap_or(u32::MAX);
        let Some(slot) = self.streams.any(|s| s.id > last) else {
            self.sweep = None;
            return None;
        };
        let stream = self.streams.at(slot).id;
        self.forget(slot);
        Some(Event::Reset { stream, code, by_peer: true, unprocessed: true })
    }

    fn on_rst_stream(&mut self, id: u32, code: u32) -> Result<Option<Event>, Fatal> {
        let code = ErrorCode(code);
        let Some(slot) = self.streams.find(id) else {
            if self.is_idle(id) {
                return Err(Fatal::protocol("RST_STREAM on an idle stream"));
            }
            self.count_control(Abuse::Stray)?;
            return Ok(None);
        };
        self.forget(slot);
        if self.role == Role::Server {
            self.count_reset(Abuse::RapidReset)?;
        }
        let unprocessed = code == ErrorCode::REFUSED_STREAM;
        Ok(Some(Event::Reset { stream: id, code, by_peer: true, unprocessed }))
    }

    fn on_window_update(&mut self, id: u32, increment: u32) -> Result<Option<Event>, Fatal> {
        if self.explained > 0 {
            self.explained -= 1;
        } else {
            self.count_control(Abuse::WindowUpdate)?;
        }
        if id == 0 {
            if increment == 0 {
                return Err(Fatal::protocol("WINDOW_UPDATE of 0"));
            }
            self.send_window = grown(self.send_window, i64::from(increment))
                .ok_or(Fatal::new(ErrorCode::FLOW_CONTROL_ERROR, "the connection's window is too large"))?;
            return Ok(self.has_writable().then_some(Event::Writable));
        }
        let Some(slot) = self.streams.find(id) else {
            return if self.is_idle(id) { Err(Fatal::protocol("WINDOW_UPDATE on an idle stream")) } else { Ok(None) };
        };
        if increment == 0 {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR);
        }
        let stream = self.streams.at(slot);
        let Some(window) = grown(stream.send_window, i64::from(increment)) else {
            return self.stream_error(id, ErrorCode::FLOW_CONTROL_ERROR);
        };
        stream.send_window = window;
        let woken = self.wake(slot) && self.has_writable();
        Ok(woken.then_some(Event::Writable))
    }

    /// The priorities of RFC 7540 mean nothing any more, but must be well-formed (RFC 9113, section 6.3).
    fn on_priority(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        self.count_control(Abuse::Priority)?;
        let code = if frame.length != 5 {
            ErrorCode::FRAME_SIZE_ERROR
        } else if word(payload, 0) & 0x7fff_ffff == frame.stream {
            ErrorCode::PROTOCOL_ERROR
        } else {
            return Ok(None);
        };
        if self.is_idle(frame.stream) {
            // RST_STREAM may not be sent for it.
            return Err(Fatal::new(code, "malformed PRIORITY"));
        }
        self.stream_error(frame.stream, code)
    }

    /// RFC 9218, section 7.1.
    fn on_priority_update(&mut self, payload: &[u8]) -> Result<Option<Event>, Fatal> {
        let id = word(payload, 0) & 0x7fff_ffff;
        self.count_control(Abuse::PriorityUpdate)?;
        if self.role == Role::Client || id & 1 == 0 {
            return Err(Fatal::protocol("PRIORITY_UPDATE that may not be"));
        }
        let Some(value) = payload.get(4..).filter(|v| !v.is_empty()) else { return Ok(None) };
        let priority = Priority::parse(value);
        if let Some(slot) = self.streams.find(id) {
            self.waiting.change(&mut self.streams, slot, priority);
        } else if id > self.peer_last {
            self.early.retain(|(early, _)| *early != id);
            if self.early.len() >= EARLY_MAX {
                self.early.remove(0);
            }
            self.early.push((id, priority));
        }
        Ok(None)
    }
}

/// The big-endian number at `at`; the payload's length has been checked.
#[inline]
fn word(payload: &[u8], at: usize) -> u32 {
    payload.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |b| u32::from_be_bytes(*b))
}
