"""Reads a zip as if its maker meant harm: judged as a whole first, then read member by member, never unpacked.

A zip's own table of contents is a claim. Names are judged as stored and as they are read, places must not overlap (one
piece of data listed a thousand times is how small bombs are made), and sizes are counted again while reading.
"""

import io
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO

from ingest.core.choose import is_noise
from ingest.core.display import counted, shown_name
from ingest.core.errors import ArchiveError
from ingest.core.findings import Finding, Severity

CONTENTS_BYTES = 4 << 20
LOCAL_HEADER = 30
RATIO_FLOOR = 1 << 20
ENCRYPTED = 0x1 | 0x40 | 0x2000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DRIVE = re.compile(r"[A-Za-z]:")
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much a zip may hold: members, bytes of one and of all when unpacked, unpacked per packed bytes."""

    members: int = 200
    member_bytes: int = 4 << 30
    total_bytes: int = 8 << 30
    ratio: int = 250


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the zip that may be read. `size` is what its table of contents says, in bytes."""

    name: str
    size: int


class Archive:
    """A judged zip. `ok` False: `findings` say why, and nothing of it is read. The file must stay open."""

    def __init__(self, name: str, found: zipfile.ZipFile | None, judged: "_Judged") -> None:
        self.name = name
        self.findings = tuple(judged.findings)
        self.members = tuple(Member(info.filename, info.file_size) for info in judged.good)
        self._infos = {info.filename: info for info in judged.good}
        self._zip = found

    @property
    def ok(self) -> bool:
        return not self.refusal

    @property
    def refusal(self) -> str:
        """The first sentence of why it may not be read; empty if it may."""
        return next((finding.message for finding in self.findings if finding.severity is Severity.ERROR), "")

    def open(self, name: str) -> BinaryIO:
        """The unpacked bytes of a member. Raises ArchiveError here or while reading if it is not what it says."""
        if not self.ok or self._zip is None or name not in self._infos:
            raise ArchiveError("zip-refused", "This zip may not be read.")
        try:
            raw = self._zip.open(self._infos[name])
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError):
            raise _damaged(name) from None
        return io.BufferedReader(_Measured(raw, name, self._infos[name].file_size))

    def damaged(self) -> tuple[Finding, ...]:
        """What is to be said of members that are not what they say; each is read to its end."""
        return tuple(damage(member.name) for member in self.members if self.ok and not self._is_whole(member.name))

    def _is_whole(self, name: str) -> bool:
        try:
            with self.open(name) as member:
                while member.read(BLOCK):
                    pass
        except ArchiveError:
            return False
        return True


def read_archive(file: BinaryIO, name: str, limits: ArchiveLimits) -> Archive:
    """Judge an open zip file; `name` is what it is called in findings. Never raises for what a zip may hold."""
    judged = _Judged(name)
    try:
        size = file.seek(0, io.SEEK_END)
        found = zipfile.ZipFile(_Sparing(file))
    except ArchiveError as error:
        judged.refuse(error.code, error.message)
        return Archive(name, None, judged)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, OverflowError):
        judged.refuse("zip-damaged", "This is not a whole zip file.", "Was the upload cut off? Send it again.")
        return Archive(name, None, judged)
    _judge(found.infolist(), size, limits, judged)
    return Archive(name, found, judged)


class _Judged:
    """What the judging of one zip has come to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.findings: list[Finding] = []
        self.good: list[zipfile.ZipInfo] = []

    def refuse(self, code: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(shown_name(self.name), code, Severity.ERROR, message, hint=hint))

    def note(self, message: str) -> None:
        self.findings.append(Finding(shown_name(self.name), "zip-passed-over", Severity.NOTE, message))


class _Sparing:
    """Hands a file to `zipfile` but no more at once than a table of contents may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        most = CONTENTS_BYTES + 1
        data = self._file.read(most if size < 0 else min(size, most))
        if len(data) > CONTENTS_BYTES:
            raise ArchiveError("zip-too-many", "The zip's table of contents is larger than is allowed.")
        return data


class _Measured(io.RawIOBase):
    """A member's bytes, counted against what was said, with damage told in our words."""

    def __init__(self, raw: IO[bytes], name: str, size: int) -> None:
        self._raw = raw
        self._name = name
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._raw.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError):
            raise _damaged(self._name) from None
        self._left -= len(data)
        if self._left < 0 or (not data and self._left):
            raise _damaged(self._name)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def damage(name: str) -> Finding:
    """The one finding about a member that cannot be read to its end; nothing of its zip is loaded then."""
    error = _damaged(name)
    return Finding(shown_name(name), error.code, Severity.ERROR, error.message, hint=error.hint)


def _damaged(name: str) -> ArchiveError:
    message = f"`{shown_name(name)}` in the zip is damaged or not of the size it says."
    return ArchiveError("zip-damaged", message, "Make the zip again and send it again.")


def _judge(infos: list[zipfile.ZipInfo], size: int, limits: ArchiveLimits, judged: _Judged) -> None:
    if len(infos) > limits.members:
        judged.refuse("zip-too-many", f"The zip holds more than {counted(limits.members, 'file')}.")
        return
    for info in infos:
        _judge_member(info, limits, judged)
    for name, times in Counter(name for info in infos for name in _names(info)).items():
        if times > 1:
            judged.refuse("zip-duplicate", f"`{shown_name(name)}` is in the zip {times} times.")
    if sum(info.file_size for info in infos) > limits.total_bytes:
        judged.refuse("zip-too-large", f"Unpacked, the zip has more than {counted(limits.total_bytes, 'byte')}.")
    if _overlap(infos, size):
        judged.refuse("zip-overlap", "Several names in the zip share the same data.", "Make the zip again.")


def _judge_member(info: zipfile.ZipInfo, limits: ArchiveLimits, judged: _Judged) -> None:
    names = _names(info)
    name = shown_name(names[0])
    if all(map(_is_of_macos, names)):
        judged.note(f"`{name}` is passed over: macOS leaves it in zips.")
        return
    refusals = [(shown_name(one), *told) for one in names for told in _name_refusals(one)]
    refusals += [(name, *told) for told in _refusals(info, limits)]
    for about, code, why in refusals:
        judged.refuse(code, f"`{about}` {why}")
    if refusals:
        return
    if info.filename.casefold().endswith(".zip"):
        judged.note(f"`{name}` is passed over: a zip in a zip is not opened.")
    elif is_noise(info.filename):
        judged.note(f"`{name}` is passed over: it is no data.")
    else:
        judged.good.append(info)


def _names(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """The name as stored and, where it is another, the one that the member is read by.

    From Python 3.13 on that is the one in a Unicode path field (0x7075), about which the stored one says nothing.
    """
    return tuple(dict.fromkeys((info.orig_filename, info.filename)))


def _is_of_macos(name: str) -> bool:
    return name.startswith("__MACOSX/") and ".." not in name.split("/")


def _refusals(info: zipfile.ZipInfo, limits: ArchiveLimits) -> Iterator[tuple[str, str]]:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield "zip-not-a-file", "is a link or another thing that is not a file."
    if info.flag_bits & ENCRYPTED:
        yield "zip-encrypted", "is encrypted. Send the zip without a password."
    elif info.compress_type not in METHODS:
        yield "zip-method", "is packed in a way other than deflate. Make an ordinary zip."
    if info.file_size > limits.member_bytes:
        yield "zip-too-large", f"has more than {counted(limits.member_bytes, 'byte')} when unpacked."
    if info.file_size > RATIO_FLOOR and info.file_size > limits.ratio * max(info.compress_size, 1):
        yield "zip-bomb", f"grows more than {limits.ratio} times when unpacked."


def _name_refusals(name: str) -> Iterator[tuple[str, str]]:
    parts = name.replace("\\", "/").split("/")
    if not name or not name.isprintable() or len(name) > 255:
        yield "zip-name", "has a name with characters that may not be in a name, or too many of them."
    elif ".." in parts or name.startswith("/") or "\\" in name or DRIVE.match(name):
        yield "zip-slip", "has a name that leads out of the zip."
    elif len(parts) > 1:
        yield "zip-folder", "lies in a folder. Put the files themselves in the zip, without a folder."


def _overlap(infos: list[zipfile.ZipInfo], size: int) -> bool:
    end = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset < end:
            return True
        end = info.header_offset + LOCAL_HEADER + len(info.orig_filename) + info.compress_size
    return end > size
