"""Whether the elements of a MATLAB file lie in one another as they should, before scipy reads it.

scipy (1.17) takes the type of an element from the file and looks it up in a table without a check, so that one wrong
byte ends the process. The layout is that of "MAT-File Format", MathWorks, chapter 1, level 5.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from llamafactory_gaze.data.tables import DataError


_MATRIX, _COMPRESSED = 14, 15
_TYPES = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, _MATRIX, 16, 17, 18))
_DEEPEST = 30  # structs in structs


def check_mat(path: Path) -> None:
    """Raise `DataError` for a MATLAB file of level 5 with an element of no type, or that reaches out of another.

    A file of another level is left to scipy, which reads those in Python.
    """
    content = memoryview(path.read_bytes())
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(bytes(content[124:128]))
    if order is None:
        return
    try:
        _check(content[128:], order, 0)
    except (ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a MATLAB file ({error}); it is damaged.") from error


def _check(content: memoryview, order: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("its elements lie too deep in one another")
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # an element of up to 4 bytes, in its own tag
            kind, size = kind & 0xFFFF, kind >> 16
            begin, end = at + 4, at + 8
            if size > 4:
                raise ValueError(f"a short element has {size} bytes")
        else:
            begin = at + 8
            end = begin + size + (0 if kind == _COMPRESSED else -size % 8)  # compressed ones are not padded
        if begin + size > len(content):
            raise ValueError(f"an element of {size} bytes reaches out of its place")
        if kind == _COMPRESSED and depth == 0:
            _check(memoryview(zlib.decompress(content[begin : begin + size])), order, depth + 1)
        elif kind == _MATRIX:
            _check(content[begin : begin + size], order, depth + 1)
        elif kind not in _TYPES or depth == 0:
            raise ValueError(f"an element has the type {kind}")
        at = end
