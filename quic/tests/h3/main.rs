//! The HTTP/3 engine by itself: frames, messages, unidirectional streams, limits, and the two roles together.
mod abuse;
mod blocked;
mod cuts;
mod going;
mod messages;
mod requests;
mod responses;
mod simulation;
mod support;
mod uni;
