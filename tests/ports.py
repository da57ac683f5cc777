"""Where a server of a test may listen."""

import socket


def free_port() -> int:
    """A port of this machine that nobody listens at, at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
