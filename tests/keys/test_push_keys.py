"""`manage.py push_keys`: what it would do, what it did, and its exit status."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.models import SftpAccount
from accounts.services import district_rename
from hosts.models import Host
from keys import propagation, services
from keys.models import HostRun, KeyFile, PropagationRun
from keys.preview import previews
from keys.sets import By
from keys.stamps import token_make
from tests.factories import DistrictFactory

from .samples import text


@pytest.fixture
def other(account: SftpAccount) -> SftpAccount:
    return DistrictFactory(domain="zz.k12.oh.us").sftp_account


def _save(account: SftpAccount, name: str) -> None:
    version = KeyFile.objects.get(account=account).version
    services.keys_save(account, text(name), seen_version=version, by=By(None))


def _on_host(name: str) -> Path:
    return settings.SFTP_ROOT / "keys" / name


def _said(*words: str) -> str:
    out = StringIO()
    call_command("push_keys", *words, stdout=out, stderr=out)
    return out.getvalue()


def _told(*words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _said(*words, "--json").splitlines()]


def test_a_preview_shows_each_difference_and_writes_nothing(account: SftpAccount, other: SftpAccount) -> None:
    _save(account, "ed25519")
    call_command("push_keys", stdout=StringIO())
    _save(account, "rsa3072")
    before = _on_host(account.username).read_bytes()
    runs = PropagationRun.objects.count()
    diff = _said("--preview")
    assert f"--- {account.host.name}:{account.username}" in diff
    assert f"-{text('ed25519')}" in diff.splitlines()
    assert f"+{text('rsa3072')}" in diff.splitlines()
    assert other.username not in diff
    assert _on_host(account.username).read_bytes() == before
    assert PropagationRun.objects.count() == runs
    assert KeyFile.objects.get(account=account).state == "waiting"


def test_a_preview_as_json_tells_every_account(account: SftpAccount, other: SftpAccount) -> None:
    call_command("push_keys", stdout=StringIO())
    _save(other, "ed25519")
    told = {row["account"]: (row["state"], bool(row["diff"])) for row in _told("--preview")}
    assert told == {account.username: ("right", False), other.username: ("differs", True)}
    assert [row["account"] for row in _told("--preview", "--account", other.username)] == [other.username]


def test_a_preview_of_a_set_that_waits_for_a_decision_does_not_show_it_as_overwritten(account: SftpAccount) -> None:
    _save(account, "ed25519")
    call_command("push_keys", stdout=StringIO())
    path = _on_host(account.username)
    newer = f"# managed by SFTP Portal | set 9 | {token_make()}\n{text('rsa3072')}\n"
    path.write_text(newer)
    for words in (("--preview",), ("--preview", "--json")):
        with pytest.raises(SystemExit):
            _said(*words)
    host = account.host
    (preview,) = previews(host)
    assert (preview.code, preview.diff) == ("newer-on-host", "")
    path.write_text(f"{newer}foreign\n")
    (preview,) = previews(host)
    assert [line for line in preview.diff.splitlines()[2:] if line[0] in "+-"] == ["-foreign"]
    assert path.read_text() == f"{newer}foreign\n"


def _changes(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_a_preview_of_a_renamed_account_shows_what_becomes_of_both_names(account: SftpAccount) -> None:
    _save(account, "ed25519")
    call_command("push_keys", stdout=StringIO())
    old = account.username
    key = _on_host(old).read_text().splitlines()[1]
    district_rename(account.district, name="Renamed", domain="new.k12.oh.us", actor=None)
    (preview,) = previews(account.host)
    assert preview.username == "new.k12.oh.us"
    changes = _changes(preview.diff)
    assert (changes.count(f"-{key}"), changes.count(f"+{key}"), preview.code) == (1, 1, "")
    assert preview.diff.index("portal:new.k12.oh.us") < preview.diff.index(f"portal:{old}")


def test_a_preview_of_a_renamed_account_knows_a_newer_set_under_the_name_before(account: SftpAccount) -> None:
    _save(account, "ed25519")
    call_command("push_keys", stdout=StringIO())
    newer = f"# managed by SFTP Portal | set 9 | {token_make()}\n{text('rsa3072')}\n"
    _on_host(account.username).write_text(f"{newer}foreign\n")
    district_rename(account.district, name="Renamed", domain="new.k12.oh.us", actor=None)
    (preview,) = previews(account.host)
    assert (preview.code, _changes(preview.diff)) == ("newer-on-host", ["-foreign"])
    propagation.push_one(account.pk)
    assert KeyFile.objects.get(account=account).code == "newer-on-host"


def test_a_foreign_line_shows_in_the_preview_escaped(account: SftpAccount) -> None:
    call_command("push_keys", stdout=StringIO())
    with _on_host(account.username).open("ab") as file:
        file.write(b"\x1b[2Jevil\xff\n")
    diff = _said("--preview")
    assert "-\\u{1b}[2Jevil\\xff" in diff.splitlines()


def test_all_accounts_are_brought_and_counted_by_host(account: SftpAccount, other: SftpAccount) -> None:
    _save(account, "ed25519")
    (part,) = _told()
    assert (part["host"], part["state"], part["total"], part["written"], part["failed"]) == (
        account.host.name,
        "done",
        2,
        2,
        0,
    )
    assert _on_host(account.username).exists()
    assert _on_host(other.username).exists()
    assert f"{account.host.name}: done: 2 total, 0 written, 2 unchanged." in _said()


def test_one_account_is_brought_alone(account: SftpAccount, other: SftpAccount) -> None:
    assert _said("--account", account.username) == ""
    assert _on_host(account.username).exists()
    assert not _on_host(other.username).exists()
    assert PropagationRun.objects.get().cause == "command"


def test_what_failed_is_told_and_the_exit_status_is_1(account: SftpAccount, other: SftpAccount) -> None:
    _on_host("x").parent.mkdir()
    (_on_host(account.username) / "something").mkdir(parents=True)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("push_keys", "--json", stdout=out)
    assert ended.value.code == 1
    part, failure = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (part["failed"], part["written"]) == (1, 1)
    assert (failure["account"], failure["code"]) == (account.username, "directory-there")


def test_only_the_named_host_is_gone_to(account: SftpAccount, other: SftpAccount) -> None:
    elsewhere = Host.objects.create(name="away", kind=Host.Kind.OPENSSH, address="127.0.0.1", port=1)
    SftpAccount.objects.filter(pk=other.pk).update(host=elsewhere)
    assert [part["host"] for part in _told("--host", account.host.name)] == [account.host.name]
    with pytest.raises(SystemExit):
        _said("--host", "away")
    assert HostRun.objects.get(host=elsewhere).code == "host-down"


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--account", "nobody.k12.oh.us"), "no SFTP account"), (("--host", "nowhere"), "no such host")],
)
def test_what_does_not_exist_is_said(account: SftpAccount, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("push_keys", *words)


def test_a_preview_tells_a_cut_off_newline_strangers_and_what_is_no_key_file(account: SftpAccount) -> None:
    _save(account, "ed25519")
    call_command("push_keys", stdout=StringIO())
    path = _on_host(account.username)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    path.chmod(0o044)
    _on_host("nobody.k12.oh.us").write_text(f"{text('rsa3072')}\n")
    _on_host("Foo Bar").write_text("x")
    differing, *ahead = _told("--preview")
    assert (differing["account"], differing["state"]) == (account.username, "differs")
    assert "\\ No newline at end of file" in differing["diff"]
    assert {(one["state"], one["name"]) for one in ahead} == {
        ("stranger", "nobody.k12.oh.us"),
        ("unsound", account.username),
        ("left", "Foo Bar"),
    }
    assert _on_host("nobody.k12.oh.us").exists()


def test_a_preview_tells_that_a_run_would_stop(account: SftpAccount, other: SftpAccount) -> None:
    _save(account, "ed25519")
    call_command("push_keys", stdout=StringIO())
    _on_host("nobody.k12.oh.us").write_text("".join(f"{text(name)}\n" for name in ("rsa3072", "ed25519", "ecdsa256")))
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("push_keys", "--preview", "--json", stdout=out)
    last = json.loads(out.getvalue().splitlines()[-1])
    assert (last["state"], last["unasked"]) == ("would-stop", "3")


def test_a_preview_of_a_dead_host_is_json_too(account: SftpAccount, settings: Any) -> None:
    settings.SFTP_ROOT = settings.SFTP_ROOT / "gone"
    Host.objects.update(kind=Host.Kind.OPENSSH, address="127.0.0.1", port=1, client_key_sealed="x", state="ready")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("push_keys", "--preview", "--json", stdout=out)
    assert [(one["state"], one["code"]) for one in map(json.loads, out.getvalue().splitlines())] == [
        ("failed", "host-down")
    ]
