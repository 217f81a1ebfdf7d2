"""Imports every module with cases, in the order of the listing."""
from . import (  # noqa: F401
    streams, settings, frames_control, frames_request, messages, qpack, quic_packets, quic_tokens, quic_frames, exhaustion,
    paths)
