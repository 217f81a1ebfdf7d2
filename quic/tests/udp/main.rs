//! UDP below QUIC: steering, sockets, groups, and the mesh between shards, over loopback.
mod cid;
mod group;
mod mesh;
mod offload;
mod readiness;
mod steering;
mod support;
