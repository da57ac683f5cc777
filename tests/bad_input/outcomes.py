"""What may come of a bad case: a sentence of ours, or a result that the test has to justify; and how many there were.

Each family hands its cases to `outcome`. The cases are those of hypothesis, derandomised; GAZE_BAD_CASES=10 makes ten
times as many.
"""

import os
import re
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings


ROOT = Path(__file__).parents[2]
OURS = (str(ROOT / "llamafactory_gaze") + os.sep, str(ROOT / "eval") + os.sep)
# The different bad cases of each family: together more than a thousand.
AT_LEAST = {
    "adapters": 70, "fixations": 300, "images": 200, "maps": 380, "predictions": 190, "recipes": 290, "rows": 180,
}  # fmt: skip
SEEN: dict[str, set[str]] = {}  # of each family, the digests of its cases so far
SECONDS, MEBIBYTES = 20, 768

REFUSED = object()


class TooMuchError(BaseException):
    """A case took too long; no `except Exception` may hide it."""


def cases(number: int) -> Any:
    """The settings of a family: as many examples on each run, the same ones."""
    return settings(
        max_examples=number * int(os.environ.get("GAZE_BAD_CASES", "1")),
        derandomize=True,
        database=None,
        deadline=None,  # `limits` has one that also ends a hang
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def limits(seconds: int = SECONDS, mebibytes: int = MEBIBYTES) -> Iterator[None]:
    """Ends a block that hangs, and lets one that takes more memory than this above what there is fail."""

    def late(*_: object) -> None:
        raise TooMuchError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * 2**20, hard))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def outcome(family: str, case: Any, call: Callable[[], Any], *named: str) -> Any:
    """The result of a bad case, or REFUSED.

    Args:
        case: what tells it from all others.
        named: words of which a refusal has to say one: the file, the row, or the key.

    A refusal is a ValueError (all of our errors are), raised by a line of ours, that says in one to three sentences
    which file, row or key is meant.
    """
    SEEN.setdefault(family, set()).add(sha256(repr(case).encode("utf-8", "surrogatepass")).hexdigest())
    try:
        with limits():
            return call()
    except ValueError as error:
        check_sentence(error, *named)
        return REFUSED


def check_number(family: str) -> None:
    """At the end of a family's file: it had as many different cases as we say."""
    assert len(SEEN[family]) >= AT_LEAST[family], len(SEEN[family])


def check_sentence(error: ValueError, *named: str) -> None:
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    message = str(error)
    assert trace.tb_frame.f_code.co_filename.startswith(OURS), (trace.tb_frame, message)
    assert not named or any(name in message for name in named), message
    assert 20 < len(message) < 1500, (len(message), message[:300])
    assert "MemoryError" not in message and "Traceback" not in message, message
    assert len(re.findall(r"[.!?](?=\s[A-Z])", message)) < 6, message


ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**400, float("nan"), float("inf"), "", " ", "\0", "a\0b.png", "\ud800",
    "\u202egnp.exe", "é" * 300, "x" * 100_000, b"", b"\x89PNG", [], [[]], [None], [0], {}, {"path": None},
    {"bytes": None}, {"path": 5, "bytes": b""}, {"path": ["a"]}, "..", ".", "/", "../../secret.png", "/etc/passwd",
    "/dev/zero", "/proc/self/mem", "~", "http://127.0.0.1:9/a.png", "file:///etc/passwd", "off", "[28]",
]  # fmt: skip


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int = 8, colour: int = 0, content: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG that says what we like of itself."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def bombs() -> dict[str, bytes]:
    """Small files that claim, or unpack to, more than a machine has."""
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 7) + b"".join(
        struct.pack("<HHII", *entry)
        for entry in (
            (256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 8), (279, 4, 1, 2**31),
        )
    )  # fmt: skip
    return {
        "png that claims 2**31": png(2**31 - 1, 2**31 - 1),
        "png that claims 50000": png(50_000, 50_000),
        "png of 9000 that is whole": png(9_000, 9_500, content=bytes(9_001 * 9_500)),
        "png that unpacks to more": png(8, 8, content=bytes(2**27)),
        "png with a text that unpacks": png(
            8, 8, content=bytes(72), extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27)))
        ),
        "png with a profile that unpacks": png(
            8, 8, content=bytes(72), extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**27)))
        ),
        "tiff that claims 60000": tiff + bytes(20),
        "gif that claims 65535": b"GIF89a\xff\xff\xff\xff\x80\0\0"
        + bytes(6)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0;",
        "pgm that claims 10**9": b"P5 1000000000 1000000000 255\n\0",
        "bmp that claims 2**30": b"BM" + struct.pack("<IIIIiiHH", 60, 0, 54, 40, 2**30, 2**30, 1, 8) + bytes(24),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/tmp/ours) (w) file\n",
    }
