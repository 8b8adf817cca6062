"""Propagation for ops: what needs them first, hosts and runs, a stopped run and the choice, time to live."""

import re
from datetime import timedelta

import pytest
from django.conf import LazySettings, settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, District, OutboxMessage, SftpAccount
from hosts.models import Host
from keys import propagation, services, tasks
from keys.models import AccountKey, FoundLine, HostRun, KeyFile, KeySet, PropagationRun
from keys.sets import By
from portal.schedules import schedules_sync
from tests.factories import DistrictFactory, HostFactory, KeyFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

from .samples import fingerprints, text

NAMES = ("ed25519", "ecdsa256", "rsa3072")


@pytest.fixture
def ops(account: SftpAccount) -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role="ops", name="Olu Ops"))
    return fresh(client)


def _html(client: Client, name: str, *args: object, **told: object) -> str:
    return client.get(reverse(name, args=args), **told).content.decode()


def _title(html: str) -> str:
    """The sentence that answers the first question."""
    return " ".join(re.search(r'class="answer-title"[^>]*>(.*?)</p>', html, re.DOTALL)[1].split())


def _words(html: str) -> str:
    return re.sub(r" (?=[.,:;)])", "", " ".join(re.sub(r"<[^>]+>", " ", html).split()))


def _saved(account: SftpAccount, *names: str) -> None:
    version = KeyFile.objects.get(account=account).version
    services.keys_save(account, "\n".join(map(text, names)), seen_version=version, by=By(None))


def _run() -> PropagationRun:
    run = PropagationRun.objects.create(cause="hourly")
    propagation.run_do(run.pk)
    return PropagationRun.objects.get(pk=run.pk)


def _on_host(account: SftpAccount) -> str:
    return (settings.SFTP_ROOT / "keys" / account.username).read_text()


# --- The first screen --------------------------------------------------------------------------------------------


def test_all_is_well_is_said_first_and_asks_nothing_of_anybody(ops: Client, account: SftpAccount) -> None:
    _saved(account, "ed25519")
    _run()
    html = _html(ops, "propagation")
    assert _title(html) == "1 of 1 account is as it should be."
    assert "Nobody needs to do anything." in html
    assert "hx-get" not in html


def test_what_waits_is_looked_at_again_by_itself(ops: Client, account: SftpAccount) -> None:
    _saved(account, "ed25519")
    html = _html(ops, "propagation")
    assert _title(html) == "1 account waits for its host."
    assert f'hx-get="{reverse("propagation_state")}"' in html


def test_a_new_a_stopped_and_an_absent_host_are_told_with_reason_and_next_try(ops: Client) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    told = {"kind": Host.Kind.OPENSSH, "host_key": "ssh-ed25519 AAAA"}
    HostFactory(name="fresh", kind=Host.Kind.OPENSSH, state=Host.State.NEW)
    HostFactory(name="odd", **told, state=Host.State.STOPPED, reason="It was stopped by hand.")
    HostFactory(name="away", **told, tries=3, next_try=soon, reason="The host did not answer in time.")
    HostFactory(name="shut", **told, reason="“shut” does not let the portal in.")
    html = _html(ops, "propagation")
    assert _title(html) == "3 things need you."
    words = _words(html)
    assert "fresh: New. Its host key is not confirmed yet." in words
    assert "odd: Stopped. It was stopped by hand." in words
    assert "shut: “shut” does not let the portal in." in words
    assert "away: Does not answer. The host did not answer in time. Next try in 5 minutes." in words
    for host in Host.objects.all():
        assert reverse("host", args=[host.pk]) in html


def test_a_host_that_is_away_alone_needs_nobody(ops: Client, account: SftpAccount) -> None:
    _run()
    Host.objects.update(tries=1, next_try=timezone.now(), reason="The host did not answer in time.")
    html = _html(ops, "propagation")
    assert _title(html) == "1 of 1 account is as it should be."
    assert "Does not answer." in html


def test_what_is_known_of_a_host_that_failed_is_told_as_old(ops: Client, account: SftpAccount) -> None:
    _saved(account, "ed25519")
    _run()
    PropagationRun.objects.update(asked=timezone.now() - timedelta(hours=3))
    HostRun.objects.update(finished=timezone.now() - timedelta(hours=3))
    last = PropagationRun.objects.create(cause="hourly", state="done", finished=timezone.now(), total=1, failed=1)
    told = {"run": last, "host": account.host, "finished": timezone.now()}
    part = HostRun.objects.create(**told, state="failed", code="sign-in-refused", reason="Not let in.")
    html = _html(ops, "propagation")
    assert _title(html) == "1 host could not be looked through by the last run."
    words = _words(html)
    assert f"{account.host.name} could not be looked through by the last run" in words
    assert "the last whole look was 3 hours ago" in words
    assert "As far as is known, 1 of 1 account is as it should be." in words
    assert "Nobody needs to do anything." not in words
    part.delete()
    assert _title(_html(ops, "propagation")) == "1 of 1 account is as it should be."


def test_the_last_run_over_all_accounts_is_no_sweep_and_no_command(ops: Client, account: SftpAccount) -> None:
    run = _run()
    for cause in ("sweep", "command", "saved"):
        PropagationRun.objects.create(cause=cause, state="done", finished=timezone.now(), total=1)
    shown = ops.get(reverse("propagation"))
    assert shown.context["last_full"] == run
    assert list(shown.context["runs"]) == [run]


def test_saves_push_no_run_over_all_accounts_off_the_page(ops: Client, account: SftpAccount) -> None:
    run = _run()
    for number in range(60):
        PropagationRun.objects.create(cause="saved", state="done", finished=timezone.now(), failed=number == 7)
    assert f'id="run-{run.pk}"' in _html(ops, "propagation")
    assert f'id="run-{run.pk}"' not in _html(ops, "propagation_runs")
    place = reverse("propagation_runs")

    def shown(address: str) -> set[int]:
        return {int(pk) for pk in re.findall(r'id="run-(\d+)"', ops.get(address).content.decode())}

    assert shown(f"{place}?over=all") == {run.pk}
    assert shown(f"{place}?ended=trouble") == {PropagationRun.objects.get(failed=1).pk}
    pages = [shown(f"{place}?over=some&page={page}") for page in (1, 2, 3)]
    assert set.union(*pages) == {one.pk for one in PropagationRun.objects.exclude(pk=run.pk)}


@pytest.mark.parametrize(("name", "told"), [("propagation_now", {}), ("propagation_schedule", {"minutes": "15"})])
def test_an_old_sign_in_starts_no_run_and_changes_no_schedule(
    account: SftpAccount, name: str, told: dict[str, str]
) -> None:
    schedules_sync()
    client = Client()
    client.force_login(StaffFactory(staff_role="ops"))
    before = everything()
    answer = client.post(reverse(name), told)
    assert answer.url.startswith(reverse("account_reauthenticate"))
    assert everything() == before


def test_a_run_that_is_asked_for_joins_none_that_is_over_some_accounts_only(account: SftpAccount) -> None:
    for cause in ("command", "sweep", "saved"):
        PropagationRun.objects.create(cause=cause)
    made = services.run_want(PropagationRun.Cause.NOW, actor=None)
    assert made.cause == "now"
    assert services.run_want(PropagationRun.Cause.START, actor=None) == made


def test_a_run_leaves_each_host_to_a_task_of_its_own(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    other = DistrictFactory().sftp_account
    other.host = HostFactory(name="upload-2")
    other.save()
    sent: list[tuple[str, tuple[int, ...]]] = []
    monkeypatch.setattr(tasks, "nudge", lambda task, *args, **_: sent.append((task.name, args)))
    run = PropagationRun.objects.create(cause="now")
    tasks.propagate_run(run.pk)
    assert sent == [("keys.propagate_part", (part.pk,)) for part in run.hosts.order_by("host__name")]
    assert {part.state for part in run.hosts.all()} == {"waiting"}
    for _, args in sent:
        tasks.propagate_part(*args)
    assert PropagationRun.objects.get(pk=run.pk).state == "done"


def test_accounts_that_are_held_are_not_counted_as_failed(ops: Client, account: SftpAccount) -> None:
    failed, newer = DistrictFactory().sftp_account, DistrictFactory().sftp_account
    KeyFile.objects.filter(account=account).update(state="failed", code="unasked-removal", reason="x")
    KeyFile.objects.filter(account=failed).update(state="failed", code="full", reason="The host has no room.")
    found = {"version": 7, "token": "0123456789abcdef", "fingerprints": []}
    KeyFile.objects.filter(account=newer).update(state="failed", code="newer-on-host", found=found)
    shown = ops.get(reverse("propagation"))
    assert [file.account for file in shown.context["failed"]] == [failed]
    assert [file.account for file in shown.context["held"]] == [account]
    assert [file.account for file in shown.context["newer"]] == [newer]
    assert (shown.context["counts"].failed, shown.context["counts"].held) == (1, 2)
    assert _title(shown.content.decode()) == "1 thing needs you."


def test_what_would_come_back_is_what_the_database_lets_in(ops: Client, account: SftpAccount) -> None:
    KeyFactory(account=account, line=text("ed25519"), disabled=timezone.now(), position=1)
    key = KeyFactory(account=account, line=text("rsa3072"), position=2)
    found = {"version": 7, "token": "0123456789abcdef", "fingerprints": []}
    KeyFile.objects.filter(account=account).update(found=found)
    page = reverse("propagation_newer", args=[account.key_file.pk])
    assert ops.get(page).context["newer"].coming_back == (key,)
    for state in ("suspended", "closed"):
        District.objects.update(state=state)
        assert ops.get(page).context["newer"].coming_back == ()


def _found(account: SftpAccount | None, line: str, **told: object) -> FoundLine:
    host, name = Host.objects.get(), account.username if account else "ghost.example.com"
    return FoundLine.objects.create(host=host, account=account, username=name, line=line, line_digest=line, **told)


def test_foreign_lines_of_the_last_days_are_told_until_somebody_has_decided(ops: Client, account: SftpAccount) -> None:
    _found(account, "one")
    _found(None, "two")
    _found(account, "three", state="dismissed")
    _found(account, "four", found=timezone.now() - timedelta(days=8))
    html = _html(ops, "propagation")
    assert "2 foreign lines were taken off hosts in the last 7 days. 1 of no account of ours;" in html
    assert reverse("propagation_found") in html
    FoundLine.objects.update(state="dismissed")
    assert "foreign line" not in _html(ops, "propagation")


def test_each_host_is_told_with_what_is_on_it(ops: Client, account: SftpAccount) -> None:
    DistrictFactory()
    _run()
    KeyFile.objects.filter(account=account).update(state="waiting")
    run = PropagationRun.objects.first()
    HostRun.objects.filter(run=run).update(drifted=4)
    other = PropagationRun.objects.create(cause="now", state="done")
    long_ago = timezone.now() - timedelta(days=8)
    HostRun.objects.create(run=other, host=account.host, started=long_ago, drifted=9)
    ((host, standing),) = ops.get(reverse("propagation")).context["hosts"]
    assert (host.account_count, host.waiting_count, host.drifted_count) == (2, 1, 4)
    assert standing.word == "Working"


# --- A run that stopped ------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(account: SftpAccount, settings: LazySettings) -> HostRun:
    """Three keys were brought, then their rows were lost, and the next run stopped."""
    settings.PROPAGATION_MOST_UNASKED_KEYS = 2
    _saved(account, *NAMES)
    _run()
    AccountKey.objects.filter(account=account).delete()
    _run()
    part = HostRun.objects.get(state=HostRun.State.STOPPED)
    assert part.unasked == 3
    return part


def test_a_stopped_run_is_the_first_thing_told(ops: Client, stopped: HostRun) -> None:
    html = _html(ops, "propagation")
    assert _title(html) == "1 thing needs you."
    assert f"Run stopped on {stopped.host.name}: 3 keys would go although nobody asked." in html
    assert reverse("propagation_stopped", args=[stopped.pk]) in html
    assert [run.has_stopped for run in ops.get(reverse("propagation")).context["runs"]] == [True, False]


def test_only_the_last_stop_of_a_host_waits_for_a_decision(ops: Client, stopped: HostRun) -> None:
    _run()
    last = HostRun.objects.filter(state=HostRun.State.STOPPED).latest("pk")
    assert last != stopped
    assert _title(_html(ops, "propagation")) == "1 thing needs you."
    html = _html(ops, "propagation_stopped", stopped.pk)
    assert "A later one stopped too." in html
    assert reverse("propagation_stopped", args=[last.pk]) in html
    assert "<form" not in html.partition('id="content"')[2]


def test_the_keys_are_asked_of_the_host_itself(ops: Client, stopped: HostRun, account: SftpAccount) -> None:
    before = everything()
    html = _html(ops, "propagation_stopped_keys", stopped.pk)
    words = _words(html)
    assert "3 keys of 1 account, as it is now." in words
    assert account.username in words
    for print in fingerprints("\n".join(map(text, NAMES)).encode()):
        assert print.replace("SHA256:", "") in words.replace(" ", "")
    assert "This is not what the run found" not in html
    assert everything() == before


def test_keys_that_the_run_did_not_find_are_told_as_a_change(
    ops: Client, stopped: HostRun, account: SftpAccount
) -> None:
    path = settings.SFTP_ROOT / "keys" / "ghost.example.com"
    path.write_text(text("ecdsa384"))
    words = _words(_html(ops, "propagation_stopped_keys", stopped.pk))
    assert "4 keys of 2 accounts" in words
    assert "No account of ours ghost.example.com" in words
    assert "This is not what the run found" in words


def test_a_host_that_cannot_be_asked_is_told_with_the_reason(ops: Client, stopped: HostRun) -> None:
    Host.objects.update(kind=Host.Kind.OPENSSH, address="127.0.0.1", port=1, host_key="ssh-ed25519 AAAA")
    assert "could not be asked. The host cannot be reached" in _html(ops, "propagation_stopped_keys", stopped.pk)


def test_the_keys_come_as_a_part_of_the_page_or_as_one_of_their_own(ops: Client, stopped: HostRun) -> None:
    assert "<h1>" in _html(ops, "propagation_stopped_keys", stopped.pk)
    assert "<h1>" not in _html(ops, "propagation_stopped_keys", stopped.pk, headers={"HX-Request": "true"})


def test_keys_go_only_with_a_reason_and_only_then(ops: Client, stopped: HostRun, account: SftpAccount) -> None:
    place = reverse("propagation_stopped", args=[stopped.pk])
    before = everything()
    refused = ops.post(place, {"reason": "  "})
    assert refused.status_code == 422
    assert "Say why these keys may go." in refused.content.decode()
    assert everything() == before
    assert ops.post(place, {"reason": "That district left."}).url == reverse("propagation")
    assert AuditEntry.objects.filter(action="unasked removal allowed").count() == 1
    assert text("ed25519").split()[1] in _on_host(account)
    propagation.run_do(PropagationRun.objects.get(cause="now").pk)
    assert text("ed25519").split()[1] not in _on_host(account)
    assert "needs you" not in _title(_html(ops, "propagation"))
    shown = _html(ops, "propagation_stopped", stopped.pk)
    assert "Olu Ops allowed it" in _words(shown)
    assert "That district left." in shown


def test_who_decides_second_is_told_that_it_is_too_late(ops: Client, stopped: HostRun) -> None:
    place = reverse("propagation_stopped", args=[stopped.pk])
    ops.post(place, {"reason": "first"})
    assert "Somebody else has decided this" in ops.post(place, {"reason": "second"}, follow=True).content.decode()
    stopped.refresh_from_db()
    assert stopped.allowed_reason == "first"


def test_ops_are_told_by_mail_with_the_page_on_which_they_decide(ops: Client, stopped: HostRun) -> None:
    mail = OutboxMessage.objects.get(kind="keys-run-stopped")
    assert mail.subject == f"Propagation stopped on {stopped.host.name}: 3 keys would go although nobody asked"
    assert f"{reverse('propagation_stopped', args=[stopped.pk])}\n" in mail.text


def test_ops_are_told_by_mail_of_a_host_that_trying_again_does_not_help(ops: Client, account: SftpAccount) -> None:
    told = {"kind": Host.Kind.OPENSSH, "state": Host.State.STOPPED, "reason": "It showed another host key."}
    Host.objects.update(**told, host_key="ssh-ed25519 AAAA")
    _run()
    mail = OutboxMessage.objects.get(kind="host-stopped")
    assert mail.subject == f"The SFTP host {account.host.name} needs you"
    assert "It showed another host key." in mail.text
    assert f"{reverse('host', args=[account.host.pk])}\n" in mail.text


def test_an_old_sign_in_decides_nothing(ops: Client, stopped: HostRun) -> None:
    before = everything()
    answer = fresh(ops, 3600).post(reverse("propagation_stopped", args=[stopped.pk]), {"reason": "x"})
    assert answer.url.startswith(reverse("account_reauthenticate"))
    assert everything() == before


def test_a_private_key_in_the_reason_is_not_shown_again(ops: Client, stopped: HostRun) -> None:
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----"
    answer = ops.post(reverse("propagation_stopped", args=[stopped.pk]), {"reason": private})
    assert answer.status_code == 422
    assert "b3BlbnNzaC1rZXktdjEAAAAA" not in answer.content.decode()


def test_a_part_that_did_not_stop_has_no_such_page(ops: Client, account: SftpAccount) -> None:
    part = _run().hosts.get()
    assert ops.get(reverse("propagation_stopped", args=[part.pk])).status_code == 404
    assert ops.get(reverse("propagation_stopped_keys", args=[part.pk])).status_code == 404


# --- One run -----------------------------------------------------------------------------------------------------


def test_a_run_tells_what_it_did_on_each_host_and_how_long_each_change_took(ops: Client, account: SftpAccount) -> None:
    _saved(account, "ed25519")
    KeySet.objects.filter(cause="saved").update(at=timezone.now() - timedelta(seconds=200))
    run = _run()
    words = _words(_html(ops, "propagation_run", run.pk))
    assert account.host.name in words
    assert "Keys saved, 1 added" in words
    assert "half took at most" in words
    assert re.search(r"the longest 3 min 2\d s", words)


def test_a_run_tells_why_a_host_was_left_out(ops: Client, account: SftpAccount) -> None:
    Host.objects.update(kind=Host.Kind.OPENSSH, address="127.0.0.1", port=1, host_key="ssh-ed25519 AAAA")
    words = _words(_html(ops, "propagation_run", _run().pk))
    assert "The host cannot be reached, or closed the connection. host-down" in words


def test_a_run_under_way_is_looked_at_again_and_a_finished_one_is_not(ops: Client, account: SftpAccount) -> None:
    run = PropagationRun.objects.create(cause="now", state="running", total=40, written=3, started=timezone.now())
    html = _html(ops, "propagation_run", run.pk)
    assert f'hx-get="{reverse("propagation_run_state", args=[run.pk])}"' in html
    assert "3 of 40 accounts looked at" in html
    PropagationRun.objects.filter(pk=run.pk).update(state="done", finished=timezone.now())
    part = _html(ops, "propagation_run_state", run.pk)
    assert "hx-get" not in part
    assert "<h1>" not in part


# --- Time to live ------------------------------------------------------------------------------------------------


def test_without_a_change_there_is_no_plot(ops: Client, account: SftpAccount) -> None:
    html = _html(ops, "propagation")
    assert "Nothing was saved in the last 30 days." in html
    assert '<svg class="plot"' not in html


def test_time_to_live_is_drawn_and_told_in_figures(ops: Client, account: SftpAccount) -> None:
    now = timezone.localtime().replace(hour=12)
    for number, seconds in enumerate((2, 4, 90)):
        at = now - timedelta(days=1)
        facts = {"cause": "saved", "at": at, "on_host": at + timedelta(seconds=seconds)}
        KeySet.objects.create(account=account, version=100 + number, **facts)
    long_ago = {"cause": "saved", "at": now - timedelta(days=40), "on_host": now}
    KeySet.objects.create(account=account, version=200, **long_ago)
    shown = ops.get(reverse("propagation"))
    ((day, median, most),) = shown.context["days"]
    assert (day.day, day.count, median, most) == ((now - timedelta(days=1)).date(), 3, "4.0 s", "1 min 30 s")
    html = shown.content.decode()
    assert html.count('<svg class="plot"') == 2
    for name in ("wide", "narrow"):
        assert f'<title id="plot-{name}-title">' in html
        assert f'<desc id="plot-{name}-desc">' in html
    assert "half of 3 changes took at most 4.0 s" in html
