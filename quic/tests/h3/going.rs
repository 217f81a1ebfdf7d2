//! GOAWAY of this side, and messages that are passed on as they came.
use crate::support::*;
use edge_quic::h3::{Control, Own, Role, Uni};

#[test]
fn go_away_only_becomes_lower() {
    let mut side = Side::new(Role::Server);
    let mut peer = Side::new(Role::Client);
    let mut uni = Uni::new();
    let mut told = |side: &mut Side| {
        let out = std::mem::take(side.connection.out(Own::Control));
        peer.uni(&mut uni, &out).expect("our own control stream");
        std::iter::from_fn(|| peer.connection.next_control()).last()
    };
    assert_eq!(told(&mut side), Some(Control::Settings));
    side.connection.go_away((1 << 62) - 4);
    assert_eq!(told(&mut side), Some(Control::GoAway((1 << 62) - 4)));
    side.connection.go_away(400);
    side.connection.go_away(400);
    side.connection.go_away(404);
    assert_eq!(told(&mut side), Some(Control::GoAway(400)));
    side.connection.go_away(404);
    assert_eq!(told(&mut side), None);
}
