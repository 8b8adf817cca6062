"""What one look at a host comes to, and when a run must stop: decided without a host."""

import subprocess
from pathlib import Path

import pytest

from keys.core.authorized_keys import Stamp, render
from keys.core.drift import (
    KEPT_LENGTH,
    KEPT_LINES,
    Asked,
    Known,
    Look,
    Mark,
    difference,
    digest_of,
    found_lines,
    key_in,
    look_at,
    must_stop,
)
from keys.core.publickey import PublicKey
from keys.core.wire import decoded

from .samples import text, words


def key(name: str) -> PublicKey:
    return PublicKey.from_blob(decoded(words(name)["base64"]), words(name)["comment"])


MARK = Mark(100, 1_700_000_000)
KNOWN = Known(2, "d", MARK)


@pytest.mark.parametrize(
    ("should", "known", "mark", "read_due", "look"),
    [
        ("d", KNOWN, MARK, False, Look.LEAVE),
        ("d", KNOWN, MARK, True, Look.READ),
        ("d", KNOWN, Mark(101, MARK.modified), False, Look.READ),
        ("d", KNOWN, Mark(100, MARK.modified - 1), False, Look.READ),
        ("e", KNOWN, MARK, False, Look.READ),
        ("d", KNOWN, None, False, Look.WRITE),
        ("d", Known(), None, True, Look.WRITE),
        ("d", Known(), MARK, False, Look.READ),
    ],
    ids=["as left", "not read lately", "size", "time", "a new set", "gone", "never there", "there before us"],
)
def test_only_a_file_that_is_as_we_left_it_is_left_unread(
    should: str, known: Known, mark: Mark | None, read_due: bool, look: Look
) -> None:
    assert look_at(should, known, mark, read_due=read_due) is look


def _file(version: int, *names: str) -> bytes:
    return render([key(name) for name in names], Stamp(version, "a" * 16))


def _known(content: bytes, version: int = 2) -> Known:
    return Known(version, digest_of(content), MARK)


def _print(name: str) -> str:
    return key(name).fingerprint


def test_a_key_that_a_person_removed_goes_and_is_neither_foreign_nor_unasked() -> None:
    there, should = _file(2, "ed25519", "rsa3072"), _file(3, "rsa3072")
    found = difference(there, should, _known(there), Asked(frozenset({_print("ed25519")})))
    assert (found.drifted, found.foreign, found.unasked, found.removed) == (False, (), (), (_print("ed25519"),))


def test_a_key_whose_row_is_lost_would_go_unasked() -> None:
    there, should = _file(2, "ed25519", "rsa3072"), _file(2, "rsa3072")
    assert difference(there, should, _known(there), Asked()).unasked == (_print("ed25519"),)


def test_a_suspended_districts_keys_all_go_as_asked() -> None:
    there, should = _file(2, "ed25519", "rsa3072"), _file(3)
    found = difference(there, should, _known(there), Asked(everything=True))
    assert (found.unasked, len(found.removed)) == ((), 2)


def test_a_line_somebody_added_on_the_host_is_foreign() -> None:
    ours = _file(2, "rsa3072")
    there = ours + f"{text('ed25519')}\n".encode()
    found = difference(there, ours, _known(ours), Asked())
    assert found.drifted
    assert [(line.fingerprint, line.label) for line in found.foreign] == [(_print("ed25519"), "ED25519")]


@pytest.mark.parametrize(
    "line",
    ['command="/bin/sh" {}', 'from="*"  {}', "\t{}", "{} \r", "cert-authority {}"],
    ids=["command", "blanks", "tab", "carriage return", "cert-authority"],
)
def test_a_foreign_line_tells_its_key_whatever_stands_round_it(line: str) -> None:
    ours = _file(2, "rsa3072")
    raw = line.format(text("ed25519")).encode()
    (kept,) = difference(ours + raw + b"\n", ours, _known(ours), Asked()).foreign
    assert (kept.raw, kept.fingerprint) == (raw, _print("ed25519"))


@pytest.mark.parametrize("raw", [b"# a note", b"\xff\x00 nonsense", b"ssh-rsa AAAA", b"cut off without its end"])
def test_a_line_that_holds_no_key_is_kept_without_one(raw: bytes) -> None:
    ours = _file(2, "rsa3072")
    (kept,) = difference(ours + raw, ours, _known(ours), Asked()).foreign
    assert (kept.raw, kept.fingerprint) == (raw, "")


def test_a_removed_key_that_somebody_put_back_is_foreign() -> None:
    ours = _file(3, "rsa3072")
    (kept,) = difference(_file(3, "ed25519", "rsa3072"), ours, _known(ours, 3), Asked()).foreign
    assert kept.fingerprint == _print("ed25519")


def test_an_emptied_file_has_drifted_though_nothing_in_it_is_foreign() -> None:
    ours = _file(2, "rsa3072")
    found = difference(b"", ours, _known(ours), Asked())
    assert (found.drifted, found.foreign) == (True, ())


def test_what_a_killed_worker_wrote_and_did_not_note_is_no_drift() -> None:
    noted, written, should = _file(2, "ed25519"), _file(3, "rsa3072"), _file(4, "ecdsa256")
    asked = Asked(frozenset({_print("ed25519"), _print("rsa3072")}))
    found = difference(written, should, _known(noted), asked)
    assert (found.drifted, found.foreign, found.unasked) == (False, (), ())


def test_a_file_that_was_there_before_us_is_kept_line_by_line() -> None:
    there = f"{text('ed25519')}\n{text('rsa3072')}\n".encode()
    found = difference(there, _file(1, "rsa3072"), Known(), Asked())
    assert [line.fingerprint for line in found.foreign] == [_print("ed25519")]


def test_nobody_fills_the_quarantine() -> None:
    there = b"x" * 100_000 + b"\n" + b"y\n" * 5000
    found = difference(there, _file(2), _known(_file(2)), Asked()).foreign
    assert len(found) == KEPT_LINES
    assert max(len(line.raw) for line in found) < 20_000
    assert len(found_lines(there)) == KEPT_LINES


def test_a_key_behind_comments_is_kept_before_them() -> None:
    comments = b"".join(b"# %d\n" % number for number in range(KEPT_LINES))
    for there in (comments + text("ed25519").encode() + b"\n", _file(2, "rsa3072") + comments + _file(3, "ed25519")):
        for found in (difference(there, _file(2), _known(_file(2)), Asked()).foreign, found_lines(there)):
            assert len(found) == KEPT_LINES
            assert _print("ed25519") in [line.fingerprint for line in found]
            assert found[-1].raw.endswith(b" more lines, which were not kept. Keys in them: none")


@pytest.mark.parametrize("option", ["*,!AAAAx", f"*,!{text('rsa3072')}"], ids=["no key", "another key"])
def test_an_option_that_looks_like_a_key_hides_none(option: str) -> None:
    line = f'from="{option}" {text("ed25519")}\n'.encode()
    for there in (line, b"# nothing\n" * KEPT_LINES + line):
        assert _print("ed25519") in [found.fingerprint for found in found_lines(there)]


@pytest.mark.parametrize(
    "options",
    [
        'command="{key}{pad}"',
        'command="{pad}"',
        'command="x\\" {key} \\"y"',
        'command="\\" {key} {pad}"',
    ],
    ids=["long, with another key", "long", "with quotes in quotes", "both"],
)
def test_the_key_of_a_line_is_the_one_that_sshd_reads(options: str, tmp_path: Path) -> None:
    line = f"{options.format(key=text('rsa3072'), pad='a' * KEPT_LENGTH)} {text('ed25519')}\n"
    (tmp_path / "line").write_text(line)
    told = subprocess.run(["ssh-keygen", "-lf", tmp_path / "line"], capture_output=True, text=True, check=True).stdout
    assert told.split()[1] == _print("ed25519")
    (found,) = found_lines(line.encode())
    assert (found.fingerprint, key_in(found.raw).fingerprint) == (_print("ed25519"), _print("ed25519"))


def test_long_lines_that_begin_alike_are_two() -> None:
    begin = f'command="{"a" * KEPT_LENGTH}" '
    first, second = found_lines(f"{begin}{text('rsa3072')}\n{begin}{text('ed25519')}\n".encode())
    assert first.raw != second.raw


def test_a_key_behind_many_others_leaves_its_fingerprint() -> None:
    many = (text("rsa3072").encode() + b"\n") * (KEPT_LINES + 4)
    found = found_lines(many + text("ed25519").encode() + b"\n")
    assert len(found) == KEPT_LINES
    assert found[-1].raw.startswith(b"# 6 more lines, which were not kept. Keys in them: SHA256:")
    assert found[-1].raw.endswith(_print("ed25519").encode())


@pytest.mark.parametrize("before", ["# ", "#", " \t# "])
def test_a_key_behind_many_dead_ones_is_kept(before: str) -> None:
    decoys = f"{before}{text('rsa3072')}\n".encode() * 1000
    for live in (text("ed25519").encode(), f' \tfrom="*" {text("ed25519")}'.encode()):
        found = found_lines(decoys + live + b"\n" + decoys)
        assert len(found) == KEPT_LINES
        assert [line.fingerprint for line in found if line.raw == live] == [_print("ed25519")]


def test_of_many_keys_the_live_ones_leave_their_fingerprints_first() -> None:
    live = text("rsa3072").encode() + b"\n"
    decoys = f"# {text('ecdsa256')}\n".encode() * 1000
    found = found_lines(live * KEPT_LINES + decoys + text("ed25519").encode() + b"\n")
    told = found[-1].raw.decode().partition("Keys in them: ")[2].split()
    assert told[:3] == [_print("rsa3072"), _print("ed25519"), _print("ecdsa256")]


def test_a_strangers_file_is_kept_without_our_header() -> None:
    assert [line.fingerprint for line in found_lines(_file(9, "ed25519"))] == [_print("ed25519")]


@pytest.mark.parametrize(
    ("unasked", "on_host", "stops"),
    [(0, 0, False), (2, 4, False), (3, 4, True), (3, 300, False), (20, 26_000, False), (21, 26_000, True)],
    ids=["nothing", "a handful", "most of a small host", "one in a hundred", "at the limit", "over it"],
)
def test_a_run_stops_over_a_number_or_a_share(unasked: int, on_host: int, stops: bool) -> None:
    assert must_stop(unasked, on_host, most_keys=20, most_percent=2) is stops
