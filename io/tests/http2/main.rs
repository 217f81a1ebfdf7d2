//! The HTTP/2 engine, section by section of RFC 9113; its limits; both roles against each other and against `h2`.
mod abuse;
mod client;
mod cuts;
mod frames;
mod going;
mod h2_peer;
mod messages;
mod sending;
mod settings;
mod simulation;
mod streams;
mod support;
mod windows;
