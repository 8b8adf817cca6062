"""Epochs spoilt in many ways by dice, and formats made up by dice: for tests that compare two ways of reading."""

import io
from random import Random

from ingest.core.descriptor import read_format
from ingest.core.errors import ArchiveError
from ingest.core.schema import Format

VALUES = [
    "", "  ", "a", "x y", " a", "a ", "é", "\u00a0a", "a\u2003", "\x85", "\u200bx", "\ufeffx", "3.6E+11", "2024-02-30",
    "02/29/2005", "2024-02-29", "true", "TRUE", "student", "STUDENT", "a,b", '"a,b"', '"a""b"', '"a', 'a"b', '"a\nb"',
    '"a\n\nb"', '"a"b', '""', '" a"', "\t", "\0", "\x7f", "\x1f", "x" * 300, "1", "09,,10", '"09,10"', '"a, b"',
    "org-0001", "user-000001", "S1", "𝔘", "-1", "+5", "1.5", "2026", "tobedeleted", "active",
    "2026-08-15T00:00:00.000Z", "2026-08-15T25:00:00Z", "2026-08-15",
    "b1", "b2", '"b-1,b-2"', '"b-1,2"', '"b-1, b"', "one|two", "a\\b",
]  # fmt: skip
BYTES = [
    b"\n", b"\r", b"\r\n", b'"', b",", b"\0", b"\xff", b"\xc3", b"\xe2\x80", b"\xc2\xa0", b" ", b"\n\n", b",,",
    b'"\n"', b"\xef\xbb\xbf", b'""',
]  # fmt: skip


def damaged(dice: Random, content: bytes) -> bytes:
    """The file with up to ten faults, other line ends, another encoding, or cut."""
    lines = content.split(b"\r\n")
    for _ in range(dice.choice([0, 1, 2, 5, 10])):
        dice.choice(WAYS)(dice, lines, dice.randrange(len(lines)))
    end = dice.choice([b"\r\n", b"\r\n", b"\n", b"\r"])
    out = end.join(lines)
    match dice.randrange(12):
        case 0:
            return out[: dice.randrange(len(out) + 1)]
        case 1:
            return out.removesuffix(end)
        case 2:
            return b"\xef\xbb\xbf" + out
        case 3:
            return b"\xff\xfe" + out.decode(errors="replace").encode("utf-16-le")
    return out


def _splice(dice: Random, lines: list[bytes], at: int) -> None:
    place = dice.randrange(len(lines[at]) + 1)
    lines[at] = lines[at][:place] + dice.choice(BYTES) + lines[at][place:]


def _value(dice: Random, lines: list[bytes], at: int) -> None:
    values = lines[at].split(b",")
    values[dice.randrange(len(values))] = dice.choice(VALUES).encode()
    lines[at] = b",".join(values)


def _twin(dice: Random, lines: list[bytes], at: int) -> None:
    lines.insert(at, dice.choice(lines))


def _borrow(dice: Random, lines: list[bytes], at: int) -> None:
    values, others = lines[at].split(b","), dice.choice(lines).split(b",")
    place = dice.randrange(min(len(values), len(others)))
    values[place] = others[place]
    lines[at] = b",".join(values)


def _longer(dice: Random, lines: list[bytes], at: int) -> None:
    lines[at] += b"," * dice.choice([1, 2])


def _shorter(dice: Random, lines: list[bytes], at: int) -> None:
    lines[at] = lines[at].rsplit(b",", 1)[0]


def _strange(dice: Random, lines: list[bytes], at: int) -> None:
    quotes, long = b'"' * dice.choice([1, 2, 3]), b"x" * dice.choice([10, 400])
    lines.insert(at, dice.choice([b"", b"  ", b"," * lines[0].count(b","), lines[0], quotes, long]))


WAYS = [_splice, _value, _value, _value, _twin, _borrow, _longer, _shorter, _strange]


class Breaking(io.BytesIO):
    """A stream that cannot be read beyond a place, as a damaged member of a zip."""

    def __init__(self, content: bytes, place: int) -> None:
        super().__init__(content)
        self.place = place

    def read(self, size: int | None = -1) -> bytes:
        out = super().read(size)
        if self.tell() > self.place:
            raise ArchiveError("zip-damaged", "This file in the zip is damaged.", "")
        return out


FIELDS = [
    {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "year"}, {"type": "date"},
    {"type": "date", "format": "%m/%d/%Y"}, {"type": "datetime"}, {"type": "list"}, {"type": "list", "delimiter": ";"},
    {"type": "list", "sftpPortal": {"items": {"enum": ["a", "b"]}}},
    {"type": "list", "sftpPortal": {"items": {"pattern": "[a-z0-9-]+"}}},
    {"type": "list", "sftpPortal": {"items": {"pattern": "[a-z]+(?:-[0-9,]{1,4})?"}}},
    {"constraints": {"pattern": "[a-z0-9-]+"}}, {"constraints": {"pattern": "[^@]+@?"}},
    {"constraints": {"pattern": r"(?:a|\d{1,3}|x y)"}}, {"constraints": {"pattern": r"\w+"}},
    {"constraints": {"enum": ["student", "active", "a"]}}, {"constraints": {"maxLength": 3}},
    {"constraints": {"unique": True}}, {"sftpPortal": {"identifier": True}}, {"sftpPortal": {"discard": True}}, {},
]  # fmt: skip


def format_by(dice: Random) -> Format:
    """A format of two files that refer to each other and to themselves, with columns of every kind."""
    return read_format(
        {
            "name": "made-up",
            "title": "Made up",
            "version": "1",
            "resources": [_resource(dice, "one", "two", ["id"]), _resource(dice, "two", "one", ["id"])],
            "sftpPortal": {"layout": 1},
        }
    )


def _resource(dice: Random, name: str, other: str, key: list[str]) -> dict[str, object]:
    fields: list[dict[str, object]] = [{"name": "id"}, {"name": "up"}, {"name": "over"}, {"name": "mark"}]
    for number in range(dice.randrange(1, 6)):
        made = {"name": f"f{number}", **dice.choice(FIELDS)}
        if dice.random() < 0.4:
            made["constraints"] = {**made.get("constraints", {}), "required": True}
        fields.append(made)
    places = [{"fields": "up", "reference": {"resource": "", "fields": "id"}}]
    places.append({"fields": "over", "reference": {"resource": other, "fields": "id"}})
    return {
        "name": name,
        "path": f"{name}.csv",
        "schema": {"fields": fields, "primaryKey": key, "foreignKeys": places[: dice.randrange(3)]},
        "sftpPortal": {
            "required": True,
            "changeMarks": ["mark"] if dice.random() < 0.5 else [],
            "rules": dice.choice([{}, {"line-break": "warning"}, {"reference": "warning", "enum-case": "note"}]),
            "sampleRows": 1000,
        },
    }
