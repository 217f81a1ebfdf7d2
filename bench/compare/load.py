"""What is asked of a load generator, and what it found. The generators themselves: generators.py."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Ask:
    """A load. Paths are asked in turn."""
    url: str
    paths: tuple
    protocol: str = "h1"            # h1, h2, h3; over TLS when the URL is https
    connections: int = 64
    streams: int = 1
    seconds: float = 3.0
    warmup: float = 1.0
    upload: str = ""                # a file that is sent as the body
    fields: tuple = ()              # further request fields: (name, value)
    fresh: bool = False             # a new connection, with a full handshake, for each request
    websocket: int = 0              # bytes of messages that are echoed, instead of requests
    rate: float = 0.0               # requests a second in an open loop; 0: the next when the last is answered
    size: int = 1024                # bytes that an answer's body must have

    @property
    def secure(self):
        return self.url.startswith("https:")


@dataclasses.dataclass
class Found:
    """A load's result."""
    answered: int                   # good answers
    failed: int                     # requests and connections that went wrong
    seconds: float
    body_bytes: float               # of all answers; None where the generator does not count them
    generator_us: float             # processor time of the generator in the measured time
    p50_us: float = None
    p99_us: float = None
    server_us: float = None         # of the server and its children in the measured time, where the generator reads it
    invalid: str = ""               # why the generator says that the figures are not the server's
    faults: str = ""                # the failures by kind


class LoadError(Exception):
    """The generator did not do what was asked; with what it said."""


def complaint(found, ask):
    """What is wrong with the answers, or nothing."""
    if not found.answered:
        return f"no answer at all ({found.faults or 'no reason given'})"
    if found.failed > found.answered * 1e-3:
        return f"{found.failed} of {found.answered + found.failed} failed ({found.faults or 'no reason given'})"
    if found.body_bytes is not None and not ask.websocket:
        each = found.body_bytes / found.answered
        if abs(each - ask.size) > max(ask.size * 0.02, 8):
            return f"answers of {each:.0f} bytes instead of {ask.size}"
    return ""
