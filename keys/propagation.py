"""When which key files are brought to which host: what was saved, at once; all of them by the hour or when asked."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import Min, Sum
from django.utils import timezone

from accounts.core.roles import Role
from accounts.leases import LeaseLost, free_to_take, lease_kept, lease_renew, lease_take
from accounts.models import RetiredUsername, SftpAccount
from accounts.notices import notice_send, staff_in
from hosts.connect import connected
from hosts.core import paths
from hosts.core.errors import (
    BadAnswer,
    HostDown,
    HostError,
    HostKeyChanged,
    HostStopped,
    NotSafe,
    NotThere,
    Refused,
    TooLarge,
)
from hosts.files import EntryKind, FileRead, HostFiles, is_temporary
from hosts.keyplace import KeyPlace, KeysShut, key_place, read_ours
from hosts.lanes import Lanes
from hosts.models import Host

from .bringing import (
    Leave,
    Outcome,
    Push,
    Unexpected,
    bring,
    by_haste,
    got_through,
    note_read,
    take_out,
    tally,
)
from .core.authorized_keys import Stamp, stamp_of
from .core.drift import (
    FEW_KEYS,
    Asked,
    Look,
    Mark,
    difference,
    digest_of,
    found_lines,
    look_at,
    must_stop,
    removal_digest,
    too_large,
)
from .core.drift import FoundLine as Found
from .models import FoundLine, HostRun, KeyFile, KeySet, PropagationFailure, PropagationRun
from .retrying import FIRST_PAUSE, fail_noted, pause_after, retry_now
from .selectors import due, is_newer, is_overdue, left_behind, unfinished_runs
from .taking_out import LARGEST_FILE, asked_since, found_rows
from .telling import Roster, hosts_untold, is_untold
from .wanted import Wanted, wanted

logger = logging.getLogger(__name__)
# A temporary file this old belongs to nobody who is still writing: each answer of a host is waited for 20 s at most.
STALE = timedelta(minutes=5)
# Every file is read whole at least daily, spread over the runs of some hours.
READ_AFTER = timedelta(hours=20)
SPREAD_MINUTES = 180
# Files looked at together; what is in memory stays the same however many accounts there are.
LOOKED_AT_ONCE = 1000
# Leave for a removal is for a run soon, not for one that looks the same next year.
ALLOWED_FOR = timedelta(days=1)
ANY = sys.maxsize
# Files of no account that are removed after they were read together.
REMOVED_AT_ONCE = 50
_Stranger = tuple[tuple[Found, ...], Stamp | None]
# To ops, who read it beside a run: what it is, where, and how to mend it.
_SHUT = (
    "Key files of no account of ours, which the portal may not read and has left: {names}. They lie in keys/ on the "
    "host. As root there, look at them; then remove them, or make them the portal's: the next run takes them off."
)
_STUCK = (
    "In keys/ on the host this has the name of a temporary file, and could not be removed. Remove it there: {names}."
)
_ODD = "Among the key files lies what is none, and lets nobody in; it was left there: {names}."
# So many of them by name.
SOME = 5
COUNTERS = ("written", "unchanged", "failed", "held", "drifted", "removed")
# The most waiting accounts that are brought to one host at once, outside the run over all of them.
PUSHED_AT_ONCE = 2000
# Of the threads of a worker a host that is slow to answer holds this many at most, however much is saved for it.
_saves, _sweeps, _parts = Lanes(2), Lanes(1), Lanes(1)
# Of those that save one at most waits for a host's helper, so that a key to be taken off does not.
_helped = Lanes(1, comes_again=True)


def push_saved(account_pk: int) -> bool:
    """Brings what was saved for one account, then whatever else was saved for its host; one worker's nudge is enough.

    If enough threads are at that host already, it is left to them. False if another worker is at the account just
    now, so that it has to be looked at again.
    """
    host_pk = SftpAccount.objects.filter(pk=account_pk).values_list("host", flat=True).first()
    if host_pk is None:
        return True
    if _saves.work(host_pk, lambda: _push_saved(host_pk, account_pk)):
        return not due().filter(account=account_pk).exists()
    return not KeyFile.objects.filter(account=account_pk).exclude(free_to_take()).exists()


def one_of_each_host(accounts: Iterable[int]) -> list[int]:
    """One of these accounts on each host: to bring it is to bring the others there."""
    rows = SftpAccount.objects.filter(pk__in=list(accounts)).order_by().values("host").annotate(one=Min("pk"))
    return [row["one"] for row in rows]


def _push_saved(host_pk: int, account_pk: int) -> None:
    push_one(account_pk, host_pk)
    while waiting := _waiting_on(host_pk):
        host = Host.every.get(pk=host_pk)
        if _push_due(host, waiting, PropagationRun.Cause.SAVED, at_once=not _tried_lately(host)) is None:
            break


def _waiting_on(host_pk: int) -> list[int]:
    """What was saved for a host and not tried yet, the newest first: somebody waits for it. The sweep begins with the
    oldest."""
    files = due().filter(state=KeyFile.State.WAITING, account__host=host_pk).filter(free_to_take())
    return list(files.order_by("-wanted").values_list("pk", flat=True)[:PUSHED_AT_ONCE])


def push_one(account_pk: int, host_pk: int | None = None) -> None:
    """Pushes one account that waits, and keeps a run of its own in the history. Nothing if it waits no longer, another
    worker is at it just now, or it is not on this host: whoever has a place at one must not be held up at another."""
    file = due().filter(free_to_take(), account=account_pk).select_related("account__host").first()
    if file is not None and host_pk in (None, file.account.host_id):
        # What was just saved may find a host that is back long before its pause ends.
        at_once = not file.tries and not _tried_lately(file.account.host)
        _push_due(file.account.host, [file.pk], PropagationRun.Cause.SAVED, at_once=at_once)


def _tried_lately(host: Host) -> bool:
    """Whether the last try that failed was so short a time ago that another would fail too."""
    if host.next_try is None:
        return False
    tried = host.next_try - pause_after(max(0, host.tries - 1))
    return tried > timezone.now() - FIRST_PAUSE


def push_account(account_pk: int) -> Push | None:
    """Brings one account's file to its host; None if another worker is at it or it no longer exists."""
    file = KeyFile.objects.filter(account_id=account_pk).select_related("account__host").first()
    pushes = _pushes(file.account.host, [file.pk]) if file is not None else []
    return pushes[0] if pushes else None


def push_by_command(account: SftpAccount) -> PropagationRun | None:
    """Brings one account's file, whatever its state; None if another worker is at it."""
    return _push_due(account.host, [account.key_file.pk], PropagationRun.Cause.COMMAND, at_once=True)


def _push_due(
    host: Host, file_pks: list[int], cause: PropagationRun.Cause, *, at_once: bool = False
) -> PropagationRun | None:
    """Brings some accounts of one host, outside the run over all of them, as a run of its own."""
    started = timezone.now()
    pushes = _pushes(host, file_pks, at_once=at_once, asks=cause is PropagationRun.Cause.COMMAND)
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


def _pushes(host: Host, file_pks: list[int], *, at_once: bool = False, asks: bool = False) -> list[Push]:
    pushes: list[Push] = []
    try:
        with _reached(host, at_once=at_once) as files:
            place, roster = key_place(host, files), Roster(host, files)
            if asks:
                roster.ask()
            leave = _leave_between_runs(host, files, file_pks, asks=asks)
            settled, others = by_haste(file_pks)
            pushes += bring(host, files, place, roster, settled, needs_home=False, leave=leave)
            early = take_out(host, files, place, roster, others, leave=leave)
            pushes += early.ended

            def helped() -> None:
                bringing = partial(bring, host, files, place, roster, leave=leave, seen=early.seen)
                pushes.extend(bringing(early.left, needs_home=True))
                # Those who left are known by their absence.
                roster.settle(may_drop=leave.unasked > 0)

            if asks:
                helped()
            else:  # what is left to whoever waits there already stays in its row
                _helped.work(host.pk, helped)
    except HostError as error:
        return pushes + _failed(file_pks, pushes, error, asks=asks)
    except Exception as error:  # the log has it; whoever saved is told that it is tried again
        logger.exception("What was saved for host %s could not be brought.", host.pk)
        return pushes + _failed(file_pks, pushes, Unexpected.of(error), asks=asks)
    if got_through(pushes):
        retry_now(host)
    return pushes


def _failed(file_pks: list[int], done: list[Push], error: HostError, *, asks: bool) -> list[Push]:
    """What becomes of those files that were not brought before this error; another worker may have brought some
    (`asks`: they were to be brought whatever their state)."""
    files = KeyFile.objects.filter(pk__in=file_pks).filter(free_to_take())
    if not asks:
        files = files.exclude(state=KeyFile.State.ON_HOST)
    accounts = set(files.values_list("account_id", flat=True)) - {push.account_pk for push in done}
    fail_noted(files.filter(account__in=accounts), error.code, error.message)
    return [Push(pk, Outcome.FAILED, error.code, error.message[:400]) for pk in sorted(accounts)]


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
        # Of many who fail at once each tells of the same try.
        paused = {"tries": host.tries + 1, "next_try": timezone.now() + pause_after(host.tries)}
        # Why it is stopped stands in its row already, in the words of that moment.
        told = {} if isinstance(error, (HostStopped, HostKeyChanged)) else {"reason": error.message[:400]}
        if told:
            Host.objects.filter(pk=host.pk).update(**told, **(paused if error.retry else {}))
        raise
    # With a key that was replaced meanwhile nothing would be reached any more.
    rows = Host.objects.filter(pk=host.pk, client_key_public=host.client_key_public)
    rows.update(last_ok=timezone.now(), tries=0, next_try=None, reason="")


def _leave_between_runs(host: Host, files: HostFiles, file_pks: list[int], *, asks: bool) -> Leave:
    """A handful an account; nothing while the last run over the host waits for a decision, nor where these accounts
    together would lose more than that, or those whom another list leaves out: the next run over all decides.

    `asks`: the host is asked what it has, and told anew if that is something else, though it was told just this list:
    an older database does not know what was told since."""
    is_too_much = _awaits_decision(host) or (len(file_pks) > 1 and _is_too_much(files, file_pks))
    may_tell = host.kind != Host.Kind.EMBEDDED and (asks or is_untold(host))
    is_too_much = is_too_much or (may_tell and _leaves_out_too_many(host, files))
    return Leave(0 if is_too_much else FEW_KEYS)


def _leaves_out_too_many(host: Host, files: HostFiles) -> bool:
    """Whether a list of the accounts we know would take keys off the host that nobody asked to remove, and more than
    is usual: who is not in it loses account and key file there, and rows may be lost."""
    look = _Part(HostRun(run=PropagationRun(cause=PropagationRun.Cause.SAVED), host=host), "")
    plan = look.look(files)
    look.look_at_strangers(files, plan)
    return look.stops(plan)


def _awaits_decision(host: Host) -> bool:
    """Whether the last run that got through to the host was stopped, and nobody has allowed what it would have
    removed."""
    ended = HostRun.objects.filter(host=host, state__in=HostRun.ENDED).exclude(state=HostRun.State.FAILED)
    last = ended.order_by("-finished").first()
    return last is not None and last.state == HostRun.State.STOPPED and last.allowed is None


def _is_too_much(files: HostFiles, file_pks: list[int]) -> bool:
    """Whether bringing these files would remove more keys that nobody asked to remove than is usual."""
    keys = unasked = 0
    for start in range(0, len(file_pks), LOOKED_AT_ONCE):
        some = list(wanted(KeyFile.objects.filter(pk__in=file_pks[start : start + LOOKED_AT_ONCE])))
        by_path = {paths.key_file(paths.username(one.username)): one for one in some}
        found = [(by_path[path], read) for path, read in read_ours(files, by_path, LARGEST_FILE)]
        keys += sum(_keys_in(one) for one in some)
        unasked += len(_unasked(found))
    return _stops(unasked, keys)


def _keys_in(one: Wanted) -> int:
    """How many keys the file should hold."""
    return max(0, one.content.count(b"\n") - 1)


def _unasked(found: Iterable[tuple[Wanted, FileRead | HostError]]) -> list[tuple[int, str, str]]:
    """Account, name and fingerprint of each key that would go from these files although nobody asked."""
    some = [(one, read) for one, read in found if isinstance(read, FileRead) and read.content != one.content]
    asked = asked_since(one for one, _ in some)
    return [
        (one.account_pk, one.username, print)
        for one, read in some
        for print in difference(read.content, one.content, one.known, asked.get(one.account_pk, Asked())).unasked
    ]


def _stops(unasked: int, keys: int) -> bool:
    """Whether the removal of so many keys that nobody asked to remove, of those and `keys` others, has to wait."""
    return must_stop(
        unasked,
        keys + unasked,
        most_keys=settings.PROPAGATION_MOST_UNASKED_KEYS,
        most_percent=settings.PROPAGATION_MOST_UNASKED_PERCENT,
    )


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
    """Does a run's part on one host; nothing if another worker is at it.

    If this worker is at another part on that host, it is left to the thread that does that.
    """
    if part := HostRun.objects.filter(pk=part_pk).first():
        _parts.work(part.host_id, lambda: _parts_do(part))


def _parts_do(first: HostRun) -> None:
    _part_do(first.pk)
    # Whoever ran a command waits for its parts, and does them himself.
    others = HostRun.objects.filter(host=first.host_id, run__state=PropagationRun.State.RUNNING).filter(free_to_take())
    others = others.exclude(state__in=HostRun.ENDED).exclude(run__cause=PropagationRun.Cause.COMMAND)
    for part_pk in others.order_by("pk").values_list("pk", flat=True):
        _part_do(part_pk)


def _part_do(part_pk: int) -> None:
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

    place: KeyPlace = field(default_factory=KeyPlace)
    marks: dict[str, Mark] = field(default_factory=dict)
    # Files whose owner, group or permissions are not as ours have them: they are replaced, whatever is in them.
    anew: set[int] = field(default_factory=set)
    to_read: list[int] = field(default_factory=list)
    to_bring: list[int] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    temporaries: list[str] = field(default_factory=list)
    keys: int = 0
    unasked: list[tuple[int, str, str]] = field(default_factory=list)
    # Things among the key files that are none: they let nobody in, and stay.
    odd: list[str] = field(default_factory=list)
    # Files of no account of ours that the portal may not read.
    shut: list[str] = field(default_factory=list)
    # What has the name of a temporary file and cannot be removed.
    stuck: list[str] = field(default_factory=list)
    # Among the strangers is a set of ours that this database has never heard of: it may be an old one, restored.
    is_newer: bool = False


# The code of a part that has found that it must ask, and goes on with what waits for no answer.
_MUST_ASK = "must-ask"


class _Part:
    """One run's part on one host, while one worker does it."""

    def __init__(self, part: HostRun, token: str) -> None:
        self._part, self._run, self._host, self._token = part, part.run, part.host, token
        self._now = timezone.now()
        # Told so once, it waits for a person even if the host, or the worker that was told, is lost before the end.
        self._must_ask = part.code == _MUST_ASK

    def do(self) -> None:
        """Does it; a host that cannot be reached ends this part and nothing else."""
        self._begin()
        try:
            with _reached(self._host, at_once=True) as files:
                self._walk(files)
        except HostError as error:
            self._host_failed(error)
        except LeaseLost:
            raise
        except Exception as error:  # the log has it; a part that never ended would be done again and again
            logger.exception("A run's part on host %s could not be done.", self._host.pk)
            self._host_failed(Unexpected.of(error))

    def _begin(self) -> None:
        part = self._part
        self._run.failures.filter(account__host=self._host).delete()
        part.state, part.started = HostRun.State.RUNNING, self._now
        part.total = KeyFile.objects.filter(account__host=self._host).count()
        part.code, part.reason = _MUST_ASK if self._must_ask else "", ""
        for name in COUNTERS:
            setattr(part, name, 0)
        self._count(Counter())

    def _walk(self, files: HostFiles) -> None:
        roster = Roster(self._host, files)
        roster.ask()
        plan = self.look(files, wakes=True)
        self.compare(files, plan)
        self.look_at_strangers(files, plan)
        may_go_on = self._may_go_on(plan)
        leave = Leave(ANY if may_go_on else 0)
        settled, others = by_haste(plan.to_bring)
        early = take_out(self._host, files, plan.place, roster, others, leave=leave, anew=plan.anew)
        self._note_pushes(early.ended)
        for pks, needs_home in ((settled, False), (early.left, True)):
            bringing = partial(bring, self._host, files, plan.place, roster, needs_home=needs_home, anew=plan.anew)
            for start in range(0, len(pks), LOOKED_AT_ONCE):
                some = pks[start : start + LOOKED_AT_ONCE]
                pushes = list(bringing(some, run=self._run, leave=leave, seen=early.seen))
                self._note_pushes(pushes, unchanged=len(some) - len(pushes))
        if may_go_on:
            self._strangers_remove(files, plan)
        self._sweep(files, plan)
        roster.settle(may_drop=may_go_on)
        self._part.code = ""
        self._note_odd(plan)
        if may_go_on and roster.untold is not None:
            reason = " ".join(filter(None, (roster.untold.message, self._part.reason)))
            self._part.code, self._part.reason = roster.untold.code, reason[:400]
        if not self._part.failed:
            retry_now(self._host)
        self._end(HostRun.State.DONE if may_go_on else HostRun.State.STOPPED)

    def _note_pushes(self, pushes: list[Push], *, unchanged: int = 0) -> None:
        self._count(tally(pushes) + Counter(unchanged=unchanged))
        _note_failures(self._run, pushes)

    def _note_odd(self, plan: _Plan) -> None:
        """Tells ops, in the run's row, of what lies among the key files and is none of the portal's."""
        met = ((_SHUT, plan.shut), (_STUCK, plan.stuck), (_ODD, plan.odd))
        told = [
            (code, sentence.format(names=_some(names)))
            for code, (sentence, names) in zip(HostRun.ODD, met, strict=True)
            if names
        ]
        if told:
            self._part.code, self._part.reason = told[0][0], " ".join(sentence for _, sentence in told)[:400]

    def _sweep(self, files: HostFiles, plan: _Plan) -> None:
        """Removes what broken pushes left behind. Raises the end of the connection if that came before all was done.

        Who writes key files holds their leases. If nobody does now, then the temporaries that were there when this
        run began are those of pushes that are over, however lately; else those are that are old.
        """
        try:
            files.sweep(paths.keys_directory(), STALE)
            if not KeyFile.objects.filter(account__host=self._host).exclude(free_to_take()).exists():
                plan.stuck = [name for name in plan.temporaries if not _is_removed(files, name)]
        except HostError as error:
            if self._part.failed and isinstance(error, (HostDown, BadAnswer)):
                raise
            logger.warning("What broken pushes left on host %s was not removed: %s", self._host.pk, error.code)

    def look(self, files: HostFiles, *, wakes: bool = False) -> _Plan:
        """One listing, held against what every account's file should be. `wakes`: the helper there may be asked to
        mend the directory first."""
        plan = _Plan()
        plan.place = key_place(self._host, files, wakes=wakes)
        with suppress(NotThere):
            for entry in files.listing(paths.keys_directory()):
                is_file = entry.kind is EntryKind.FILE
                sound = is_file and plan.place.is_sound(entry)
                plan.marks[entry.name] = Mark(entry.size, entry.modified if is_file else -1, sound)
        names = set()
        for one in wanted(KeyFile.objects.filter(account__host=self._host)):
            names.add(one.username)
            plan.keys += _keys_in(one)
            self._sort(plan, one)
        retired = RetiredUsername.objects.filter(cleared=None).values_list("username", flat=True)
        plan.temporaries = [name for name in plan.marks if is_temporary(name)]
        plan.strangers = sorted(plan.marks.keys() - names - set(retired) - set(plan.temporaries))
        return plan

    def _sort(self, plan: _Plan, one: Wanted) -> None:
        due_since = one.read_at + READ_AFTER + timedelta(minutes=one.file_pk % SPREAD_MINUTES) if one.read_at else None
        read_due = self._run.thorough or due_since is None or due_since <= self._now
        mark = plan.marks.get(one.username)
        if mark is not None and not mark.sound:
            plan.anew.add(one.file_pk)
        look = look_at(one.digest, one.known, mark, read_due=read_due)
        if look is Look.WRITE or (look is Look.LEAVE and not one.on_host):
            plan.to_bring.append(one.file_pk)
        elif look is Look.READ:
            plan.to_read.append(one.file_pk)
        else:
            self._part.unchanged += 1

    def compare(self, files: HostFiles, plan: _Plan, *, is_noted: bool = True) -> None:
        """Reads what the listing could not vouch for: what is right is noted, the rest is to be brought.

        Raises HostError if the line breaks meanwhile."""
        for start in range(0, len(plan.to_read), LOOKED_AT_ONCE):
            some = wanted(KeyFile.objects.filter(pk__in=plan.to_read[start : start + LOOKED_AT_ONCE]))
            by_path = {paths.key_file(paths.username(one.username)): one for one in some}
            right: list[tuple[Wanted, FileRead]] = []
            differing: list[tuple[Wanted, FileRead | HostError]] = []
            # A look that writes nothing gives no file its mode back either.
            reading = partial(read_ours, files) if is_noted else files.read_many
            for path, found in reading(by_path, LARGEST_FILE):
                if isinstance(found, (HostDown, BadAnswer)):
                    # Raises if it was the line, not this file: of what was not read nobody knows what it would lose.
                    files.stat(paths.keys_directory())
                one = by_path[path]
                may_stay = one.on_host and one.file_pk not in plan.anew
                if isinstance(found, FileRead) and found.content == one.content and may_stay:
                    right.append((one, found))
                else:
                    differing.append((one, found))
            plan.to_bring += [one.file_pk for one, _ in differing]
            plan.unasked += _unasked(differing)
            if is_noted:
                note_read(None, right, set(), self._now)
                self._count(Counter(unchanged=len(right)))

    def _may_go_on(self, plan: _Plan) -> bool:
        """Whether this may remove what it would; ops are told if not."""
        self._must_ask = self.stops(plan)
        self._part.code = _MUST_ASK if self._must_ask else ""
        self._count(Counter())
        if self._must_ask:
            self._tell("keys-run-stopped", f"unasked-{self._host.pk}-{self._part.unasked_digest}")
            return False
        return True

    def stops(self, plan: _Plan) -> bool:
        """Whether this would remove more that nobody asked to remove than is usual, and nobody has allowed it."""
        part, count = self._part, len(plan.unasked)
        part.unasked = count
        part.unasked_digest = removal_digest(plan.unasked)
        stops = _stops(count, plan.keys)
        is_allowed = HostRun.objects.filter(
            host=self._host, unasked_digest=part.unasked_digest, allowed__gte=self._now - ALLOWED_FOR
        ).exists()
        return not is_allowed and (stops or plan.is_newer)

    def look_at_strangers(self, files: HostFiles, plan: _Plan) -> None:
        """Files of no account of ours. The keys in them count as removed by nobody: an account's row may be lost."""
        found, plan.shut = _strangers(files, plan.strangers)
        plan.odd = sorted(set(plan.strangers) - found.keys() - set(plan.shut))
        plan.strangers = [name for name, stranger in found.items() if stranger is not None]
        for name, (lines, stamp) in ((name, stranger) for name, stranger in found.items() if stranger is not None):
            prints = [line.fingerprint for line in lines if line.fingerprint]
            plan.unasked += [(0, name, print) for print in prints]
            plan.is_newer |= bool(prints and stamp and is_newer("", stamp))

    def _strangers_remove(self, files: HostFiles, plan: _Plan) -> None:
        for start in range(0, len(plan.strangers), REMOVED_AT_ONCE):
            found, _ = _strangers(files, plan.strangers[start : start + REMOVED_AT_ONCE])
            for name, stranger in found.items():
                if stranger is not None and not self._has_holder(name):
                    rows = found_rows(self._host, None, name, stranger[0])
                    FoundLine.objects.bulk_create(rows, ignore_conflicts=True)
                    with suppress(NotThere):
                        files.remove(paths.key_file(paths.username(name)))
                    self._count(Counter(drifted=1, removed=len(stranger[0])))

    def _has_holder(self, name: str) -> bool:
        """Whether an account here, with a key file to bring, has taken this name since the look at the host."""
        if KeyFile.objects.filter(account__host=self._host, account__username=name).exists():
            return True
        return RetiredUsername.objects.filter(username=name, cleared=None).exists()

    def _host_failed(self, error: HostError) -> None:
        """What waits on this host is told why, and when it is tried again."""
        self._part.code, self._part.reason = error.code, error.message[:400]
        # Behind a shut directory no file lets anybody in, whatever was said of it before.
        told_of = KeyFile.objects.all() if isinstance(error, KeysShut) else due()
        waiting = told_of.filter(account__host=self._host).filter(free_to_take()).order_by()
        fail_noted(KeyFile.objects.filter(pk__in=list(waiting.values_list("pk", flat=True))), error.code, error.message)
        part = self._part
        part.failed = max(0, part.total - part.written - part.unchanged - part.held)
        if not error.retry or isinstance(error, KeysShut):
            self._tell("host-stopped", f"host-{self._host.pk}-{self._alarm(error)}")
        self._end(HostRun.State.STOPPED if self._must_ask else HostRun.State.FAILED)

    def _alarm(self, error: HostError) -> str:
        """What tells one alarm from any other. A host that stands still because of another key is told once for that
        key, and again after each whole day, whoever has met the key first: most often that is no run."""
        if isinstance(error, (HostKeyChanged, HostStopped)):
            offered, since = Host.every.values_list("offered_key", "offered_at").get(pk=self._host.pk)
            if offered and since is not None:
                days = max(timedelta(), self._now - since).days
                return f"key-{digest_of(offered.encode('ascii'))[:16]}-{since:%Y%m%d}-{days}"
        return f"{error.code}-{timezone.localdate():%Y%m%d}"

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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SOME} more" if len(names) > SOME else ""
    return ", ".join(f"“{paths.shown(name, 40)}”" for name in names[:SOME]) + more


def _is_removed(files: HostFiles, name: str) -> bool:
    """Removes one temporary file; False if something with its name is not to be removed, such as a full directory."""
    try:
        files.remove(paths.keys_directory().child(name))
    except NotThere:
        return True
    except (HostDown, BadAnswer):
        raise
    except HostError as error:
        logger.warning("“%s” in the directory of key files was not removed: %s", paths.shown(name, 80), error.code)
        return False
    return True


def _strangers(files: HostFiles, names: Iterable[str]) -> tuple[dict[str, _Stranger | None], list[str]]:
    """By name what stands in key files of no account of ours, and its stamp; and the names of those we may not read.

    None for what is to stay: what a renamed account left under its old name, which lets nobody in. What is no user
    name or no file is left out. Raises HostError where the host fails.
    """
    shut: list[str] = []
    by_path: dict[paths.HostPath, str] = {}
    for name in names:
        with suppress(NotSafe):
            by_path[paths.key_file(paths.username(name))] = name
    told: dict[str, _Stranger | None] = {}
    for path, found in files.read_many(by_path, LARGEST_FILE):
        if not isinstance(found, HostError):
            lines, stamp = found_lines(found.content), stamp_of(found.content)
            told[by_path[path]] = None if stamp and not lines else (lines, stamp)
        elif isinstance(found, (TooLarge, NotThere)):
            is_large = isinstance(found, TooLarge)
            told[by_path[path]] = ((too_large(LARGEST_FILE),), None) if is_large else None
        elif isinstance(found, Refused):
            shut.append(by_path[path])
        elif not isinstance(found, NotSafe):
            raise found
    return told, sorted(shut)


def unasked_of(part: HostRun) -> list[tuple[int, str, str]]:
    """What a stopped run would remove from its host although nobody asked, as it is now: account (0: none of ours),
    name of its file, fingerprint. Nothing is written. Raises HostError."""
    look = _Part(part, "")
    with connected(part.host) as files:
        plan = look.look(files)
        look.compare(files, plan, is_noted=False)
        look.look_at_strangers(files, plan)
    return sorted(plan.unasked)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run would do to a host besides bringing what differs. `strangers`: names of files of no account, which it
    would remove; `unsound`: of accounts whose file it would replace for its owner, group or permissions; `odd`: of
    what is no key file and stays; `shut`: of what cannot be read and stays; `unasked`: keys that would go although
    nobody asked."""

    strangers: tuple[str, ...]
    unsound: tuple[str, ...]
    odd: tuple[str, ...]
    shut: tuple[str, ...]
    unasked: int
    would_stop: bool


def outlook(host: Host) -> Outlook:
    """What a run over this host would come to, as it is now. Nothing is written. Raises HostError."""
    look = _Part(HostRun(run=PropagationRun(cause=PropagationRun.Cause.COMMAND), host=host), "")
    with connected(host) as files:
        plan = look.look(files)
        look.compare(files, plan, is_noted=False)
        look.look_at_strangers(files, plan)
    unsound = KeyFile.objects.filter(pk__in=plan.anew).order_by("account__username")
    names = tuple(unsound.values_list("account__username", flat=True))
    stays = (tuple(plan.odd), tuple(plan.shut))
    return Outlook(tuple(plan.strangers), names, *stays, len(plan.unasked), look.stops(plan))


# --- The sweep ---------------------------------------------------------------------------------------------------


def hosts_left_behind() -> list[int]:
    """Hosts for which something waits although its nudge was lost, or that have not heard who is theirs."""
    files = left_behind().filter(free_to_take()).order_by()
    return sorted({*files.values_list("account__host", flat=True).distinct(), *hosts_untold()})


def sweep_host(host_pk: int) -> None:
    """Pushes what waits on one host although its nudge was lost; nothing if this worker is at that already."""
    _sweeps.work(host_pk, lambda: _sweep_host(host_pk))


def _sweep_host(host_pk: int) -> None:
    files = left_behind().filter(free_to_take(), account__host=host_pk)
    host = Host.every.get(pk=host_pk)
    if file_pks := list(files.values_list("pk", flat=True)[:PUSHED_AT_ONCE]):
        _push_due(host, file_pks, PropagationRun.Cause.SWEEP)
    elif is_untold(host) and not _awaits_decision(host):
        with suppress(HostError):
            # An older database does not know whom it leaves out.
            may_drop = not outlook(host).would_stop
            with _reached(host) as there:
                Roster(host, there).settle(may_drop=may_drop)


def runs_left() -> list[int]:
    """Runs whose worker died or whose nudge was lost; and the hourly one, if it did not come."""
    if is_overdue():
        logger.error("The scheduled run over all accounts did not come for an hour; the sweep does it now.")
        hourly_make()
    return list(unfinished_runs().values_list("pk", flat=True))
