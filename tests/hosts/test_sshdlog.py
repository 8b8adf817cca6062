"""sshd's log lines and the events they come to. The lines are those of a real OpenSSH 9.2, in tests/data/sshd."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.core.events import BadLine, Event, Kind, event_line, event_of
from hosts.core.sshdlines import Line, journal_record, plain_line, stamped_line, unescaped
from hosts.core.sshdlog import LATE_LIMIT, SILENCE, Closed, Opened, SshdLog, Told

LINES = Path(__file__).parents[1] / "data" / "sshd"
NAME = "smithville1.k12.oh.us"
START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
FORGED = "SHA256:" + "A" * 43

# What each kept run comes to: kind, reason, user name, what was tried, number of keys offered.
RUNS: dict[str, list[tuple[str, str, str, str, int]]] = {
    "sftp": [("accepted", "", NAME, "", 0)],
    "pam-sftp": [("accepted", "", NAME, "", 0)],
    "sftp-ipv6": [("accepted", "", NAME, "", 0)],
    "sftp-rsa-ecdsa": [("accepted", "", NAME, "", 0)] * 2,
    "paramiko": [("accepted", "", NAME, "", 0)],
    "debug-sftp": [("accepted", "", NAME, "", 0)],
    "third-key-right": [("accepted", "", NAME, "", 0)],
    "two-channels": [("accepted", "", NAME, "", 0)],
    "killed-monitor": [("accepted", "", NAME, "", 0)],
    "killed-client": [("accepted", "", NAME, "", 0)],
    "cert-accepted": [("accepted", "", NAME, "", 0)],
    "hostile-goodbye": [("accepted", "", NAME, "", 0)],
    "unknown-key": [("refused", "unknown-key", NAME, "", 1)],
    "expired": [("refused", "expired-key", NAME, "", 1)],
    "from": [("refused", "address-not-allowed", NAME, "", 1)],
    "many-keys": [("refused", "too-many-keys", NAME, "", 6)],
    "locked-key": [("refused", "not-signed", NAME, "", 1)],
    "sha1": [("refused", "sha1-signature", NAME, "", 0)],
    "cert-refused": [("refused", "unknown-key", NAME, "", 1)],
    "name-changed": [("refused", "unknown-key", NAME, "", 1)],
    "no-key": [("refused", "no-key-offered", NAME, "", 0)],
    # Where passwords are switched off sshd does not say that one was tried.
    "password": [("refused", "no-key-offered", NAME, "", 0)],
    "hostile-goodbye-before": [("refused", "no-key-offered", NAME, "", 0)],
    "unknown-account": [("refused", "unknown-account", "nobodyhere.k12.us", "", 0)],
    "pam-unknown-account": [("refused", "unknown-account", "nobodyhere.k12.us", "", 0)],
    "password-unknown": [("refused", "unknown-account", "nobodyhere.k12.us", "", 0)],
    "denied-user": [("refused", "unknown-account", "smithville3.k12.oh.us", "", 0)],
    "no-kex": [("refused", "no-common-algorithm", "", "key-exchange", 0)],
    "no-hostkey": [("refused", "no-common-algorithm", "", "host-key", 0)],
    "no-cipher": [("refused", "no-common-algorithm", "", "cipher", 0)],
    "no-mac": [("refused", "no-common-algorithm", "", "mac", 0)],
    "nothing": [("refused", "left-early", "", "", 0)],
    "http": [("refused", "left-early", "", "", 0)],
    "ssh1": [("refused", "left-early", "", "", 0)],
    "banner-only": [("refused", "left-early", "", "", 0)],
    # Five connections of one address in a row: strangers are noted once an hour.
    "hostile-banners": [("refused", "left-early", "", "", 0)],
    "max-startups": [("refused", "host-busy", "", "", 0)],
    "keyscan": [
        ("refused", "no-common-algorithm", "", "host-key", 0),
        ("refused", "no-common-algorithm", "", "host-key", 0),
        ("refused", "left-early", "", "", 0),
        ("refused", "no-common-algorithm", "", "host-key", 0),
        ("refused", "no-common-algorithm", "", "host-key", 0),
    ],
    # Cut off for being slow, which 9.2 does not say.
    "grace": [("refused", "too-slow", "", "", 0)],
    "grace-after-key": [("refused", "unknown-key", NAME, "", 1)],
    # Administrators and services are nobody's business here.
    "password-root": [],
    "system-account": [],
    # From a chroot without /dev/log sshd cannot say what was asked for after the sign-in ...
    "shell": [("accepted", "", NAME, "", 0)],
    # ... and with one, or without a chroot, it does.
    "open-sftp": [("accepted", "", NAME, "", 0)],
    "open-shell": [("accepted", "", NAME, "", 0), ("shell-refused", "shell-refused", NAME, "shell", 0)],
    "open-exec": [("accepted", "", NAME, "", 0), ("shell-refused", "shell-refused", NAME, "shell", 0)],
    "open-subsystem": [("accepted", "", NAME, "", 0), ("shell-refused", "shell-refused", NAME, "subsystem", 0)],
}


def _log() -> SshdLog:
    return SshdLog(is_account=lambda name: name.startswith("smithville"))


def _told(lines: Iterable[Line | None], log: SshdLog | None = None) -> list[Told]:
    """All that comes of the lines, and of the silence after them."""
    reader, last, told = log or _log(), START, []
    for line in lines:
        if line is not None:
            told += reader.read(line)
            last = line.at
    return told + reader.overdue(last + 2 * SILENCE)


def _events(told: Iterable[Told]) -> list[Event]:
    return [one for one in told if isinstance(one, Event)]


def _journal(name: str) -> list[Line | None]:
    records = [journal_record(raw) for raw in (LINES / f"{name}.log").read_bytes().splitlines()]
    assert all(records)
    return [record.line for record in records if record]


def _said(*messages: str, pid: int = 7, uid: int | None = 0) -> list[Line]:
    return [Line(START + timedelta(seconds=n), pid, message, uid) for n, message in enumerate(messages)]


def _row(event: Event) -> tuple[str, str, str, str, int]:
    return (event.kind.value, event.reason, event.username, event.tried, len(event.offered))


@pytest.mark.parametrize("name", RUNS)
def test_what_a_real_sshd_said_becomes_the_right_events(name: str) -> None:
    events = _events(_told(_journal(name)))
    assert [_row(event) for event in events] == RUNS[name]
    assert {event.address for event in events} <= {"127.0.0.1", "::1"}
    assert all(event_of(event_line(event)).reason == event.reason for event in events)


@pytest.mark.parametrize("form", ["short", "short-iso"])
@pytest.mark.parametrize("name", ["unknown-key", "from", "open-shell", "hostile-names"])
def test_syslogs_lines_say_what_the_journal_says(name: str, form: str) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    raw = (LINES / f"{name}.{form}.log").read_bytes().splitlines()
    rows = [(_row(event), event.port) for event in _events(_told(stamped_line(line, now) for line in raw))]
    assert rows == [(_row(event), event.port) for event in _events(_told(_journal(name)))]


def test_a_refused_key_has_its_fingerprint_and_the_first_line_its_client() -> None:
    refused = _events(_told(_journal("unknown-key")))[0]
    assert refused.fingerprint == refused.offered[0] == "SHA256:kcPaI8XsLFEjC3Hyl4TjG+Tew5+AeD8HBYzjIitglEI"
    assert _events(_told(_journal("debug-sftp")))[0].client == "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10"


def test_an_opened_session_is_told_with_the_process_that_keeps_it() -> None:
    opened = [one for one in _told(_journal("pam-sftp")) if isinstance(one, Opened)]
    closed = [one for one in _told(_journal("pam-sftp")) if isinstance(one, Closed)]
    assert [one.pid for one in opened] == [one.pid for one in closed]
    assert (opened[0].username, opened[0].address) == (NAME, "127.0.0.1")


OTHER_VERSIONS = {
    "8.9: the older word for key types": (
        [
            'Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22 rdomain ""',
            "userauth_pubkey: key type ssh-rsa not in PubkeyAcceptedKeyTypes [preauth]",
            f"Connection closed by authenticating user {NAME} 192.0.2.7 port 4000 [preauth]",
        ],
        ("refused", "sha1-signature", NAME, "", 0),
    ),
    "9.x: a DSA key": (
        [
            "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
            "userauth_pubkey: signature algorithm ssh-dss not in PubkeyAcceptedAlgorithms [preauth]",
            f"Connection closed by authenticating user {NAME} 192.0.2.7 port 4000 [preauth]",
        ],
        ("refused", "key-type-not-taken", NAME, "", 0),
    ),
    "9.2 as it was: the limit of time is told": (
        [
            "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
            "fatal: Timeout before authentication for 192.0.2.7 port 4000",
        ],
        ("refused", "too-slow", "", "", 0),
    ),
    "9.8: the limit of time is told by the listener": (
        [
            "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
            "Timeout before authentication for connection from 192.0.2.7 to 192.0.2.1, pid = 7",
        ],
        ("refused", "too-slow", "", "", 0),
    ),
    "9.8: an address is shut out": (
        ["drop connection #0 from [192.0.2.7]:4000 on [192.0.2.1]:22 penalty: failed authentication"],
        ("refused", "shut-out", "", "", 0),
    ),
    "a limit of PAM": (
        [
            "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
            f"Accepted publickey for {NAME} from 192.0.2.7 port 4000 ssh2: RSA {FORGED}",
            f"pam_limits(sshd:session): Too many logins (max 20) for {NAME}",
        ],
        ("refused", "too-many-sessions", NAME, "", 0),
    ),
    "a password where passwords are asked for": (
        [
            "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
            f"Failed password for {NAME} from 192.0.2.7 port 4000 ssh2",
            f"Connection closed by authenticating user {NAME} 192.0.2.7 port 4000 [preauth]",
        ],
        ("refused", "wrong-method", NAME, "", 0),
    ),
}


@pytest.mark.parametrize("name", OTHER_VERSIONS)
def test_other_versions_words_are_understood(name: str) -> None:
    messages, row = OTHER_VERSIONS[name]
    assert _row(_events(_told(_said(*messages)))[-1]) == row


@pytest.mark.parametrize("program", ["sshd", "sshd-session", "sshd-auth"])
def test_all_of_sshds_programs_are_heard(program: str) -> None:
    raw = f"2026-11-22T10:20:58.123456+01:00 vm {program}[4560]: Invalid user x from 192.0.2.7 port 4000"
    line = stamped_line(raw.encode(), START)
    assert line == Line(datetime(2026, 11, 22, 9, 20, 58, 123456, UTC), 4560, "Invalid user x from 192.0.2.7 port 4000")


# --- Hostile text


def test_hostile_user_names_come_to_nothing_but_refusals_of_unknown_accounts() -> None:
    told = _told(_journal("hostile-names"))
    assert len(told) == 30
    assert {(event.kind, event.reason, event.address) for event in _events(told)} == {
        (Kind.REFUSED, "unknown-account", "127.0.0.1")
    }
    assert "x\\u{a}Accepted publickey for smithville1.k12.oh.us" in {event.username for event in _events(told)}


_ACCEPTED = f"Accepted publickey for {NAME} from 6.6.6.6 port 666 ssh2: ED25519 {FORGED}"
_FORGERIES = [
    _ACCEPTED,
    f"x]: {_ACCEPTED}",
    f"x\\n{_ACCEPTED}",
    f"x from 192.0.2.7 port 4000\\n{_ACCEPTED}",
    f"x from 192.0.2.7 port 4000 ssh2: ED25519 {FORGED}",
    f"x 192.0.2.7 port 4000: {_ACCEPTED}",
    "x from 6.6.6.6 port 666 on 192.0.2.1 port 22",
    f"x [preauth] sshd[1]: {_ACCEPTED}",
    f"authenticating user {NAME} 6.6.6.6 port 666",
]


@pytest.mark.parametrize("text", _FORGERIES)
@pytest.mark.parametrize(
    "message",
    [
        "Invalid user {} from 192.0.2.7 port 4000",
        "Failed password for invalid user {} from 192.0.2.7 port 4000 ssh2",
        "Failed publickey for " + NAME + " from 192.0.2.7 port 4000 ssh2: ED25519-CERT " + FORGED
        + " ID {} (serial 0) CA ED25519 " + FORGED,
        "Accepted certificate ID \"{}\" (serial 0) signed by CA ED25519 " + FORGED + " found at /x:1",
        "error: kex_exchange_identification: client sent invalid protocol identifier \"{}\"",
        "Received disconnect from 192.0.2.7 port 4000:11: {} [preauth]",
        "Disconnecting authenticating user " + NAME + " 192.0.2.7 port 4000: {} [preauth]",
        "Unable to negotiate with 192.0.2.7 port 4000: no matching cipher found. Their offer: {} [preauth]",
        "userauth_pubkey: unsupported public key algorithm: {} [preauth]",
        "debug1: Remote protocol version 2.0, remote software version {}",
        "User " + NAME + " not allowed because shell {} does not exist",
        "subsystem request for {} by user " + NAME + " failed, subsystem not found",
    ],
)  # fmt: skip
def test_nothing_a_client_says_forges_a_sign_in_or_another_address(message: str, text: str) -> None:
    end = "Connection closed by 192.0.2.7 port 4000 [preauth]"
    start = 'Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22 rdomain ""'
    told = _told(_said(start, message.format(text), end))
    assert not [one for one in told if isinstance(one, Opened)]
    assert all((one.kind, one.address, one.port) == (Kind.REFUSED, "192.0.2.7", 4000) for one in _events(told))


@given(st.text(max_size=120))
def test_no_user_name_at_all_forges_anything(name: str) -> None:
    lines = _said(f"Invalid user {name} from 192.0.2.7 port 4000", "Connection closed by 192.0.2.7 port 4000 [preauth]")
    assert {_row(event)[:2] for event in _events(_told(lines))} <= {
        ("refused", "unknown-account"),
        ("refused", "left-early"),
    }


def test_a_line_of_another_program_or_of_somebody_elses_process_is_not_sshds() -> None:
    real = json.loads((LINES / "sftp.log").read_text().splitlines()[4])
    assert "Accepted publickey" in real["MESSAGE"]
    forgeries: list[dict[str, object]] = [
        {"SYSLOG_IDENTIFIER": "cron"},
        {"_EXE": "/home/x/sshd"},
        {"_EXE": "/usr/bin/logger", "_COMM": "logger"},
        {"_EXE": None, "_COMM": "logger"},
        {"_EXE": None, "_COMM": None, "_UID": "1000"},
        {"_EXE": None, "_UID": "1000"},
        {"MESSAGE": [1, 2, 3]},
        {"_PID": None},
    ]
    for changed in forgeries:
        record = journal_record(json.dumps({**real, **changed}).encode())
        assert record is not None
        assert record.line is None
    # A process that ended before journald looked has no program; the kernel still told that it was root's.
    gone = {name: value for name, value in real.items() if name not in ("_EXE", "_COMM")}
    record = journal_record(json.dumps(gone).encode())
    assert record is not None
    assert record.line is not None


def test_a_process_that_runs_as_an_account_speaks_of_its_own_session_only() -> None:
    lines = _said(f"Accepted publickey for {NAME} from 192.0.2.7 port 4000 ssh2: RSA {FORGED}", uid=70001)
    assert _told(lines) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"nonsense",
        b'{"__CURSOR": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"2026-99-99T00:00:00Z a sshd[1]: x",
        b"Feb 30 00:00:00 a sshd[1]: x",
    ],
)
def test_what_is_no_line_is_passed_over(raw: bytes) -> None:
    assert journal_record(raw) is None
    assert stamped_line(raw, START) is None


# --- Connections


def test_a_connection_that_was_begun_before_we_came_is_told_all_the_same() -> None:
    lines = _journal("unknown-key")[1:]
    assert [_row(event) for event in _events(_told(lines))] == RUNS["unknown-key"]
    assert [_row(event) for event in _events(_told(_journal("sftp")[4:]))] == RUNS["sftp"]


def test_what_follows_a_sign_in_is_no_refusal() -> None:
    messages = (f"Disconnected from user {NAME} 192.0.2.7 port 4000", "Connection closed by 192.0.2.7 port 4000")
    assert _told(_said(*messages, uid=None)) == []


def test_a_process_number_used_again_ends_what_it_stood_for() -> None:
    lines = _said(
        "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
        f"Failed publickey for {NAME} from 192.0.2.7 port 4000 ssh2: RSA {FORGED}",
        "Connection from 192.0.2.8 port 4001 on 192.0.2.1 port 22",
        f"Accepted publickey for {NAME} from 192.0.2.8 port 4001 ssh2: RSA {FORGED}",
    )
    assert [(event.kind, event.address) for event in _events(_told(lines))] == [
        (Kind.REFUSED, "192.0.2.7"),
        (Kind.ACCEPTED, "192.0.2.8"),
    ]


def test_the_same_lines_come_to_the_same_marks_and_no_two_events_share_one() -> None:
    marks = [event.mark for name in RUNS for event in _events(_told(_journal(name)))]
    assert marks == [event.mark for name in RUNS for event in _events(_told(_journal(name)))]
    assert len(set(marks)) == len(marks)


SIGNED_IN = [
    "Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22",
    f"Accepted publickey for {NAME} from 192.0.2.7 port 4000 ssh2: RSA {FORGED}",
    "User child is on pid 77",
    f"pam_unix(sshd:session): session closed for user {NAME}",
]


@pytest.mark.parametrize("said", range(len(SIGNED_IN) + 1))
def test_a_refusal_told_by_somebody_else_finds_its_session_however_late_the_log_is(said: int) -> None:
    log, lines = _log(), _said(*SIGNED_IN)
    told = [one for line in lines[:said] for one in log.read(line)]
    told += log.refused(77, START + timedelta(seconds=1))
    told += [one for line in lines[said:] for one in log.read(line)]
    accepted, refused = sorted(_events(told), key=lambda event: event.kind.value)
    assert (refused.kind, refused.reason, refused.tried) == (Kind.SHELL_REFUSED, "shell-refused", "shell")
    assert (refused.username, refused.address, refused.port, refused.fingerprint) == (NAME, "192.0.2.7", 4000, FORGED)
    assert refused.at >= accepted.at
    assert refused.mark != accepted.mark


NOT_OF_THE_SESSION = {
    "another process": (78, timedelta()),
    "the same number, long before": (77, -timedelta(hours=1)),
    "the same number, long after": (77, timedelta(hours=1)),
}


@pytest.mark.parametrize("name", NOT_OF_THE_SESSION)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_refusal_of_another_process_is_nobodys(name: str, is_first: bool) -> None:
    child, apart = NOT_OF_THE_SESSION[name]
    log = _log()
    told = log.refused(child, START + apart) if is_first else []
    told += [one for line in _said(*SIGNED_IN) for one in log.read(line)]
    told += [] if is_first else log.refused(child, START + apart)
    assert [event.kind for event in _events(told)] == [Kind.ACCEPTED]


def test_what_both_tell_is_told_once() -> None:
    for is_first in (True, False):
        log = _log()
        told = [one for line in _said(*SIGNED_IN[:3]) for one in log.read(line)]
        told += log.refused(77, START) if is_first else []
        refusing = f"Connection from user {NAME} 192.0.2.7 port 4000: refusing non-sftp session"
        told += log.read(Line(START, 78, refusing, 70001))
        told += [] if is_first else log.refused(77, START)
        assert [event.kind for event in _events(told)] == [Kind.ACCEPTED, Kind.SHELL_REFUSED]


def test_what_is_remembered_is_bounded() -> None:
    log = SshdLog(limit=10)
    for number in range(1000):
        log.read(
            Line(START, number, f"Connection from 10.0.{number // 250}.{number % 250} port 9 on 192.0.2.1 port 22")
        )
        log.read(Line(START, number, f"Failed publickey for {NAME} from 10.0.0.0 port 9 ssh2: RSA {FORGED}"))
    for number in range(2000):
        log.refused(number, START)
    assert len(log._open) <= 10
    assert len(log._refused_early) == LATE_LIMIT


def test_the_oldest_unfinished_connection_tells_from_where_lines_are_needed_again() -> None:
    log = _log()
    for number, address in ((1, "192.0.2.7"), (2, "192.0.2.8")):
        log.read(Line(START, number, f"Connection from {address} port 9 on 192.0.2.1 port 22", 0, f"place {number}"))
    assert log.needed_from == "place 1"
    log.read(Line(START, 1, f"Accepted publickey for {NAME} from 192.0.2.7 port 9 ssh2: RSA {FORGED}", 0, "place 3"))
    assert log.needed_from == "place 2"
    log.overdue(START + 2 * SILENCE)
    assert log.needed_from == ""


def test_a_name_that_sshd_has_cut_is_completed() -> None:
    whole = "smithville-" + "a" * 120 + ".k12.oh.us"
    log = SshdLog(whole_name=lambda cut: whole if whole.startswith(cut) else cut)
    lines = _said(f"Accepted publickey for {whole[:100]} from 192.0.2.7 port 9 ssh2: RSA {FORGED}")
    assert [event.username for event in _events(_told(lines, log))] == [whole]


def test_sshds_own_file_without_times_and_processes_can_be_read_where_it_can_be_trusted() -> None:
    raw = [
        b'Connection from 192.0.2.7 port 4000 on 192.0.2.1 port 22 rdomain ""\r\n',
        b"userauth_pubkey: signature algorithm ssh-rsa not in PubkeyAcceptedAlgorithms [preauth]\r\n",
        b"Connection closed by authenticating user smithville1.k12.oh.us 192.0.2.7 port 4000 [preauth]\r\n",
    ]
    rows = [_row(event) for event in _events(_told(plain_line(line, START) for line in raw))]
    assert rows == [("refused", "sha1-signature", NAME, "", 0)]


def test_escaped_text_is_turned_back() -> None:
    assert unescaped(r"a\nb\033[31m\303\266\\x") == b"a\nb\x1b[31m\xc3\xb6\\x"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-22T02:00:00", "now"])
def test_a_time_that_is_none_of_ours_is_no_event(at: str) -> None:
    line = json.dumps({"kind": "accepted", "at": at, "username": "a.us", "address": "192.0.2.1"}).encode("ascii")
    with pytest.raises(BadLine):
        event_of(line)
