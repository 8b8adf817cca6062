"""Pastes and what comes of them: the rows of data/keys/cases.toml, and what does not fit in a row."""

from collections.abc import Sequence

import pytest

from keys.core.authorized_keys import render
from keys.core.errors import Problem, Refusal
from keys.core.parse import Paste, parse_paste
from keys.core.policy import Policy
from keys.core.wire import encoded
from tests.keys import samples

CASES = samples.cases()
LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}


def told(expected: Sequence[str], problems: Sequence[Problem]) -> list[str]:
    """Problems in the spelling of the rows: with their line where the row gives one."""
    with_lines = any("@" in row for row in expected)
    rows = [f"{problem.code} @ {problem.line}" if with_lines else problem.code for problem in problems]
    return sorted(rows, key=lambda row: (int(row.partition("@ ")[2] or 0), row))


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_row_of_the_cases(case: samples.Case, line_end: str) -> None:
    paste = parse_paste(case.paste.replace("\n", line_end))
    assert told(case.problems, paste.problems) == list(case.problems)
    assert told(case.notes, paste.notes) == list(case.notes) or case.problems
    assert [key.blob_base64 for key in paste.keys] == [samples.words(name)["base64"] for name in case.keys]
    assert paste.accepted == (not case.problems)
    assert not paste.private_key


@pytest.mark.parametrize("case", [case for case in CASES if case.keys], ids=lambda case: case.name)
def test_ssh_keygen_reads_the_same_keys_in_what_we_render(case: samples.Case) -> None:
    keys = parse_paste(case.paste).keys
    assert samples.fingerprints(render(keys)) == [key.fingerprint for key in keys]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reading_what_was_rendered_changes_nothing(case: samples.Case) -> None:
    first = parse_paste(case.paste)
    again = parse_paste(render(first.keys).decode("utf-8"))
    assert again.accepted
    assert again.keys == first.keys


def test_every_refusal_has_a_case() -> None:
    shown = {problem.partition(" @")[0] for case in CASES for problem in case.problems}
    elsewhere = {
        Refusal.PRIVATE_KEY,  # test_private.py: such text is made when it is needed
        Refusal.PASTE_TOO_LONG,
        Refusal.TOO_MANY_LINES,
        Refusal.TOO_MANY_KEYS,
        Refusal.MORE_PROBLEMS,
        Refusal.RSA_TOO_LONG,  # test_policy.py
        *(Refusal.NOT_CANONICAL, Refusal.BAD_POINT, Refusal.WEAK_POINT, Refusal.BAD_CURVE),  # test_publickey.py
        *(Refusal.BAD_MODULUS, Refusal.BAD_EXPONENT, Refusal.BAD_APPLICATION, Refusal.REJECTED),
    }
    assert {refusal.code for refusal in Refusal} == shown | {refusal.code for refusal in elsewhere}
    assert not shown & {refusal.code for refusal in elsewhere}


def test_a_comment_is_kept_as_it_was_written() -> None:
    paste = parse_paste(samples.text("ed25519_b.puttygen") + "\n" + samples.text("rsa2048"))
    assert [key.comment for key in paste.keys] == ['Dana "the" \\ Ruiz', "nightly export"]


def test_a_comment_over_255_characters_is_cut_with_a_note() -> None:
    paste = parse_paste(samples.text("ed25519") + "x" * 300)
    assert paste.accepted
    assert len(paste.keys[0].comment) == 255
    assert [note.code for note in paste.notes] == ["comment-shortened"]


@pytest.mark.parametrize(
    "comment",
    ["'; touch pwned #", "`id`", "$(id)", "a|b && c > d", "<img src=x onerror=alert(1)>", '"', "=cmd()", "日本 ü"],
)
def test_a_comment_with_shell_or_markup_characters_stays_one_inert_line(comment: str) -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']} {comment}")
    assert paste.accepted
    assert render(paste.keys).decode("utf-8").split("\n")[1:] == [
        f"{words['type']} {words['base64']} {comment}",
        "",
    ]


def test_bidirectional_and_zero_width_characters_do_not_reach_a_comment() -> None:
    paste = parse_paste(samples.text("ed25519") + " \u202egnp.exe\u202c\u200d")
    assert paste.keys[0].comment == "sis-server gnp.exe"


def many_lines(count: int) -> str:
    """So many different Ed25519 keys, as lines: about every second small y is on the curve."""
    lines: list[str] = []
    y = 2
    while len(lines) < count:
        y += 1
        line = f"ssh-ed25519 {encoded(samples.ed25519_blob(y.to_bytes(32, 'little')))} key {y}"
        lines += [line] if parse_paste(line).accepted else []
    return "\n".join(lines)


def test_fifty_keys_are_taken_and_fifty_one_are_not() -> None:
    lines = many_lines(51)
    assert parse_paste(lines.rpartition("\n")[0]).accepted
    paste = parse_paste(lines)
    assert [(problem.code, problem.line) for problem in paste.problems] == [("too-many-keys", 51)]


def test_one_key_fifty_one_times_is_one_key() -> None:
    paste = parse_paste("\n".join([samples.text("ed25519")] * 51))
    assert paste.accepted
    assert len(paste.keys) == 1


def test_a_paste_over_64_kib_is_refused_unread() -> None:
    line = samples.text("ed25519") + "\n"
    full = line + "#" * (64 * 1024 - len(line))
    assert parse_paste(full).accepted
    assert [problem.code for problem in parse_paste(full + "#").problems] == ["paste-too-long"]


def test_bytes_are_counted_not_characters() -> None:
    paste = parse_paste("#" + "ü" * (32 * 1024))
    assert [problem.code for problem in paste.problems] == ["paste-too-long"]


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
def test_more_lines_than_any_set_of_keys_needs_are_refused_unread(line_end: str) -> None:
    assert parse_paste(line_end * 4999).accepted
    assert [problem.code for problem in parse_paste(line_end * 5000).problems] == ["too-many-lines"]


def test_a_long_list_of_problems_is_cut_and_says_so() -> None:
    paste = parse_paste("nonsense\n" * 60, Policy(maximum_problems=10))
    assert [problem.code for problem in paste.problems] == ["not-a-key"] * 10 + ["more-problems"]
    assert paste.problems[-1].line == 11


def test_lines_tell_where_each_key_began() -> None:
    paste = parse_paste(f"# keys\n{samples.text('ecdsa256.rfc4716')}\n\n{samples.text('ed25519')}")
    assert paste.lines == (2, 8)


def test_no_problem_repeats_what_was_pasted() -> None:
    secret = "Tr0ub4dor-" * 5
    paste = parse_paste(f'{secret}\nssh-{secret} AAAAB3NzaC1yc2E\nfrom="{secret}" {samples.text("ed25519")}')
    assert len(paste.problems) == 3
    assert "Tr0ub4dor" not in repr(paste)


def test_an_empty_paste_is_accepted_and_has_no_keys() -> None:
    assert parse_paste("") == Paste()
    assert Paste().accepted
