"""Rows as databases take them in bulk: JSON texts, and the lines of PostgreSQL's COPY."""

import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.core.hashes import Bytes
from ingest.core.matching import Does
from ingest.core.predicates import Cells
from ingest.core.spool import Changes

_WHAT = {Does.CHANGED: "changed", Does.RETURNED: "returned"}
_ODD = np.zeros(256, np.bool_)
_ODD[:0x20] = _ODD[ord('"')] = _ODD[ord("\\")] = True
_HEX: Bytes = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def json_texts(columns: Mapping[str, pa.StringArray], escape: bool = False) -> pa.StringArray:
    """Each row as a JSON object. `escape`: with the backslashes that COPY wants doubled."""
    parts: list[pa.StringArray | str] = []
    before = "{"
    for name, array in columns.items():
        parts += [_copied(f'{before}{json.dumps(name, ensure_ascii=False)}: "', escape), _quoted(array, escape)]
        before = '", '
    return pc.binary_join_element_wise(*parts, '"}' if parts else "{}", "")


def _copied(text: str, escape: bool) -> str:
    return text.replace("\\", "\\\\") if escape else text


def _quoted(array: pa.StringArray, escape: bool) -> pa.StringArray:
    """What stands between the quotes of JSON strings."""
    data = Cells(array).data
    if not _ODD[data].any():
        return array
    coded = array.dictionary_encode()
    texts = [_copied(json.dumps(value, ensure_ascii=False)[1:-1], escape) for value in coded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices)


def copy_text(array: pa.StringArray) -> pa.StringArray:
    """Texts as a COPY in text format wants them."""
    if not _ODD[Cells(array).data].any():
        return array
    return pa.array([text.translate(_ESCAPES) for text in array.to_pylist()], pa.string())


def hex_texts(digests: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Sixteen bytes each as COPY writes bytes: two backslashes, x, and 32 digits."""
    width = digests.type.byte_width
    raw = np.frombuffer(digests.buffers()[1], np.uint8)[
        digests.offset * width : (digests.offset + len(digests)) * width
    ]
    out = np.empty((len(digests), 3 + 2 * width), np.uint8)
    out[:, :3] = np.frombuffer(b"\\\\x", np.uint8)
    out[:, 3:] = _HEX[raw].reshape(len(digests), 2 * width)
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * out.shape[1]
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(out))


def copy_lines(*columns: pa.StringArray | str) -> bytes:
    """Lines of COPY: texts that are escaped already, or one for all lines."""
    parts: list[pa.StringArray | str] = []
    for at, column in enumerate(columns):
        parts += ["\t", column] if at else [column]
    lines = Cells(pc.binary_join_element_wise(*parts, "\n", ""))
    return lines.data.tobytes()


def numbered(pieces: Iterable[Changes], first: int) -> Iterator[tuple[Changes, int]]:
    """New records with the number of the first of each piece."""
    for changes in pieces:
        yield changes, first
        first += len(changes)


def added_lines(changes: Changes, first: int, dataset: int, epoch: int) -> bytes:
    """New records as they are copied in: id, dataset, key, digest, data, is_removed, first and last epoch."""
    ids = pc.cast(pa.array(np.arange(first, first + len(changes))), pa.string())
    keys, digests = copy_text(changes.table["key"]), hex_texts(changes.table["digest"])
    data = json_texts(changes.columns, escape=True)
    return copy_lines(ids, str(dataset), keys, digests, data, "f", str(epoch), str(epoch))


def altered_lines(changes: Changes) -> bytes:
    """Records that change or return, as they are copied in: id, what, digest, data."""
    ids, digests = pc.cast(changes.table["id"], pa.string()), hex_texts(changes.table["digest"])
    return copy_lines(ids, pa.array(_words(changes)), digests, json_texts(changes.columns, escape=True))


def added_rows(changes: Changes, first: int) -> Iterator[tuple[int, str, bytes, str]]:
    """New records for a database that takes rows one by one: id, key, digest, data."""
    ids = range(first, first + len(changes))
    columns = (changes.table["key"], changes.table["digest"], json_texts(changes.columns))
    return zip(ids, *(column.to_pylist() for column in columns), strict=True)


def altered_rows(changes: Changes) -> Iterator[tuple[int, str, bytes, str]]:
    """Records that change or return: id, what, digest, data."""
    ids, digests, data = (changes.table["id"], changes.table["digest"], json_texts(changes.columns))
    return zip(ids.to_pylist(), _words(changes), digests.to_pylist(), data.to_pylist(), strict=True)


def _words(changes: Changes) -> list[str]:
    return [_WHAT[does] for does in changes.does.tolist()]
