"""Pastes and what comes of them: the rows of data/keys/cases.toml, and what does not fit in a row."""

from collections import Counter
from collections.abc import Sequence

import pytest

from benchmarks.keys import row, sums
from keys.core.algorithms import ALGORITHMS
from keys.core.authorized_keys import render
from keys.core.characters import text_from
from keys.core.errors import Advice, Note, Problem, Refusal
from keys.core.formats import pem, private
from keys.core.formats.private import private_key_lines
from keys.core.parse import Paste, parse_paste
from keys.core.policy import Policy
from tests.keys import samples
from tests.keys.private_keys import KINDS, private_key

CASES = samples.cases()
ACCEPTED = [case for case in CASES if case.keys and not case.problems]
FORMS = {
    *("openssh", "several", "blanks", "comment-lines", "bom", "invisible", "quotes", "mail", "fence", "caption"),
    *("wrapped", "rfc4716", "mixed", "pem-spki", "pem-pkcs1", "empty"),
}
INVENTED_PRIVATE_KEYS = {
    "private, a json web key",
    "private, of the age program",
    "private, a pgp key",
    "private, the headers inside a block of pem",
    "private, with its dashes turned into long ones and in small letters",
    "a header of a private key in a comment, with two blanks",
    "a part of a private key as xml in a comment, with two blanks",
    "a number behind priv in a comment, with more blanks than are looked over",
}
LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}


def told(expected: Sequence[str], problems: Sequence[Problem]) -> list[str]:
    """Problems in the spelling of the rows: with their line where the row gives one."""
    with_lines = any("@" in row for row in expected)
    rows = [f"{problem.code} @ {problem.line}" if with_lines else problem.code for problem in problems]
    return sorted(rows, key=lambda row: (int(row.partition("@ ")[2] or 0), row))


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_row_of_the_cases(case: samples.Case, line_end: str) -> None:
    paste = parse_paste(samples.filled(case.paste).replace("\n", line_end), case.policy)
    assert told(case.problems, paste.problems) == list(case.problems)
    assert told(case.notes, paste.notes) == list(case.notes) or case.problems
    assert [key.blob_base64 for key in paste.keys] == list(case.keys)
    assert paste.accepted == (not case.problems)
    assert paste.private_key == any(problem.startswith("private-key") for problem in case.problems)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_ssh_keygen_reads_the_same_keys_in_what_we_render(case: samples.Case) -> None:
    keys = parse_paste(samples.filled(case.paste)).keys
    assert samples.fingerprints(render(keys)) == [key.fingerprint for key in keys]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reading_what_was_rendered_changes_nothing(case: samples.Case) -> None:
    first = parse_paste(samples.filled(case.paste))
    again = parse_paste(render(first.keys[:50]).decode("utf-8"))
    assert again.accepted
    assert again.keys == first.keys[:50]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_accepted_row_is_read_as_a_file_in_the_encodings_of_editors(encoding: str) -> None:
    for case in ACCEPTED:
        paste = samples.filled(case.paste)
        # Without a mark, UTF-16 is told by its zero bytes, so the first characters must have some.
        if paste[:4].isascii() or not encoding.endswith(("le", "be")):
            read = parse_paste(text_from(paste.encode(encoding)))
            assert [key.blob_base64 for key in read.keys] == list(case.keys), case.name


def test_there_are_three_rows_at_least_for_every_code() -> None:
    rows = [[*case.problems, *case.notes] for case in CASES]
    counted = Counter(code for row in rows for code in {problem.partition(" @")[0] for problem in row})
    codes = {reason.code for reason in (*Refusal, *Note, *Advice)}
    assert {code for code in codes if counted[code] < 3} == set()
    assert counted.keys() - codes == set()


def test_a_weak_key_of_the_rows_has_no_other_fault() -> None:
    weak = [case for case in CASES if any(problem.startswith("weak-") for problem in case.problems) and case.weak]
    assert weak
    for case in weak:
        assert parse_paste(samples.filled(case.paste)).accepted, case.name


def test_there_are_three_rows_at_least_for_every_form_and_type() -> None:
    forms = Counter(case.form for case in CASES if not case.problems)
    assert forms.keys() == FORMS
    assert min(forms.values()) >= 3
    types = Counter(key.algorithm for case in ACCEPTED for key in parse_paste(samples.filled(case.paste)).keys)
    assert types.keys() == ALGORITHMS.keys()
    assert min(types.values()) >= 3


def test_the_rows_are_as_many_as_was_promised_and_no_two_have_a_name_in_common() -> None:
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({(case.paste, case.weak, case.blocklist) for case in CASES}) == len(CASES)


def test_no_private_key_lies_among_the_cases() -> None:
    for file in [samples.DATA / "cases.toml", *(samples.DATA / "public").iterdir()]:
        found = private_key_lines(file.read_text("utf-8"))
        assert not found or file.name == "cases.toml", file.name
    stored = [case for case in CASES if parse_paste(case.paste).private_key]
    assert {case.name for case in stored} <= INVENTED_PRIVATE_KEYS


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


def test_fifty_keys_are_taken_and_fifty_one_are_not() -> None:
    lines = "\n".join(samples.many_lines(51))
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


LINES_OF_MEGABYTES = "".join(f"{line}\n" for line in [samples.text("rsa4096")] * 3500)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lines_before", [0, 1, 1750, 3499, 3500])
@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
def test_a_private_key_in_a_paste_of_megabytes_is_told_with_its_line(
    kind: str, line_end: str, lines_before: int
) -> None:
    lines = LINES_OF_MEGABYTES.splitlines(keepends=True)
    text = "".join([*lines[:lines_before], private_key(kind), *lines[lines_before:]])
    paste = parse_paste(text.replace("\n", line_end))
    assert paste.private_key
    assert [(problem.code, problem.line) for problem in paste.problems] == [("private-key", lines_before + 1)]


@pytest.mark.parametrize("before", ["x" * 100_000, "x " * 50_000], ids=["a long word", "many words"])
def test_a_private_key_behind_a_line_of_any_length_is_found(before: str) -> None:
    for line_end in ("\n", " "):
        secret = private_key("openssh-ed25519").replace("\n", line_end)
        for behind in ("", "\n", f"\n{before}"):
            assert parse_paste(f"{before} {secret}{behind}").private_key


def test_public_keys_of_megabytes_are_refused_for_their_length_and_called_nothing_else() -> None:
    for text in (LINES_OF_MEGABYTES, LINES_OF_MEGABYTES.replace("\n", " "), LINES_OF_MEGABYTES.replace("\n", "\r\n")):
        paste = parse_paste(text)
        assert not paste.private_key
        assert [(problem.code, problem.line) for problem in paste.problems] == [("paste-too-long", None)]


def test_of_megabytes_no_more_than_a_paste_is_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at, real = list[str](), private.private_key_lines
    monkeypatch.setattr(private, "private_key_lines", lambda text: looked_at.append(text) or real(text))
    for letters in ("M", "\u200b", "PRIVATE KEY-----\n", "b3BlbnNzaC1rZXktdjEA\nAGE-SECRET-KEY-\nPuTTY-User-Key-File-"):
        looked_at.clear()
        assert not parse_paste(letters * (3_000_000 // len(letters))).accepted
        assert 0 < sum(map(len, looked_at)) <= 64 * 1024


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


def test_keys_in_other_spellings_count_as_read_so_that_no_paste_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [], pem._blob_from
    monkeypatch.setattr(pem, "_blob_from", lambda der, label: read.append(der) or real(der, label))
    text = dict(sums())["blocks of secp521r1: good, good again, bad"][: 64 * 1024]
    paste = parse_paste(text)
    assert len(read) == 101
    assert [problem.code for problem in paste.problems] == ["pem-unreadable", "more-problems"]
    assert paste.problems[1].line == paste.problems[0].line + 6


@pytest.mark.parametrize(("ours", "is_kept"), [(2.4, True), (2.6, False)])
def test_the_benchmark_says_for_each_row_whether_it_keeps_the_goal(
    ours: float, is_kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert row("ed25519", 1, 1.0, ours) is is_kept
    assert capsys.readouterr().out.split()[-1] == ("kept" if is_kept else "MISSED")


def test_a_block_of_pem_that_is_there_many_times_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [], pem._blob_from
    monkeypatch.setattr(pem, "_blob_from", lambda der, label: read.append(der) or real(der, label))
    block = samples.text("ecdsa256.compressed")
    paste = parse_paste("\n".join([block, block.replace("\n", "\n\n"), samples.text("ecdsa256.spki")] * 20))
    assert len(read) == 2
    assert len(paste.keys) == 1
    assert Counter(note.code for note in paste.notes) == {"converted": 60, "duplicate": 59, "advice-no-comment": 1}
    lines = block.count("\n") + 1
    assert lines + 1 in {note.line for note in paste.notes if note.code == "duplicate"}
