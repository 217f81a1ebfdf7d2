"""Imports every module with cases, in the order of the listing."""
from . import streams, settings, frames_control, frames_request, messages, qpack, quic_packets, quic_frames, exhaustion, paths  # noqa: F401
