"""Saved keys beside a host that is slow to answer, and what one night changes: few threads at a host, many accounts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Task
from django.conf import settings
from django.utils import timezone

from accounts.models import SftpAccount
from hosts.core.errors import HostDown
from hosts.lanes import Lanes
from hosts.local import LocalFiles
from hosts.models import Host
from keys import nightly, propagation, services, tasks
from keys.models import AccountKey, HostRun, KeyFile, PropagationRun
from keys.sets import By
from tests.factories import DistrictFactory, HostFactory

from .samples import many_lines
from .sweeping import nudged, sweep

# --- Lanes -------------------------------------------------------------------------------------------------------


def test_no_more_than_so_many_are_at_one_host_and_what_they_leave_is_looked_at_again() -> None:
    lanes, depth, deepest, looks = Lanes(2), [0], [0], [0]

    def work() -> None:
        looks[0] += 1
        depth[0] += 1
        deepest[0] = max(deepest[0], depth[0])
        if looks[0] <= 5:
            lanes.work(1, work)
        depth[0] -= 1

    assert lanes.work(1, work)
    assert (deepest[0], depth[0]) == (2, 0)
    # The first, one within it that finds a third turned away and looks again, and again ...
    assert looks[0] > 2
    before = looks[0]
    looks[0] = 100
    assert lanes.work(1, work)
    assert (looks[0], before < 100) == (101, True)


def test_hosts_do_not_share_lanes() -> None:
    lanes, met = Lanes(1), []

    def work() -> None:
        if not met:
            met.append((lanes.work(1, work), lanes.work(2, lambda: None)))

    lanes.work(1, work)
    assert met == [(False, True)]


def test_whoever_fails_makes_room() -> None:
    lanes = Lanes(1)

    def fail() -> None:
        lanes.work(1, fail)
        raise HostDown("The host cannot be reached.")

    with pytest.raises(HostDown):
        lanes.work(1, fail)
    assert lanes.work(1, lambda: None)


# --- Saves for a slow host ---------------------------------------------------------------------------------------


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of hosts in the order they were connected to; `slow` is a name, so is `away`, which fails."""
    names: list[str] = []

    @contextmanager
    def connected(host: Host) -> Iterator[LocalFiles]:
        names.append(host.name)
        if host.name == "away":
            raise HostDown("The host did not answer in time.")
        place = settings.SFTP_ROOT / host.name
        place.mkdir(parents=True, exist_ok=True)
        yield LocalFiles(place)

    monkeypatch.setattr(propagation, "connected", connected)
    return names


def _accounts(host: str, count: int) -> list[SftpAccount]:
    """So many accounts on a host of this name, each with a key that was just saved."""
    row = Host.objects.filter(name=host).first() or HostFactory(name=host)
    made = [DistrictFactory(domain=f"{host}-{number}.k12.oh.us").sftp_account for number in range(count)]
    accounts = SftpAccount.objects.filter(pk__in=[account.pk for account in made]).order_by("pk")
    accounts.update(host=row)
    for number, account in enumerate(accounts):
        version = KeyFile.objects.get(account=account).version
        line = many_lines(row.pk * 40 + number + 1)[-1]
        services.keys_save(account, line, seen_version=version, by=By(None))
    return list(accounts)


def _states(accounts: list[SftpAccount]) -> set[str]:
    return set(KeyFile.objects.filter(account__in=accounts).values_list("state", flat=True))


def test_many_saves_for_a_slow_host_hold_two_threads_and_are_then_brought_together(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = _accounts("slow", 16)
    connected, at_once, most = propagation.connected, [0], [0]

    @contextmanager
    def slowly(host: Host) -> Iterator[LocalFiles]:
        """While it answers, all the others are nudged: each would be another thread."""
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        if len(reached) < 2:
            for one in saved:
                tasks.propagate_account(one.pk)
        with connected(host) as files:
            yield files
        at_once[0] -= 1

    monkeypatch.setattr(propagation, "connected", slowly)
    with nudged():
        tasks.propagate_account(saved[0].pk)
    assert most[0] == 2
    assert _states(saved) == {"on_host"}
    # Two by themselves, the others in one push.
    assert len(reached) == 3


def test_a_save_that_comes_while_its_host_is_full_is_brought_by_those_who_are_there(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the others have looked for the last time, but for the look that its own nudge asks for."""
    first, late = _accounts("slow", 2)
    file = KeyFile.objects.filter(account=late)
    file.update(state="on_host")
    waiting, asked = propagation._waiting_on, []

    def look(host_pk: int) -> list[int]:
        found = waiting(host_pk)
        if not asked:
            asked.append(host_pk)
            file.update(state="waiting")
            tasks.propagate_account(late.pk)
        return found

    monkeypatch.setattr(propagation, "_waiting_on", look)
    monkeypatch.setattr(propagation, "_saves", Lanes(1))
    tasks.propagate_account(first.pk)
    assert _states([first, late]) == {"on_host"}


def test_what_waits_for_a_host_that_does_not_answer_fails_at_one_try(account: SftpAccount, reached: list[str]) -> None:
    saved = _accounts("away", 5)
    with nudged():
        for one in saved:
            tasks.propagate_account(one.pk)
    assert (reached, _states(saved)) == (["away"], {"failed"})


def test_a_save_is_brought_before_what_else_waits_there(account: SftpAccount, reached: list[str]) -> None:
    older, newest = _accounts("slow", 2)
    KeyFile.objects.filter(account=older).update(wanted=timezone.now() - timedelta(minutes=1))
    tasks.propagate_account(newest.pk)
    runs = [set(run.key_sets.values_list("account", flat=True)) for run in PropagationRun.objects.order_by("pk")]
    assert runs == [{newest.pk}, {older.pk}]


def test_who_has_a_place_at_one_host_is_not_held_up_at_another_that_the_account_has_moved_to(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (moved,) = _accounts("slow", 1)
    away = HostFactory(name="away")

    class Moving(Lanes):
        """The account moves between the choice of the lane and the work in it."""

        def work(self, host_pk: int, do: Callable[[], object]) -> bool:
            SftpAccount.objects.filter(pk=moved.pk).update(host=away)
            return super().work(host_pk, do)

    monkeypatch.setattr(propagation, "_saves", Moving(2))
    # It has to be looked at again: then its own host's lane is the one.
    assert (propagation.push_saved(moved.pk), reached) == (False, [])
    propagation.push_saved(moved.pk)
    assert reached == ["away"]


# --- Runs over a slow host ---------------------------------------------------------------------------------------


def test_the_runs_over_a_slow_host_hold_one_thread_and_are_done_one_after_the_other(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _accounts("slow", 1)
    runs = [PropagationRun.objects.create(cause=cause) for cause in ("hourly", "now", "hourly")]
    parts = [HostRun.objects.get(pk=pk) for run in runs for pk in propagation.parts_make(run.pk)]
    slow = [part for part in parts if part.host.name == "slow"]
    connected, at_once, most = propagation.connected, [0], [0]

    @contextmanager
    def slowly(host: Host) -> Iterator[LocalFiles]:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        for part in slow:
            tasks.propagate_part(part.pk)
        with connected(host) as files:
            yield files
        at_once[0] -= 1

    monkeypatch.setattr(propagation, "connected", slowly)
    tasks.propagate_part(slow[0].pk)
    assert most[0] == 1
    assert {HostRun.objects.get(pk=part.pk).state for part in slow} == {"done"}
    assert reached == ["slow"] * 3


def test_the_part_of_a_command_is_left_to_whoever_waits_for_it(account: SftpAccount, reached: list[str]) -> None:
    runs = [PropagationRun.objects.create(cause=cause) for cause in ("hourly", "command")]
    (part,), (commanded,) = (propagation.parts_make(run.pk) for run in runs)
    tasks.propagate_part(part)
    assert [HostRun.objects.get(pk=pk).state for pk in (part, commanded)] == ["done", "waiting"]


# --- The sweep ---------------------------------------------------------------------------------------------------


def test_the_sweep_goes_to_no_host_itself_but_sends_a_task_for_each(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = _accounts("away", 3) + _accounts("slow", 2)
    KeyFile.objects.filter(account=account).update(state="on_host")
    run = PropagationRun.objects.create(cause="now")
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=1))
    sent: list[tuple[str, int]] = []

    def note(task: Task, *args: int, expires: int) -> None:
        assert expires == settings.SWEEP_SECONDS
        sent.append((task.name, *args))

    with monkeypatch.context() as patched:
        patched.setattr(tasks, "nudge", note)
        tasks.sweep()
    assert reached == []
    hosts = {host.name: host.pk for host in Host.objects.all()}
    swept = [pk for name, pk in sent if name == "keys.sweep_host"]
    assert sorted(swept) == sorted([hosts["away"], hosts["slow"]])
    parts = [pk for name, pk in sent if name == "keys.propagate_part"]
    assert sorted(parts) == sorted(run.hosts.values_list("pk", flat=True))
    assert len(parts) == 3
    # And each brings what is its own, whatever becomes of the others.
    for pk in swept:
        tasks.sweep_host(pk)
    assert (_states(left[:3]), _states(left[3:])) == ({"failed"}, {"on_host"})


def test_a_host_is_swept_by_one_at_a_time(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = _accounts("slow", 2)
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=1))
    push_due = propagation._push_due

    def slowly(*args: object, **told: object) -> PropagationRun | None:
        if len(reached) < 3:
            tasks.sweep_host(left[0].host_id)
        return push_due(*args, **told)

    monkeypatch.setattr(propagation, "_push_due", slowly)
    tasks.sweep_host(left[0].host_id)
    assert (reached, _states(left)) == (["slow"], {"on_host"})


# --- What one night changes --------------------------------------------------------------------------------------


@pytest.fixture
def night(account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Four accounts of two keys each, all on the host; called, so many rows are lost of each, one key is judged bad
    in each, and the night comes."""
    accounts = _accounts("slow", 4)
    for number, one in enumerate(accounts):
        lines = "\n".join(many_lines(200 + 4 * number)[-4:])
        version = KeyFile.objects.get(account=one).version
        services.keys_save(one, lines, seen_version=version, by=By(None), confirmed=one.username)
    with nudged():
        tasks.propagate_account(accounts[0].pk)
    assert _keys_on_host() == [4, 4, 4, 4]

    def comes(lost: int) -> None:
        changed = []
        for one in accounts:
            for key in list(one.keys.all())[:lost]:
                AccountKey.objects.filter(pk=key.pk).delete()
            bad = one.keys.last()
            AccountKey.objects.filter(pk=bad.pk).update(blob=bad.blob[:-8])
            changed.append(one.pk)
        PropagationRun.objects.all().delete()
        reached.clear()
        with nudged():
            tasks.judge()

    return comes


def _on_host() -> list[Path]:
    names = SftpAccount.objects.filter(host__name="slow").order_by("pk").values_list("username", flat=True)
    return [settings.SFTP_ROOT / "slow" / "keys" / name for name in names]


def _keys_on_host() -> list[int]:
    return [path.read_bytes().count(b"\n") - 1 for path in _on_host()]


def test_what_a_night_disables_goes_off_the_host_like_what_was_saved(
    night: Callable[[int], None], reached: list[str]
) -> None:
    night(0)
    assert _keys_on_host() == [3, 3, 3, 3]
    # One first, as after a save, and all others of that host together.
    assert sorted(PropagationRun.objects.values_list("cause", "total")) == [("saved", 1), ("saved", 3)]
    assert reached == ["slow", "slow"]


def test_a_night_takes_no_more_that_nobody_asked_for_than_a_run_would(night: Callable[[int], None]) -> None:
    """One lost row each: few an account, many together. The key that was judged goes all the same, and is no leave for
    the removal of another."""
    night(1)
    assert _keys_on_host() == [2, 3, 3, 3]
    run = PropagationRun.objects.get(total=3)
    assert (run.held, run.removed) == (3, 3)
    # What stays is the key whose row was lost, the first of each account's four.
    files = [path.read_text() for path in _on_host()]
    blobs = [many_lines(200 + 4 * number)[-4].split(" ")[1] for number in range(4)]
    assert [blob in file for blob, file in zip(blobs, files, strict=True)] == [False, True, True, True]


def test_each_host_is_nudged_once_for_a_night(
    account: SftpAccount, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, away = _accounts("slow", 3), _accounts("away", 2)
    sent: list[int] = []
    monkeypatch.setattr(tasks, "nudge", lambda task, pk: sent.append(pk))
    monkeypatch.setattr(nightly, "retire_due", lambda: [one.pk for one in (*slow, *away)])
    tasks.retire()
    assert sorted(sent) == sorted([slow[0].pk, away[0].pk])
    assert reached == []


def test_what_was_lost_is_found_by_the_sweep(account: SftpAccount, reached: list[str]) -> None:
    left = _accounts("slow", 2)
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=1))
    sweep()
    assert _states(left) == {"on_host"}
