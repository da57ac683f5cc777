"""Whether the elements of a MATLAB file fit into one another, before scipy reads it.

scipy (1.17) believes the types, and the numbers of a struct's elements, that a file gives: one wrong byte makes it read
beyond its memory, which ends the process. The layout is that of "MAT-File Format", MathWorks, chapter 1, level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

from llamafactory_gaze.data.tables import DataError


_UINT32, _INT32, _MATRIX, _COMPRESSED = 6, 5, 14, 15
_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}  # of a type's values
_CELL, _STRUCT, _CHAR, _SPARSE, _NUMBERS = 1, 2, 4, 5, range(6, 16)  # classes of arrays
_DEEPEST = 30  # structs in structs

Element = tuple[int, memoryview]  # its type, and what is in it


def check_mat(path: Path) -> None:
    """Raise `DataError` for a MATLAB file of level 5 whose elements do not fit into one another.

    A file of another level is left to scipy, which reads those in Python.
    """
    content = memoryview(path.read_bytes())
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(bytes(content[124:128]))
    if order is None:
        return
    try:
        for kind, inside in _elements(content[128:], order):
            if kind == _COMPRESSED:
                [(kind, inside)] = _elements(memoryview(zlib.decompress(inside)), order)
            if kind != _MATRIX:
                raise ValueError(f"an element has the type {kind}")
            _check_matrix(inside, order, 0)
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a MATLAB file ({error}); it is damaged.") from error


def _elements(content: memoryview, order: str) -> list[Element]:
    elements = []
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
        if kind not in _BYTES and kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"an element has the type {kind}")
        elements.append((kind, content[begin : begin + size]))
        at = end
    return elements


def _check_matrix(content: memoryview, order: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("its elements lie too deep in one another")
    elements = _elements(content, order)
    if not elements:  # an empty matrix
        return
    kinds = [kind for kind, _ in elements[:2]]
    if kinds not in ([_UINT32, _INT32], [_UINT32, _UINT32]) or len(elements) < 3 or len(elements[0][1]) != 8:
        raise ValueError("an array has no class, size and name")
    kind = struct.unpack_from(f"{order}I", elements[0][1])[0] & 0xFF
    sides = struct.unpack(f"{order}{len(elements[1][1]) // 4}i", elements[1][1])
    if len(sides) < 2 or min(sides) < 0:
        raise ValueError(f"an array has the sides {sides}")
    count = math.prod(sides)
    if kind in (_CELL, _STRUCT):
        inner = elements[3:]
        if kind == _STRUCT:
            (length,) = struct.unpack(f"{order}i", elements[3][1])
            count *= len(elements[4][1]) // length if length > 0 else 0
            inner = elements[5:]
        if len(inner) != count:
            raise ValueError(f"an array of {count} elements holds {len(inner)}")
        for inner_kind, inside in inner:
            if inner_kind != _MATRIX:
                raise ValueError(f"an array holds an element of the type {inner_kind}")
            _check_matrix(inside, order, depth + 1)
    elif kind in _NUMBERS:
        for data_kind, inside in elements[3:]:
            if len(inside) != count * _BYTES.get(data_kind, 0):
                raise ValueError(f"an array of {count} numbers holds {len(inside)} bytes")
    elif kind not in (_CHAR, _SPARSE):
        raise ValueError(f"an array has the class {kind}")
