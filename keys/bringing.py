"""Brings many accounts' key files to one host at once: read, judge, quarantine, write, read back, note.

Whoever calls this has a connection; what is asked for by whom stands in `propagation`.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.leases import free_to_take, lease_kept
from accounts.models import District, RetiredUsername
from hosts import provision
from hosts.core import paths
from hosts.core.errors import (
    BadAnswer,
    HostDown,
    HostError,
    NotEmpty,
    NotSafe,
    NotThere,
    Refused,
    TooLarge,
)
from hosts.files import EntryKind, FileRead, HostFiles
from hosts.keyplace import KeyPlace, read_ours
from hosts.models import Host

from .core.drift import Asked, difference, digest_of
from .models import KeyFile, PropagationRun
from .retrying import OF_THE_HOST, fail_noted
from .taking_out import (
    LARGEST_FILE,
    NOT_KEPT,
    NewerOnHost,
    ReadBackDiffers,
    TakingOut,
    asked_since,
    content_at,
    content_of,
    found_at,
    written,
)
from .telling import Roster, Told, told_before
from .wanted import Wanted, wanted

logger = logging.getLogger(__name__)
# Accounts under way together: enough to keep a line with a long round trip full, few enough to stay small.
CHUNK = 1000
NOT_READABLE = (
    "It was written, but the SFTP host cannot read it: it came to have another owner, group or permissions than a key "
    "file must have. Our staff look at the directory of key files there."
)
DIRECTORY_THERE = "On the SFTP host a directory that is not empty stands in the key file's place. Our staff remove it."
# In place of a lease that is over: the session with the host ended before all of its answers had come.
BROKEN_OFF = "broken-off"


class Outcome(Enum):
    """What became of one account's file; the value is the counter of the run."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    HELD = "held"


class NotReadable(HostError):
    """What was written has not the owner, group or mode that whoever serves sign-ins there needs."""

    code = "not-readable"
    retry = True


class Unexpected(HostError):
    """A fault of ours, or something of a host's that nobody has thought of."""

    code = "unexpected"
    retry = True

    @classmethod
    def of(cls, error: Exception) -> "Unexpected":
        """This for any error; of that only its kind is told: its text may hold anything."""
        return cls(f"Something went wrong on our side ({type(error).__name__}). We try again.")


# What was asked for last may be done all the same.
_ANSWERS_MISSING = {error.code for error in (HostDown, BadAnswer, Unexpected)}


class DirectoryThere(HostError):
    """A directory with something in it stands where the key file should."""

    code = "directory-there"


class UnaskedRemoval(HostError):
    """Writing the file would remove keys that nobody asked to remove, and many more of them on this host."""

    code = "unasked-removal"

    def __init__(self) -> None:
        super().__init__("It would lose keys that nobody asked to remove. Our staff look at it first.")


@dataclass(frozen=True, slots=True)
class Push:
    """What became of one account; `code` and `reason` say why it failed or is held."""

    account_pk: int
    outcome: Outcome
    code: str = ""
    reason: str = ""
    drifted: bool = False
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Leave:
    """How many keys of one account may go although nobody asked to remove them."""

    unasked: int


@dataclass(slots=True)
class TakenOut:
    """What `take_out` came to: accounts it ended, files that are still to be brought, and what was met in those."""

    ended: list[Push] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    seen: dict[int, Push] = field(default_factory=dict)


@dataclass(slots=True)
class _Work:
    """One chunk on its way: what is wanted, what has become of it so far."""

    host: Host
    files: HostFiles
    taking: TakingOut
    place: KeyPlace
    roster: Roster
    needs_home: bool
    token: str
    run: PropagationRun | None
    # Files to be put there anew whatever is in them.
    anew: set[int]
    # What was met by who took out of these files what had to go.
    seen: Mapping[int, Push]
    todo: dict[int, Wanted] = field(default_factory=dict)
    there: dict[int, FileRead] = field(default_factory=dict)
    # Accounts with a file, or something else in its place, that nobody can read.
    lost: set[int] = field(default_factory=set)
    # Accounts that nobody can sign in to, whatever is in their file.
    shut: dict[int, HostError] = field(default_factory=dict)
    pushes: dict[int, Push] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    # Files that another session, or this one, may still put in place although nobody waits for it any more.
    late: set[int] = field(default_factory=set)

    def told(self, push: Push) -> Push:
        """The same, and whether foreign lines were met, be it under a name that the account had before."""
        return replace(push, drifted=push.drifted or push.account_pk in self.taking.drifted)

    def end(self, account_pk: int, push: Push) -> None:
        self.pushes[account_pk] = self.told(push)
        if one := self.todo.pop(account_pk, None):
            self.ended.add(one.file_pk)


def bring(
    host: Host,
    files: HostFiles,
    place: KeyPlace,
    roster: Roster,
    file_pks: Iterable[int],
    *,
    needs_home: bool,
    run: PropagationRun | None = None,
    leave: Leave,
    anew: Collection[int] = (),
    seen: Mapping[int, Push] = MappingProxyType({}),
) -> Iterator[Push]:
    """Brings these key files to their host, a chunk at a time. Files that another worker holds are passed over.

    `needs_home`: they are the second of those that `by_haste` tells apart. One that does not stand as `place` says is
    replaced even if its content is right; so are those in `anew`, which did not when they were looked at. `seen`: what
    `take_out` met in them.
    """
    pks = list(file_pks)
    for start in range(0, len(pks), CHUNK):
        token = secrets.token_hex(16)
        taking = TakingOut(host, files, {pk for pk, push in seen.items() if push.drifted})
        work = _Work(host, files, taking, place, roster, needs_home, token, run, set(anew), seen)
        yield from _chunk(work, pks[start : start + CHUNK], leave, _do)


def take_out(
    host: Host,
    files: HostFiles,
    place: KeyPlace,
    roster: Roster,
    file_pks: Iterable[int],
    *,
    leave: Leave,
    anew: Collection[int] = (),
) -> TakenOut:
    """Before the second of those that `by_haste` tells apart wait for a helper: keys that are to go from their files,
    go. What else becomes of the files is left to `bring`; nothing is noted of them but what failed or must wait."""
    pks = list(file_pks)
    found = TakenOut()
    for start in range(0, len(pks), CHUNK):
        some = pks[start : start + CHUNK]
        # Whoever was never there has nothing to lose.
        may_lose = KeyFile.objects.filter(Q(host_version__gt=0) | Q(account__in=_renamed()), pk__in=some)
        known = list(may_lose.values_list("pk", flat=True))
        taking = TakingOut(host, files)
        work = _Work(host, files, taking, place, roster, False, secrets.token_hex(16), None, set(anew), {})
        if known:
            _chunk(work, known, leave, _take_out_early)
        found.left += [pk for pk in some if pk not in work.ended]
        found.ended += [push for account_pk, push in work.pushes.items() if account_pk not in work.todo]
        for account_pk in work.todo.keys() & (work.pushes.keys() | taking.drifted):
            found.seen[account_pk] = work.told(work.pushes.get(account_pk) or Push(account_pk, Outcome.WRITTEN))
    return found


def _renamed() -> QuerySet[RetiredUsername, int]:
    """The accounts that their host may still know by a name they had before."""
    return RetiredUsername.objects.filter(cleared=None).values_list("account", flat=True)


def by_haste(file_pks: Iterable[int]) -> tuple[list[int], list[int]]:
    """Files of accounts that have a home on their host under the name of today, or need none, and the others, for
    which a helper there may have to be waited for."""
    pks = list(file_pks)
    homeless = Q(has_home=False, account__host__kind=Host.Kind.OPENSSH)
    homeless &= ~Q(account__district__state=District.State.CLOSED)
    without = KeyFile.objects.filter(homeless | Q(account__in=_renamed()))
    # Asked for by number, a thousand at a time: SQLite takes so many and no more.
    slow: set[int] = set()
    for start in range(0, len(pks), CHUNK):
        slow.update(without.filter(pk__in=pks[start : start + CHUNK]).values_list("pk", flat=True))
    return [pk for pk in pks if pk not in slow], [pk for pk in pks if pk in slow]


def _chunk(work: _Work, pks: list[int], leave: Leave, do: Callable[[_Work, Leave], None]) -> list[Push]:
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    # The host is compared here: asked for both at once, SQLite tries each number against every account of the host.
    hosts = KeyFile.objects.filter(pk__in=pks).values_list("pk", "account__host_id")
    here = [pk for pk, host_pk in hosts if host_pk == work.host.pk]
    free = KeyFile.objects.filter(pk__in=here).filter(free_to_take())
    taken = free.filter(lease_token="").update(lease_token=work.token, lease_until=until)
    # Their last holder said that it broke off, or died.
    work.late.update(free.exclude(lease_token="").values_list("pk", flat=True))
    taken += free.filter(pk__in=work.late).update(lease_token=work.token, lease_until=until)
    if not taken:
        return []
    held = KeyFile.objects.filter(lease_token=work.token)
    with lease_kept(held, work.token), _broken_off_told(work, here):
        work.todo = {one.account_pk: one for one in wanted(held)}
        try:
            do(work, leave)
        except Exception as error:  # the log has it; whoever asked goes on with the others
            logger.exception("The key files of %s accounts could not be brought.", len(work.todo))
            told = Unexpected.of(error)
            for account_pk in list(work.todo):
                _fail(work, account_pk, told.code, told.message)
    return list(work.pushes.values())


@contextmanager
def _broken_off_told(work: _Work, file_pks: Collection[int]) -> Iterator[None]:
    """Tells the next who takes them of files that may still come late, whatever is saved or answers until then."""
    try:
        yield
    except BaseException:
        work.late.update(file_pks)
        raise
    finally:
        late = KeyFile.objects.filter(pk__in=work.late)
        # Who took them over while we hung has looked too early.
        late.exclude(lease_token=work.token).update(state=KeyFile.State.WAITING)
        late.filter(lease_token=work.token).update(lease_token=BROKEN_OFF, lease_until=None)


def _do(work: _Work, leave: Leave) -> None:
    _call_off(work)
    _clear_retired_names(work)
    _read(work)
    _judge(work, leave)
    # Only now: the database may not even know an account's name any more, and a home under another would be in the way.
    _make_homes(work, leave)
    _let_go(work)
    written = _write(work)
    _note(work, written)


def _take_out_early(work: _Work, leave: Leave) -> None:
    _call_off(work)
    _take_out_of_retired(work, leave)
    _read(work)
    _judge(work, leave)
    _let_go(work)
    losing = {pk for pk, push in work.pushes.items() if pk in work.todo and (push.removed or push.drifted)}
    later = {pk: work.todo.pop(pk) for pk in work.todo.keys() - losing}
    _doubt(work, [work.todo[pk].file_pk for pk in _write(work)])
    work.todo |= later


def _take_out_of_retired(work: _Work, leave: Leave) -> None:
    """What is to go from a file under a name that an account had before goes; what stays works on until the host has
    the account under its new name."""
    for retired in RetiredUsername.objects.filter(account__in=list(work.todo), cleared=None):
        one = work.todo.get(retired.account_id)
        if one is not None and one.username != retired.username:
            with _failing_alone(work, one.account_pk):
                path = paths.key_file(paths.username(retired.username))
                work.taking.asked_for(path, one, most_unasked=leave.unasked)


def _call_off(work: _Work) -> None:
    """Before anything is read: what a session that broke off had written whole, but not yet renamed, goes.

    Its rename may be waiting in a host that stood still, and would put an older set over what we call done. Nobody
    else writes these files now, and what that session had not begun it asks for no more.
    """
    late = [one for one in work.todo.values() if one.file_pk in work.late]
    if not late:
        return
    whose = {one.username: one.account_pk for one in late}
    renamed = RetiredUsername.objects.filter(account__in=[one.account_pk for one in late], cleared=None)
    # An account may have taken the name that another of these gave up.
    names = [*whose.items(), *renamed.values_list("username", "account")]
    try:
        stay = work.files.call_off(paths.keys_directory(), {name for name, _ in names})
    except HostError as error:
        stay = dict.fromkeys(whose, error)
    failed = {account_pk: stay[name] for name, account_pk in names if name in stay}
    work.late.difference_update(one.file_pk for one in late if one.account_pk not in failed)
    for account_pk, why in failed.items():
        _fail(work, account_pk, why.code, why.message)


def _let_go(work: _Work) -> None:
    """Leaves to its new holder what another took over while we hung: what we know of it may be an older set."""
    held = set(KeyFile.objects.filter(lease_token=work.token).values_list("account_id", flat=True))
    for account_pk in work.todo.keys() - held:
        del work.todo[account_pk]
        work.pushes.pop(account_pk, None)


def _make_homes(work: _Work, leave: Leave) -> None:
    """Whoever has no home yet gets one. On a machine of its own its helper makes them, from a list of all accounts."""
    if not work.todo:  # all have failed or wait: perhaps on a helper that is silent
        return
    if work.host.kind == Host.Kind.EMBEDDED:
        for one in list(work.todo.values()):
            with _failing_alone(work, one.account_pk):
                provision.home_make(work.files, paths.username(one.username))
        return
    # What is to be taken out of a file that is there waits for no helper.
    _heed(work, work.roster.settle(may_drop=leave.unasked > 0) if work.needs_home else told_before(work.host))


def _heed(work: _Work, told: Told) -> None:
    for one in list(work.todo.values()):
        if one.known.version and one.username in told.refused:
            logger.error("Host %s does not keep account %s in its list.", work.host.pk, one.account_pk)
        if (why := told.stands_in_the_way(one.username, has_home=one.has_home)) is None:
            continue
        if one.known.version:  # a key may have to go
            work.shut[one.account_pk] = why
        else:
            _fail(work, one.account_pk, why.code, why.message)


@contextmanager
def _failing_alone(work: _Work, account_pk: int) -> Iterator[None]:
    """One account's trouble must not keep the others waiting."""
    try:
        yield
    except HostError as error:
        _fail(work, account_pk, error.code, error.message)
    except Exception as error:  # the log has it
        logger.exception("The key file of account %s could not be made.", account_pk)
        told = Unexpected.of(error)
        _fail(work, account_pk, told.code, told.message)


def _clear_retired_names(work: _Work) -> None:
    """Renamed accounts: the old name's keys go first, then its home takes the new name. Once a helper is silent, none
    of the others waits for it."""
    # Renamed after we read the account: the name we know it by is retired by now, and the next push clears it.
    for retired in RetiredUsername.objects.filter(account__in=list(work.todo), cleared=None):
        one = work.todo.get(retired.account_id)
        if one is not None and one.username != retired.username:
            with _failing_alone(work, one.account_pk):
                # What stands under the name of today says more than what was left under an old one.
                own = paths.key_file(paths.username(one.username))
                try:
                    work.taking.look_for_newer(own, one, content_at(work.files, own))
                    _closed(work, paths.key_file(paths.username(retired.username)), one)
                except NewerOnHost:
                    _take_out_everywhere(work, one)
                    raise
                old, new = paths.username(retired.username), paths.username(one.username)
                work.roster.rename(old, new, one.account_pk)
                RetiredUsername.objects.filter(pk=retired.pk).update(cleared=timezone.now())


def _take_out_everywhere(work: _Work, one: Wanted) -> None:
    """What waits for no decision goes under all names that the account still has on the host."""
    retired = RetiredUsername.objects.filter(account=one.account_pk, cleared=None)
    for name in (one.username, *retired.values_list("username", flat=True)):
        path = paths.key_file(paths.username(name))
        work.taking.undisputed(path, one, content_at(work.files, path))


def _closed(work: _Work, path: paths.HostPath, one: Wanted) -> None:
    """Leaves no key under a name, but our stamp: a database from before the rename must not find the place empty."""
    found = found_at(work.files, path)
    if isinstance(found, TooLarge):
        work.taking.keep_too_large(path, one)
    work.taking.look_for_newer(path, one, content_of(found))
    work.files.make_directory(paths.keys_directory())
    _clear_place(work.files, path)
    written(work.files, path, one.content.partition(b"\n")[0] + b"\n")


def _read(work: _Work) -> None:
    by_path = {paths.key_file(paths.username(one.username)): one for one in work.todo.values()}
    for path, found in read_ours(work.files, by_path, LARGEST_FILE):
        one = by_path[path]
        if isinstance(found, FileRead):
            work.there[one.account_pk] = found
            if not work.place.is_sound(found):
                work.anew.add(one.file_pk)
        elif isinstance(found, TooLarge):
            work.taking.keep_too_large(path, one)
            work.lost.add(one.account_pk)
        elif isinstance(found, Refused):
            work.lost.add(one.account_pk)
        elif isinstance(found, NotSafe):
            with _failing_alone(work, one.account_pk):
                _clear_place(work.files, path)
                work.lost.add(one.account_pk)
        elif not isinstance(found, NotThere):
            _fail(work, one.account_pk, found.code, found.message, may_come_late=False)


def _clear_place(files: HostFiles, path: paths.HostPath) -> None:
    """Makes way for a file of ours: a link or a FIFO is replaced by it, a directory is not."""
    entry = files.stat(path)
    if entry is not None and entry.kind is EntryKind.DIRECTORY:
        try:
            files.remove(path)
        except NotEmpty:
            raise DirectoryThere(DIRECTORY_THERE) from None


def _judge(work: _Work, leave: Leave) -> None:
    """Ends what is right already or must wait, and takes what is foreign into quarantine."""
    # To an older set the keys of a newer one are foreign.
    _let_go(work)
    asked = asked_since(work.todo.values())
    for one in list(work.todo.values()):
        there = work.there.get(one.account_pk)
        if one.account_pk in work.lost or (there and there.content == one.content and one.file_pk in work.anew):
            work.pushes[one.account_pk] = Push(one.account_pk, Outcome.WRITTEN, drifted=True)
        if there is None or there.content == one.content:
            continue
        path = paths.key_file(paths.username(one.username))
        found = difference(there.content, one.content, one.known, asked.get(one.account_pk, Asked()))
        removed = 0
        try:
            work.taking.look_for_newer(path, one, there.content)
            if len(found.unasked) > leave.unasked:
                removed = work.taking.asked_for_of_held(one, there.content, found, token=work.token)
                raise UnaskedRemoval
        except HostError as error:
            held = isinstance(error, UnaskedRemoval)
            _fail(work, one.account_pk, error.code, error.message, held=held, removed=removed)
            continue
        work.taking.keep(path, one, found.foreign)
        work.pushes[one.account_pk] = Push(
            one.account_pk,
            Outcome.WRITTEN,
            drifted=found.drifted or one.file_pk in work.anew,
            removed=len(found.removed),
        )


def _write(work: _Work) -> dict[int, FileRead]:
    """Writes what differs and reads it back; returns all files that are now as they should be."""
    right = {
        pk: work.there[pk]
        for pk, one in work.todo.items()
        if pk in work.there and work.there[pk].content == one.content and one.file_pk not in work.anew
    }
    differing = {paths.key_file(paths.username(one.username)): one for pk, one in work.todo.items() if pk not in right}
    # Read back as they come, while the host is still at others.
    for path, found in work.files.read_many(_written_well(work, differing), LARGEST_FILE):
        one = differing[path]
        if isinstance(found, FileRead) and found.content == one.content:
            if work.place.is_sound(found):
                right[one.account_pk] = found
            else:
                _fail(work, one.account_pk, NotReadable.code, NOT_READABLE)
        elif isinstance(found, HostError) and not isinstance(found, (NotThere, TooLarge)):
            _fail(work, one.account_pk, found.code, found.message)
        else:
            _fail(work, one.account_pk, ReadBackDiffers.code, NOT_KEPT)
    return right


def _written_well(work: _Work, differing: Mapping[paths.HostPath, Wanted]) -> Iterator[paths.HostPath]:
    for path, error in work.files.write_many((path, one.content) for path, one in differing.items()):
        if error is None:
            yield path
        else:
            _fail(work, differing[path].account_pk, error.code, error.message)


def _note(work: _Work, right: dict[int, FileRead]) -> None:
    now = timezone.now()
    written = [one for pk, one in work.todo.items() if pk in right and right[pk] is not work.there.get(pk)]
    read = [(one, right[one.account_pk]) for one in work.todo.values()]
    # A file that is on the host has its set there, or neither is noted and all is done once more.
    with transaction.atomic():
        note_read(work.token, read, {one.file_pk for one in written}, now, shut=work.shut)
        new = [one for one in work.todo.values() if not one.on_host or one.version != one.known.version]
        sets_on_host([one for one in new if one.account_pk not in work.shut], work.run, now)
        for pk, why in work.shut.items():
            if pk in work.todo:
                _fail(work, pk, why.code, why.message)
    _doubt(work, [one.file_pk for one in written])
    for pk in work.todo:
        plain = Outcome.UNCHANGED if right[pk] is work.there.get(pk) else Outcome.WRITTEN
        work.pushes[pk] = work.told(work.pushes.get(pk) or work.seen.get(pk) or Push(pk, plain))


def _doubt(work: _Work, written: Collection[int]) -> None:
    """We hung, and another wrote before us: ours may be the older set, so the file is brought once more."""
    KeyFile.objects.filter(pk__in=written).exclude(lease_token=work.token).update(state=KeyFile.State.WAITING)


def note_read(
    token: str | None,
    read: Iterable[tuple[Wanted, FileRead]],
    written: set[int],
    now: datetime,
    *,
    shut: Collection[int] = (),
) -> None:
    """Notes what was read back: where this lease still holds, or without one where nothing was noted since.

    To accounts in `shut` nobody can sign in: how far they have got, and how often that was tried, stays.
    """
    moment = connection.ops.adapt_datetimefield_value(now)
    rows = []
    for one, found in read:
        is_new = one.file_pk in written or one.version != one.known.version
        is_shut = one.account_pk in shut
        rows.append(
            (
                *(one.version, digest_of(found.content), found.size, found.modified, moment, is_new, moment, False),
                *(one.version, is_shut, one.version, is_shut),
                *(one.file_pk, token if token is not None else one.known.digest),
            )
        )
    condition = "lease_token = %s" if token is not None else "digest = %s"
    _many(_NOTE.format(condition=condition), rows)


_NOTE = """
UPDATE keys_keyfile SET host_version = %s, digest = %s, host_size = %s, host_modified = %s, read_at = %s,
    next_digest = '',
    on_host_since = CASE WHEN %s OR on_host_since IS NULL OR is_doubted THEN %s ELSE on_host_since END,
    is_doubted = %s, found = CASE WHEN version = %s THEN NULL ELSE found END,
    tries = CASE WHEN %s THEN tries ELSE 0 END,
    next_try = NULL, code = '', reason = '', state = CASE WHEN version = %s AND NOT %s THEN 'on_host' ELSE state END
WHERE id = %s AND {condition}"""


def _many(statement: str, rows: list[tuple]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def sets_on_host(files: Iterable[Wanted], run: PropagationRun | None, now: datetime) -> None:
    """Notes that these sets, and those before them, are on the host."""
    moment = connection.ops.adapt_datetimefield_value(now)
    rows = [(moment, run.pk if run else None, one.account_pk, one.version) for one in files]
    _many(
        "UPDATE keys_keyset SET on_host = %s, run_id = %s WHERE account_id = %s AND version <= %s AND on_host IS NULL",
        rows,
    )


def _fail(
    work: _Work,
    account_pk: int,
    code: str,
    reason: str,
    *,
    held: bool = False,
    removed: int = 0,
    may_come_late: bool = True,
) -> None:
    one = work.todo[account_pk]
    if may_come_late and code in _ANSWERS_MISSING:
        work.late.add(one.file_pk)
    logger.warning("The key file of account %s was not brought to its host: %s", account_pk, code)
    files = KeyFile.objects.filter(pk=one.file_pk, lease_token=work.token, version=one.version)
    fail_noted(files, code, reason, again=not held)
    outcome = Outcome.HELD if held else Outcome.FAILED
    work.end(account_pk, Push(account_pk, outcome, code, reason[:400], removed=removed))


def got_through(pushes: Iterable[Push]) -> bool:
    """Whether the host did its part: none of these failed for what keeps out all accounts alike."""
    return not any(push.code in OF_THE_HOST for push in pushes)


def tally(pushes: Iterable[Push]) -> Counter[str]:
    """How many of each outcome, and how many drifted and removed."""
    counts: Counter[str] = Counter()
    for push in pushes:
        counts[push.outcome.value] += 1
        counts["drifted"] += push.drifted
        counts["removed"] += push.removed
    return counts
