"""What to do about one account's file on its host: leave, read, write or hold it; and when a whole run must stop."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from keys.core.authorized_keys import Line, LineKind, read, stamp_of
from keys.core.errors import KeyProblem
from keys.core.publickey import PublicKey
from keys.core.wire import decoded

_BLOB = re.compile(rb"AAAA[A-Za-z0-9+/]+={0,2}")
# As sshd reads options: a quote behind a backslash ends nothing.
_QUOTED = re.compile(rb'"(?:\\"|[^"])*"')
# What is taken off a host is kept, but nobody fills our database with it.
KEPT_LINES = 50
KEPT_LENGTH = 16 * 1024


@dataclass(frozen=True, slots=True)
class Mark:
    """What a listing tells of a file: size in bytes, time of the last change in seconds since the epoch.

    `sound`: it is an ordinary file with the owner and the permissions that ours have.
    """

    size: int
    modified: int
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What was last read back from the host: the set's version, the content's SHA-256 in hex, and its mark.

    An empty digest and version 0: nothing yet. `next_digest`: of what a worker was about to leave of it, if it died
    before it could say that it had.
    """

    version: int = 0
    digest: str = ""
    mark: Mark | None = None
    next_digest: str = ""


class Look(Enum):
    """What a listing leaves to do about one file."""

    LEAVE = "leave"
    READ = "read"
    WRITE = "write"


def look_at(should: str, known: Known, mark: Mark | None, *, read_due: bool) -> Look:
    """What to do about a file that should have the digest `should` and has `mark` in the listing (None: is not there).

    A file is left alone without being read only if it is what we last read, should still be that, and was read
    lately (`read_due` says that it was not).
    """
    if mark is None:
        return Look.WRITE
    if read_due or mark != known.mark or should != known.digest:
        return Look.READ
    return Look.LEAVE


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for since the set that the host has: keys to remove by fingerprint, or anything at all.

    `everything`: the account itself changed (suspended, renamed, networks), so any key may have to go.
    """

    fingerprints: frozenset[str] = frozenset()
    everything: bool = False

    def covers(self, fingerprint: str) -> bool:
        return self.everything or fingerprint in self.fingerprints


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line that stood on a host and is not ours. `fingerprint` is empty if it holds no key we can read."""

    raw: bytes
    fingerprint: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What writing the file as it should be would do to what stands there now.

    `foreign`: lines that are not ours, for the quarantine; `unasked`: fingerprints of keys of ours that would go
    although nobody asked; `removed`: of all keys that would go.
    """

    drifted: bool
    foreign: tuple[FoundLine, ...] = ()
    unasked: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def digest_of(content: bytes) -> str:
    """SHA-256 of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()


def difference(there: bytes, should: bytes, known: Known, asked: Asked) -> Difference:
    """Compare what stands on the host with what should.

    Whoever changed the file there, its keys are ours if the set we last read back had them: those are told by `asked`
    and by their lines' being as we left them, though others stand between or after them. Everything else that lets
    somebody in, or is no line of ours, is foreign.
    """
    stamp = stamp_of(there)
    is_as_left = bool(known.digest) and digest_of(there) in (known.digest, known.next_digest)
    staying = {line.entry.key.fingerprint for line in read(should) if line.entry}
    lines = read(there)
    gone = [line for line in lines if line.entry and line.entry.key.fingerprint not in staying]
    removed = tuple(_print(line) for line in gone)
    if is_as_left:
        unasked = tuple(print for print in removed if not asked.covers(print))
        return Difference(False, (), unasked, removed)
    left = as_left(there, known)
    foreign = [line for line in lines if line.kind is LineKind.FOREIGN and line.raw.strip()]
    foreign += [line for line in gone if line not in left and not asked.covers(_print(line))]
    unasked = tuple(_print(line) for line in gone if line in left and not asked.covers(_print(line)))
    kept = _kept(sorted(foreign, key=lambda line: line.number))
    # A worker killed between writing and noting leaves a newer set of ours there: nobody has touched that.
    is_ours = stamp is not None and stamp.version > known.version
    return Difference(bool(kept) or (bool(known.digest) and not is_ours), kept, unasked, removed)


def as_left(there: bytes, known: Known) -> list[Line]:
    """Our lines without those of others that stand between or after them, if they are what we last read
    back; none if one was changed, or another that looks like ours stands before the last."""
    lines, digest, left = list(read(there)), hashlib.sha256(), []
    if digest_of(there) in (known.digest, known.next_digest):
        return lines
    for line in lines:
        if line.kind is not LineKind.FOREIGN:
            digest.update(line.raw + b"\n")
            left.append(line)
            if digest.hexdigest() in (known.digest, known.next_digest):
                return left
    return []


def found_lines(there: bytes) -> tuple[FoundLine, ...]:
    """Every line of a file that belongs to no account."""
    return _kept([line for line in read(there) if line.kind is not LineKind.HEADER and line.raw.strip()])


def foreign_lines(there: bytes) -> tuple[FoundLine, ...]:
    """The lines that no set of ours has in this form, whichever set the file holds."""
    return _kept([line for line in read(there) if line.kind is LineKind.FOREIGN and line.raw.strip()])


def shown_lines(content: bytes) -> list[str]:
    """The lines of a file fit for a terminal or a page: whatever is no printable text is escaped."""
    return [
        "".join(
            each if each.isprintable() else f"\\u{{{ord(each):x}}}" for each in line.decode("utf-8", "backslashreplace")
        )
        for line in content.removesuffix(b"\n").split(b"\n")
        if content
    ]


def _print(line: Line) -> str:
    return line.entry.key.fingerprint if line.entry else ""


def _kept(lines: list[Line]) -> tuple[FoundLine, ...]:
    """These lines for the quarantine. If they are too many, those that let somebody in are kept before comments, in
    both those that hold a key before all others, and of the rest the fingerprints in the same order, as far as there is
    room: nobody hides a key behind others that are dead, or many."""
    if len(lines) <= KEPT_LINES:
        return tuple(_found(line) for line in lines)
    ranked = sorted(lines, key=lambda line: (_is_comment(line), line.entry is None and key_in(line.raw) is None))
    kept, rest = ranked[: KEPT_LINES - 1], ranked[KEPT_LINES - 1 :]
    return (*(_found(line) for line in sorted(kept, key=lambda line: line.number)), _counted(rest))


def _is_comment(line: Line) -> bool:
    """Whether sshd passes over it."""
    return line.raw.lstrip(b" \t").startswith(b"#")


def _counted(lines: list[Line]) -> FoundLine:
    """One finding for lines that are too many to be kept each."""
    prints = [one.fingerprint for one in map(_found, lines) if one.fingerprint]
    told = f"# {len(lines)} more lines, which were not kept. Keys in them: {' '.join(prints) or 'none'}"
    return FoundLine(told.encode("ascii")[:KEPT_LENGTH])


def too_large(limit: int) -> FoundLine:
    """What is kept of a file of more than `limit` bytes, which nobody reads."""
    return FoundLine(f"# A whole file of more than {limit:,} bytes, which was neither read nor kept.".encode("ascii"))


def _found(line: Line) -> FoundLine:
    key = line.entry.key if line.entry else key_in(line.raw)
    raw = line.raw if len(line.raw) <= KEPT_LENGTH else _cut(line.raw, key)
    return FoundLine(raw, key.fingerprint, key.label) if key else FoundLine(raw)


def _cut(raw: bytes, key: PublicKey | None) -> bytes:
    """What is kept of a line that is too long. Its key comes first: cut off, it would leave another's that an option
    spoke of; and of two lines that begin alike each is one of its own."""
    told = f"# The beginning of a line of {len(raw):,} bytes, SHA-256 {digest_of(raw)}, "
    told += f"with the key {key.algorithm} {key.blob_base64} : " if key else "without a key: "
    return (told.encode("ascii") + raw)[:KEPT_LENGTH]


def key_in(raw: bytes) -> PublicKey | None:
    """The key that a line not written by us speaks of, whatever stands round it."""
    # What an option says may look like a key, or be another's: it comes last.
    for part in (_QUOTED.sub(b'""', raw), raw):
        for blob in _BLOB.finditer(part):
            with suppress(KeyProblem):
                return PublicKey.from_blob(decoded(blob[0].decode("ascii")))
    return None


def removal_digest(unasked: Iterable[tuple[int, str, str]]) -> str:
    """What tells one removal that nobody asked for from any other; empty for none. In any order."""
    rows = sorted(unasked)
    return digest_of(repr(rows).encode("utf-8")) if rows else ""


def must_stop(unasked: int, on_host: int, *, most_keys: int, most_percent: int) -> bool:
    """Whether a run has to ask first: it would remove more keys that nobody asked to remove than is usual.

    `unasked` of the `on_host` keys that the host has. A handful is a repair, whatever its share of a small host.
    """
    if unasked <= FEW_KEYS:
        return False
    return unasked > most_keys or unasked * 100 > on_host * most_percent


# Up to here a run mends by itself.
FEW_KEYS = 2
