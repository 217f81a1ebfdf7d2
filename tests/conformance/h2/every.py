"""Imports every module with cases, in the order of the listing."""
from . import (  # noqa: F401
    generic, starting, framing, streams, stream_errors, frames_data, frames_settings, frames_flow, continuation, push,
    messages, fields, pseudo, trailers, hpack_blocks, hpack_tables, priorities, extended_connect, conversion, exhaustion)
