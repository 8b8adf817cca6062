"""When which key files are brought to which host: one account after a save, all of them by the hour or when asked."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Sum
from django.utils import timezone

from accounts.core.roles import Role
from accounts.leases import LeaseLost, free_to_take, lease_kept, lease_renew, lease_take
from accounts.models import RetiredUsername, SftpAccount
from accounts.notices import notice_send, staff_in
from hosts.connect import connected
from hosts.core import paths
from hosts.core.errors import HostDown, HostError, NotSafe, NotThere, TooLarge
from hosts.files import EntryKind, FileRead, HostFiles
from hosts.models import Host

from .bringing import (
    LARGEST_FILE,
    Leave,
    Outcome,
    Push,
    asked_since,
    bring,
    fail_noted,
    found_rows,
    note_read,
    pause_after,
    tally,
)
from .core.authorized_keys import Stamp, stamp_of
from .core.drift import FEW_KEYS, Asked, Look, Mark, difference, found_lines, look_at, must_stop, removal_digest
from .core.drift import FoundLine as Found
from .models import FoundLine, HostRun, KeyFile, KeySet, PropagationFailure, PropagationRun
from .selectors import due, is_known, is_overdue, left_behind, unfinished_runs
from .wanted import Wanted, wanted

logger = logging.getLogger(__name__)
# A temporary file this old belongs to nobody who is still writing.
STALE = timedelta(hours=1)
# Every file is read whole at least daily, spread over the runs of some hours.
READ_AFTER = timedelta(hours=20)
SPREAD_MINUTES = 180
# Files looked at together; what is in memory stays the same however many accounts there are.
LOOKED_AT_ONCE = 1000
# Leave for a removal is for a run soon, not for one that looks the same next year.
ALLOWED_FOR = timedelta(days=1)
ANY = sys.maxsize
COUNTERS = ("written", "unchanged", "failed", "held", "drifted", "removed")
# The most waiting accounts that one sweep brings to one host.
SWEPT_AT_ONCE = 2000


def push_one(account_pk: int) -> None:
    """Pushes one account that waits, and keeps a run of its own in the history. Nothing if it waits no longer."""
    file = due().filter(account_id=account_pk).filter(free_to_take()).select_related("account__host").first()
    if file is not None:
        _push_due(file.account.host, [file.pk], PropagationRun.Cause.SAVED)


def push_account(account_pk: int) -> Push | None:
    """Brings one account's file to its host; None if another worker is at it or it no longer exists."""
    file = KeyFile.objects.filter(account_id=account_pk).select_related("account__host").first()
    pushes = _pushes(file.account.host, [file.pk]) if file is not None else []
    return pushes[0] if pushes else None


def push_by_command(account: SftpAccount) -> PropagationRun | None:
    """Brings one account's file, whatever its state; None if another worker is at it."""
    return _push_due(account.host, [account.key_file.pk], PropagationRun.Cause.COMMAND)


def _push_due(host: Host, file_pks: list[int], cause: PropagationRun.Cause) -> PropagationRun | None:
    """Brings some accounts of one host, outside the run over all of them, as a run of its own."""
    started = timezone.now()
    pushes = _pushes(host, file_pks)
    if not pushes:
        return None
    counts = tally(pushes)
    run = PropagationRun.objects.create(
        cause=cause,
        state=PropagationRun.State.DONE,
        started=started,
        finished=timezone.now(),
        total=len(pushes),
        **{name: counts[name] for name in COUNTERS},
    )
    accounts = [push.account_pk for push in pushes]
    KeySet.objects.filter(account__in=accounts, run=None, on_host__gte=started).update(run=run)
    _note_failures(run, pushes)
    return run


def _pushes(host: Host, file_pks: list[int]) -> list[Push]:
    try:
        with _reached(host) as files:
            return list(bring(host, files, file_pks, leave=_leave_between_runs(host)))
    except HostError as error:
        files_away = KeyFile.objects.filter(pk__in=file_pks).filter(free_to_take())
        accounts = list(files_away.values_list("account_id", flat=True))
        fail_noted(files_away, error.code, error.message)
        return [Push(pk, Outcome.FAILED, error.code, error.message[:400]) for pk in accounts]


@contextmanager
def _reached(host: Host, *, at_once: bool = False) -> Iterator[HostFiles]:
    """The files of a host over one connection; whether it answers is noted.

    One that has just failed is left alone for a while, ever longer (`at_once`: it is tried all the same), so that
    nobody waits for it again and again.
    """
    if host.next_try and host.next_try > timezone.now() and not at_once:
        raise HostDown(host.reason)
    try:
        with connected(host) as files:
            yield files
    except HostError as error:
        paused = {"tries": F("tries") + 1, "next_try": timezone.now() + pause_after(host.tries)}
        Host.objects.filter(pk=host.pk).update(reason=error.message[:400], **(paused if error.retry else {}))
        raise
    rows = Host.objects.filter(pk=host.pk)
    rows.update(last_ok=timezone.now(), tries=0, next_try=None, reason="")


def _leave_between_runs(host: Host) -> Leave:
    """A handful an account; nothing while the last run over the host waits for a decision."""
    last = HostRun.objects.filter(host=host, state__in=HostRun.ENDED).order_by("-finished").first()
    stands = last is not None and last.state == HostRun.State.STOPPED and last.allowed is None
    return Leave(0 if stands else FEW_KEYS)


def _note_failures(run: PropagationRun, pushes: Iterable[Push]) -> None:
    PropagationFailure.objects.bulk_create(
        PropagationFailure(run=run, account_id=push.account_pk, code=push.code, reason=push.reason)
        for push in pushes
        if push.outcome in (Outcome.FAILED, Outcome.HELD)
    )


# --- The run over all accounts -----------------------------------------------------------------------------------


def hourly_make() -> PropagationRun:
    """The scheduled run over all accounts, to be done."""
    return PropagationRun.objects.create(cause=PropagationRun.Cause.HOURLY)


def run_hourly() -> None:
    """The scheduled run over all accounts."""
    run_do(hourly_make().pk)


def parts_make(run_pk: int) -> list[int]:
    """Gives a run its part on each host, once; returns the parts that are not done, hosts that are away last."""
    run = PropagationRun.objects.exclude(state=PropagationRun.State.DONE).filter(pk=run_pk).first()
    if run is None:
        return []
    # A run over some hosts only has its parts from the start.
    hosts = [] if run.hosts.exists() else Host.objects.filter(accounts__isnull=False).distinct()
    HostRun.objects.bulk_create([HostRun(run=run, host=host) for host in hosts], ignore_conflicts=True)
    PropagationRun.objects.filter(pk=run_pk, state=PropagationRun.State.WAITING).update(
        state=PropagationRun.State.RUNNING, started=timezone.now()
    )
    parts = run.hosts.exclude(state__in=HostRun.ENDED).order_by("host__tries", "host__name")
    return list(parts.values_list("pk", flat=True))


def run_do(run_pk: int) -> None:
    """Does what is left of a run; each host's part says what that is, so it may be begun again any time."""
    for part_pk in parts_make(run_pk):
        part_do(part_pk)
    _run_end(run_pk)


def part_do(part_pk: int) -> None:
    """Does a run's part on one host; nothing if another worker is at it."""
    rows = HostRun.objects.filter(pk=part_pk).exclude(state__in=HostRun.ENDED)
    token = lease_take(rows)
    if token is None:
        return
    rows = HostRun.objects.filter(pk=part_pk)
    with lease_kept(rows, token):
        try:
            _Part(rows.select_related("run", "host").get(), token).do()
        except LeaseLost:
            logger.info("Part %s of a propagation run was taken over by another worker.", part_pk)
    _run_end(HostRun.objects.values_list("run_id", flat=True).get(pk=part_pk))


def _run_end(run_pk: int) -> None:
    parts = HostRun.objects.filter(run=run_pk)
    sums = parts.aggregate(total=Sum("total"), **{name: Sum(name) for name in COUNTERS})
    run = PropagationRun.objects.filter(pk=run_pk).exclude(state=PropagationRun.State.DONE)
    run.update(**{name: value or 0 for name, value in sums.items()})
    if not parts.exclude(state__in=HostRun.ENDED).exists():
        run.filter(started__isnull=False).update(state=PropagationRun.State.DONE, finished=timezone.now())


@dataclass(slots=True)
class _Plan:
    """What one look at a host came to. `unasked`: account (or 0), name, fingerprint of what nobody asked to remove."""

    marks: dict[str, Mark] = field(default_factory=dict)
    to_read: list[int] = field(default_factory=list)
    to_bring: list[int] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    keys: int = 0
    unasked: list[tuple[int, str, str]] = field(default_factory=list)
    # Among the strangers is a set of ours that this database has never heard of: it may be an old one, restored.
    is_newer: bool = False


class _Part:
    """One run's part on one host, while one worker does it."""

    def __init__(self, part: HostRun, token: str) -> None:
        self._part, self._run, self._host, self._token = part, part.run, part.host, token
        self._now = timezone.now()

    def do(self) -> None:
        """Does it; a host that cannot be reached ends this part and nothing else."""
        self._begin()
        try:
            with _reached(self._host, at_once=True) as files:
                self._walk(files)
        except HostError as error:
            self._host_failed(error)

    def _begin(self) -> None:
        part = self._part
        self._run.failures.filter(account__host=self._host).delete()
        part.state, part.started = HostRun.State.RUNNING, self._now
        part.total = KeyFile.objects.filter(account__host=self._host).count()
        part.code = part.reason = ""
        for name in COUNTERS:
            setattr(part, name, 0)
        self._count(Counter())

    def _walk(self, files: HostFiles) -> None:
        plan = self.look(files)
        self.compare(files, plan)
        self.look_at_strangers(files, plan)
        may_go_on = self._may_go_on(plan)
        for start in range(0, len(plan.to_bring), LOOKED_AT_ONCE):
            some = plan.to_bring[start : start + LOOKED_AT_ONCE]
            pushes = list(bring(self._host, files, some, run=self._run, leave=Leave(ANY if may_go_on else 0)))
            self._count(tally(pushes) + Counter(unchanged=len(some) - len(pushes)))
            _note_failures(self._run, pushes)
        if may_go_on:
            self._strangers_remove(files, plan)
        with suppress(HostError):
            files.sweep(paths.keys_directory(), STALE)
        self._end(HostRun.State.DONE if may_go_on else HostRun.State.STOPPED)

    def look(self, files: HostFiles) -> _Plan:
        """One listing, held against what every account's file should be."""
        plan = _Plan()
        with suppress(NotThere):
            for entry in files.listing(paths.keys_directory()):
                plan.marks[entry.name] = Mark(entry.size, entry.modified if entry.kind is EntryKind.FILE else -1)
        names = set()
        for one in wanted(KeyFile.objects.filter(account__host=self._host)):
            names.add(one.username)
            plan.keys += max(0, one.content.count(b"\n") - 1)
            self._sort(plan, one)
        retired = RetiredUsername.objects.filter(cleared=None).values_list("username", flat=True)
        plan.strangers = sorted(plan.marks.keys() - names - set(retired))
        return plan

    def _sort(self, plan: _Plan, one: Wanted) -> None:
        due_since = one.read_at + READ_AFTER + timedelta(minutes=one.file_pk % SPREAD_MINUTES) if one.read_at else None
        read_due = self._run.thorough or due_since is None or due_since <= self._now
        look = look_at(one.digest, one.known, plan.marks.get(one.username), read_due=read_due)
        if look is Look.WRITE or (look is Look.LEAVE and not one.on_host):
            plan.to_bring.append(one.file_pk)
        elif look is Look.READ:
            plan.to_read.append(one.file_pk)
        else:
            self._part.unchanged += 1

    def compare(self, files: HostFiles, plan: _Plan, *, is_noted: bool = True) -> None:
        """Reads what the listing could not vouch for: what is right is noted, the rest is to be brought."""
        for start in range(0, len(plan.to_read), LOOKED_AT_ONCE):
            some = wanted(KeyFile.objects.filter(pk__in=plan.to_read[start : start + LOOKED_AT_ONCE]))
            by_path = {paths.key_file(paths.username(one.username)): one for one in some}
            right: list[tuple[Wanted, FileRead]] = []
            differing: list[tuple[Wanted, FileRead | HostError]] = []
            for path, found in files.read_many(by_path, LARGEST_FILE):
                one = by_path[path]
                if isinstance(found, FileRead) and found.content == one.content and one.on_host:
                    right.append((one, found))
                else:
                    differing.append((one, found))
            plan.to_bring += [one.file_pk for one, _ in differing]
            self._note_unasked(plan, differing)
            if is_noted:
                note_read(None, right, set(), self._now)
                self._count(Counter(unchanged=len(right)))

    def _note_unasked(self, plan: _Plan, differing: list[tuple[Wanted, FileRead | HostError]]) -> None:
        asked = asked_since(one for one, _ in differing)
        for one, found in differing:
            if isinstance(found, FileRead):
                told = difference(found.content, one.content, one.known, asked.get(one.account_pk, Asked()))
                plan.unasked += [(one.account_pk, one.username, print) for print in told.unasked]

    def _may_go_on(self, plan: _Plan) -> bool:
        """Whether what nobody asked to remove is little, or somebody has said that just this may go."""
        part, count = self._part, len(plan.unasked)
        part.unasked = count
        part.unasked_digest = removal_digest(plan.unasked)
        stops = must_stop(
            count,
            plan.keys + count,
            most_keys=settings.PROPAGATION_MOST_UNASKED_KEYS,
            most_percent=settings.PROPAGATION_MOST_UNASKED_PERCENT,
        )
        is_allowed = HostRun.objects.filter(
            host=self._host, unasked_digest=part.unasked_digest, allowed__gte=self._now - ALLOWED_FOR
        ).exists()
        if is_allowed or not (stops or plan.is_newer):
            return True
        self._tell("keys-run-stopped", f"unasked-{self._host.pk}-{part.unasked_digest}")
        return False

    def look_at_strangers(self, files: HostFiles, plan: _Plan) -> None:
        """Files of no account of ours. The keys in them count as removed by nobody: an account's row may be lost."""
        found = {name: _stranger(files, name) for name in plan.strangers}
        plan.strangers = [name for name, stranger in found.items() if stranger is not None]
        for name, stranger in found.items():
            lines, stamp = stranger or ((), None)
            prints = [line.fingerprint for line in lines if line.fingerprint]
            plan.unasked += [(0, name, print) for print in prints]
            plan.is_newer |= bool(prints and stamp and not is_known("", stamp))

    def _strangers_remove(self, files: HostFiles, plan: _Plan) -> None:
        for name in plan.strangers:
            stranger = _stranger(files, name)
            if stranger is not None:
                rows = found_rows(self._host, None, name, stranger[0])
                FoundLine.objects.bulk_create(rows, ignore_conflicts=True)
                files.remove(paths.key_file(paths.username(name)))
                self._count(Counter(drifted=1, removed=len(stranger[0])))

    def _host_failed(self, error: HostError) -> None:
        """What waits on this host is told why, and when it is tried again."""
        self._part.code, self._part.reason = error.code, error.message[:400]
        waiting = due().filter(account__host=self._host).filter(free_to_take()).order_by()
        fail_noted(KeyFile.objects.filter(pk__in=list(waiting.values_list("pk", flat=True))), error.code, error.message)
        self._part.failed = max(0, self._part.total - self._part.written - self._part.unchanged)
        if not error.retry:
            self._tell("host-stopped", f"host-{self._host.pk}-{error.code}-{timezone.localdate():%Y%m%d}")
        self._end(HostRun.State.FAILED)

    def _tell(self, kind: str, about: str) -> None:
        told = {"host": self._host, "part": self._part}
        notice_send(kind, staff_in(Role.OPS, Role.SYSTEM_ADMINISTRATOR), told, about=about)

    def _end(self, state: HostRun.State) -> None:
        self._part.state, self._part.finished = state, timezone.now()
        self._count(Counter())

    def _count(self, more: Counter[str]) -> None:
        """Adds to the part's counters and shows them; raises LeaseLost if another has taken over."""
        for name in COUNTERS:
            setattr(self._part, name, getattr(self._part, name) + more[name])
        lease_renew(HostRun.objects.filter(pk=self._part.pk), self._token)
        self._part.save(
            update_fields=[
                "state",
                "started",
                "finished",
                "total",
                "code",
                "reason",
                "unasked",
                "unasked_digest",
                *COUNTERS,
            ]
        )
        _run_end(self._run.pk)


def _stranger(files: HostFiles, name: str) -> tuple[tuple[Found, ...], Stamp | None] | None:
    """What stands in a key file of no account of ours, and its stamp.

    None for what is to stay: the temporary of a push under way, and what a renamed account left under its old name,
    which lets nobody in.
    """
    try:
        content = files.read(paths.key_file(paths.username(name)), LARGEST_FILE)
    except TooLarge:
        return (), None
    except (NotSafe, NotThere):
        return None
    lines, stamp = found_lines(content), stamp_of(content)
    return None if stamp and not lines else (lines, stamp)


def unasked_of(part: HostRun) -> list[tuple[int, str, str]]:
    """What a stopped run would remove from its host although nobody asked, as it is now: account (0: none of ours),
    name of its file, fingerprint. Nothing is written. Raises HostError."""
    look = _Part(part, "")
    with connected(part.host) as files:
        plan = look.look(files)
        look.compare(files, plan, is_noted=False)
        look.look_at_strangers(files, plan)
    return sorted(plan.unasked)


# --- The sweep ---------------------------------------------------------------------------------------------------


def sweep() -> None:
    """Pushes what waits although its nudge was lost, and finishes runs whose worker died."""
    if is_overdue():
        logger.error("The scheduled run over all accounts did not come for an hour; the sweep does it now.")
        run_hourly()
    for host, file_pks in _left_behind_by_host().items():
        _push_due(host, file_pks, PropagationRun.Cause.SWEEP)
    for run_pk in list(unfinished_runs().values_list("pk", flat=True)):
        run_do(run_pk)


def _left_behind_by_host() -> dict[Host, list[int]]:
    found: dict[Host, list[int]] = {}
    for file in left_behind().filter(free_to_take()).select_related("account__host"):
        some = found.setdefault(file.account.host, [])
        if len(some) < SWEPT_AT_ONCE:
            some.append(file.pk)
    return found
