//! The peer's control stream (RFC 9114, section 7.2; RFC 9218, section 7.2).
use super::{
    Abuse, Connection, Control, ErrorCode, Fatal, Priority, Role,
    frame::{FrameHeader, kind},
    settings::{self, Peer},
    varint::{self, Cut},
};

/// Bytes of a PRIORITY_UPDATE frame that are looked at; the value of a longer one is passed over.
const PRIORITY_UPDATE_MAX: u64 = 264;
/// Events that wait for the owner; of more, the oldest priority is forgotten.
const CONTROLS_MAX: usize = 64;

/// What the next byte of the control stream belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Frame,
    Payload,
    Skip,
}

/// The frame of the control stream that is being read.
#[derive(Debug, Default)]
pub(super) struct ControlIn {
    phase: Phase,
    cut: Cut,
    kind: u64,
    /// How much of the payload is gathered, and how much is passed over behind it.
    want: usize,
    rest: u64,
    payload: Vec<u8>,
}

impl ControlIn {
    pub(super) fn memory(&self) -> usize {
        self.payload.capacity()
    }

    pub(super) fn release_memory(&mut self) {
        self.payload.shrink_to_fit();
    }
}

impl Connection {
    pub(super) fn on_control_stream(&mut self, mut input: &[u8]) -> Result<(), Fatal> {
        loop {
            let control = &mut self.control_in;
            let n = match control.phase {
                Phase::Frame => {
                    let (n, header) = control.cut.read(input, FrameHeader::read);
                    let Some(header) = header else { return Ok(()) };
                    self.on_control_header(header)?;
                    n
                }
                Phase::Payload => {
                    let n = input.len().min(control.want.saturating_sub(control.payload.len()));
                    let piece = input.get(..n).unwrap_or(&[]);
                    if n == control.want {
                        self.on_control_frame(piece)?;
                    } else {
                        control.payload.extend_from_slice(piece);
                        if control.payload.len() < control.want {
                            return Ok(());
                        }
                        let mut payload = std::mem::take(&mut control.payload);
                        self.on_control_frame(&payload)?;
                        payload.clear();
                        self.control_in.payload = payload;
                    }
                    self.control_in.phase = Phase::Skip;
                    n
                }
                Phase::Skip => {
                    let n = usize::try_from(control.rest).map_or(input.len(), |rest| rest.min(input.len()));
                    control.rest -= n as u64;
                    if control.rest > 0 {
                        return Ok(());
                    }
                    control.phase = Phase::Frame;
                    n
                }
            };
            input = input.get(n..).unwrap_or(&[]);
        }
    }

    /// Which frames may come here, and how long they may be.
    fn on_control_header(&mut self, frame: FrameHeader) -> Result<(), Fatal> {
        if !self.peer.settled && frame.kind != kind::SETTINGS {
            return Err(Fatal::new(ErrorCode::H3_MISSING_SETTINGS, "the control stream does not begin with SETTINGS"));
        }
        let (abuse, want) = match frame.kind {
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                return Err(Fatal::unexpected("a frame of a request on the control stream"));
            }
            _ if frame.is_of_http2() => return Err(Fatal::unexpected("a frame of HTTP/2")),
            kind::SETTINGS if self.peer.settled => return Err(Fatal::unexpected("SETTINGS twice")),
            kind::MAX_PUSH_ID | kind::PRIORITY_UPDATE | kind::PRIORITY_UPDATE_PUSH if self.role == Role::Client => {
                return Err(Fatal::unexpected("a frame that only clients send"));
            }
            kind::SETTINGS if frame.length > settings::BYTES_MAX => return Err(Fatal::abuse(Abuse::Settings)),
            kind::SETTINGS => (None, frame.length),
            kind::GOAWAY => (Some(Abuse::GoAway), frame.length),
            kind::MAX_PUSH_ID => (Some(Abuse::MaxPushId), frame.length),
            kind::CANCEL_PUSH => (None, frame.length),
            kind::PRIORITY_UPDATE | kind::PRIORITY_UPDATE_PUSH => {
                (Some(Abuse::PriorityUpdate), frame.length.min(PRIORITY_UPDATE_MAX))
            }
            _ => (Some(Abuse::Unknown), 0),
        };
        // Those that hold one integer and nothing else.
        if matches!(frame.kind, kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH)
            && !matches!(frame.length, 1 | 2 | 4 | 8)
        {
            return Err(Fatal::frame("a frame of the wrong size"));
        }
        if let Some(abuse) = abuse {
            self.count_control(abuse)?;
        }
        let control = &mut self.control_in;
        control.kind = frame.kind;
        control.want = want as usize;
        control.rest = frame.length - want;
        control.phase = if abuse == Some(Abuse::Unknown) { Phase::Skip } else { Phase::Payload };
        Ok(())
    }

    /// The payload of a frame, or as much of it as is looked at.
    fn on_control_frame(&mut self, payload: &[u8]) -> Result<(), Fatal> {
        match self.control_in.kind {
            kind::SETTINGS => {
                self.peer = Peer::read(payload)?;
                self.encoder.set_peer(self.peer.table_bytes);
                self.tell(Control::Settings);
                Ok(())
            }
            kind::GOAWAY => self.on_go_away(integer(payload)?),
            kind::MAX_PUSH_ID => {
                let id = integer(payload)?;
                // RFC 9114, section 7.2.7.
                if self.max_push_id.is_some_and(|before| id < before) {
                    return Err(Fatal::id("MAX_PUSH_ID became lower"));
                }
                self.max_push_id = Some(id);
                Ok(())
            }
            // Nobody ever promised a push, or allowed one (RFC 9114, section 7.2.3).
            kind::CANCEL_PUSH => integer(payload).and(Err(Fatal::id("CANCEL_PUSH of a push that never was"))),
            _ => self.on_priority_update(payload),
        }
    }

    fn on_go_away(&mut self, id: u64) -> Result<(), Fatal> {
        if self.role == Role::Client && id & 3 != 0 {
            return Err(Fatal::id("GOAWAY names a stream that is no request's"));
        }
        if self.peer_going.is_some_and(|before| id > before) {
            return Err(Fatal::id("GOAWAY names a later stream than before"));
        }
        self.peer_going = Some(id);
        self.tell(Control::GoAway(id));
        Ok(())
    }

    fn on_priority_update(&mut self, payload: &[u8]) -> Result<(), Fatal> {
        let Some((stream, n)) = varint::read(payload) else { return Err(Fatal::frame("PRIORITY_UPDATE cut short")) };
        if self.control_in.kind == kind::PRIORITY_UPDATE_PUSH {
            return Err(Fatal::id("PRIORITY_UPDATE of a push that never was"));
        }
        if stream & 3 != 0 {
            return Err(Fatal::id("PRIORITY_UPDATE of a stream that is no request's"));
        }
        if self.control_in.rest == 0 {
            let priority = Priority::parse(payload.get(n..).unwrap_or(&[]));
            self.tell(Control::PriorityUpdate { stream, priority });
        }
        Ok(())
    }

    /// Puts an event before the owner. What it makes out of date is forgotten.
    fn tell(&mut self, control: Control) {
        self.controls.retain(|before| match (before, &control) {
            (Control::GoAway(_), Control::GoAway(_)) => false,
            (Control::PriorityUpdate { stream: a, .. }, Control::PriorityUpdate { stream: b, .. }) => a != b,
            _ => true,
        });
        if self.controls.len() >= CONTROLS_MAX
            && let Some(oldest) = self.controls.iter().position(|c| matches!(c, Control::PriorityUpdate { .. }))
        {
            self.controls.remove(oldest);
        }
        self.controls.push_back(control);
    }
}

/// The one integer that a payload is.
fn integer(payload: &[u8]) -> Result<u64, Fatal> {
    varint::exactly(payload).ok_or(Fatal::frame("a frame of the wrong size"))
}
