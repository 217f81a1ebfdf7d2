//! The HTTP/2 engine, section by section of RFC 9113; its limits; both roles against each other and against `h2`.
mod frames;
mod messages;
mod simulation;
mod support;
