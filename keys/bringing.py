"""Brings many accounts' key files to one host at once: read, judge, quarantine, write, read back, note.

Whoever calls this has a connection; what is asked for by whom stands in `propagation`.
"""

import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.core.roles import Role
from accounts.leases import free_to_take, lease_kept
from accounts.models import District, RetiredUsername, SftpAccount
from accounts.notices import administrators_of, notice_send, staff_in
from hosts import provision
from hosts.core import paths
from hosts.core.errors import HostError, NotThere, TooLarge
from hosts.files import FileRead, HostFiles
from hosts.models import Host

from .core import authorized_keys
from .core.drift import Asked, FoundLine, difference, digest_of
from .models import FoundLine as FoundLineRow
from .models import KeyFile, KeySet, LostKey, PropagationRun
from .selectors import is_known
from .wanted import Wanted, wanted

logger = logging.getLogger(__name__)
# Accounts under way together: enough to keep a line with a long round trip full, few enough to stay small.
CHUNK = 1000
# A host that is away is tried again after 15 s, 30 s, 1 min ... and at the latest with the hourly run.
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
# No authorized_keys file of ours comes near this; what is larger is not ours.
LARGEST_FILE = 4 * 1024 * 1024
NOT_KEPT = "The host answered, but the file read back is not what was written. We try again."
# Whatever removes keys for these reasons was asked for by somebody, whichever keys they are.
_ANY_KEY = {KeySet.Cause.ACCOUNT, KeySet.Cause.NETWORKS, KeySet.Cause.SETTLED, KeySet.Cause.DISABLED}


class Outcome(Enum):
    """What became of one account's file; the value is the counter of the run."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    HELD = "held"


class ReadBackDiffers(HostError):
    """The host did not keep what was written."""

    code = "read-back-differs"
    retry = True


class NewerOnHost(HostError):
    """The host has a set of keys that this database does not know: an older database was restored."""

    code = "newer-on-host"


class UnaskedRemoval(HostError):
    """Writing the file would remove keys that nobody asked to remove, and many more of them on this host."""

    code = "unasked-removal"


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
class _Work:
    """One chunk on its way: what is wanted, what has become of it so far."""

    host: Host
    files: HostFiles
    token: str
    run: PropagationRun | None
    todo: dict[int, Wanted]
    there: dict[int, FileRead] = field(default_factory=dict)
    pushes: dict[int, Push] = field(default_factory=dict)

    def end(self, account_pk: int, push: Push) -> None:
        self.pushes[account_pk] = push
        self.todo.pop(account_pk, None)


def bring(
    host: Host, files: HostFiles, file_pks: Iterable[int], *, run: PropagationRun | None = None, leave: Leave
) -> Iterator[Push]:
    """Brings these key files to their host, a chunk at a time. Files that another worker holds are passed over."""
    pks = list(file_pks)
    for start in range(0, len(pks), CHUNK):
        yield from _chunk(host, files, pks[start : start + CHUNK], run, leave)


def _chunk(host: Host, files: HostFiles, pks: list[int], run: PropagationRun | None, leave: Leave) -> list[Push]:
    token = secrets.token_hex(16)
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    rows = KeyFile.objects.filter(pk__in=pks, account__host=host)
    if (
        not KeyFile.objects.filter(pk__in=rows.values("pk"))
        .filter(free_to_take())
        .update(lease_token=token, lease_until=until)
    ):
        return []
    held = KeyFile.objects.filter(lease_token=token)
    with lease_kept(held, token):
        todo = {one.account_pk: one for one in wanted(held)}
        work = _Work(host, files, token, run, todo)
        try:
            _do(work, leave)
        except Exception as error:  # the log has it; whoever asked goes on with the others
            logger.exception("The key files of %s accounts could not be brought.", len(work.todo))
            for account_pk in list(work.todo):
                _fail(work, account_pk, "unexpected", _ours(error))
    return list(work.pushes.values())


def _do(work: _Work, leave: Leave) -> None:
    _clear_retired_names(work)
    _read(work)
    _judge(work, leave)
    # Only now: the database may not even know an account's name any more, and a home under another would be in the way.
    _make_homes(work)
    written = _write(work)
    _note(work, written)


def _make_homes(work: _Work) -> None:
    """Whoever has no home yet gets one. On a machine of its own its helper makes them, from a list of all accounts."""
    if work.host.kind == Host.Kind.EMBEDDED:
        for one in list(work.todo.values()):
            with _failing_alone(work, one.account_pk):
                provision.home_make(work.files, paths.username(one.username))
        return
    refused: dict[str, HostError] = {}
    try:
        refused = provision.accounts_tell(work.files, work.host, _wished(work.host))
    except HostError as error:
        logger.warning("The accounts of host %s were not made: %s", work.host.pk, error.code)
        # Those that were there before have their homes.
        refused = {one.username: error for one in work.todo.values() if not one.known.version}
    for one in list(work.todo.values()):
        if (why := refused.get(one.username)) is not None:
            _fail(work, one.account_pk, why.code, why.message)


def _wished(host: Host) -> list[tuple[paths.Username, int]]:
    """The accounts a host should have, each with its user number there."""
    accounts = SftpAccount.objects.filter(host=host).exclude(district__state=District.State.CLOSED)
    rows = accounts.order_by("pk").values_list("username", "pk")
    return [(paths.username(name), settings.FIRST_USER_NUMBER + pk) for name, pk in rows]


@contextmanager
def _failing_alone(work: _Work, account_pk: int) -> Iterator[None]:
    """One account's trouble must not keep the others waiting."""
    try:
        yield
    except HostError as error:
        _fail(work, account_pk, error.code, error.message)
    except Exception as error:  # the log has it
        logger.exception("The key file of account %s could not be made.", account_pk)
        _fail(work, account_pk, "unexpected", _ours(error))


def _ours(error: Exception) -> str:
    return f"Something went wrong on our side ({type(error).__name__}). We try again."


def _clear_retired_names(work: _Work) -> None:
    """Renamed accounts: the old name's keys go first, then its home takes the new name."""
    # Renamed after we read the account: the name we know it by is retired by now, and the next push clears it.
    for retired in RetiredUsername.objects.filter(account__in=list(work.todo), cleared=None):
        one = work.todo.get(retired.account_id)
        if one is not None and one.username != retired.username:
            with _failing_alone(work, one.account_pk):
                # What stands under the name of today says more than what was left under an old one.
                own = paths.key_file(paths.username(one.username))
                with suppress(NotThere, TooLarge):
                    _look_for_newer(work.files, own, one, work.files.read(own, LARGEST_FILE))
                _closed(work.files, paths.key_file(paths.username(retired.username)), one)
                provision.home_rename(work.files, paths.username(retired.username), paths.username(one.username))
                RetiredUsername.objects.filter(pk=retired.pk).update(cleared=timezone.now())


def _closed(files: HostFiles, path: paths.HostPath, one: Wanted) -> None:
    """Leaves no key under a name, but our stamp: a database from before the rename must not find the place empty."""
    with suppress(NotThere):
        _look_for_newer(files, path, one, files.read(path, LARGEST_FILE))
    files.make_directory(paths.keys_directory())
    _written(files, path, one.content.partition(b"\n")[0] + b"\n")


def _read(work: _Work) -> None:
    by_path = {paths.key_file(paths.username(one.username)): one for one in work.todo.values()}
    for path, found in work.files.read_many(by_path, LARGEST_FILE):
        one = by_path[path]
        if isinstance(found, FileRead):
            work.there[one.account_pk] = found
        elif not isinstance(found, (NotThere, TooLarge)):  # a file that no account of ours can have is replaced
            _fail(work, one.account_pk, found.code, found.message)


def _judge(work: _Work, leave: Leave) -> None:
    """Ends what is right already or must wait, and takes what is foreign into quarantine."""
    asked = asked_since(work.todo.values())
    kept: list[FoundLineRow] = []
    for one in list(work.todo.values()):
        there = work.there.get(one.account_pk)
        if there is None or there.content == one.content:
            continue
        found = difference(there.content, one.content, one.known, asked.get(one.account_pk, Asked()))
        try:
            _look_for_newer(work.files, paths.key_file(paths.username(one.username)), one, there.content)
            if len(found.unasked) > leave.unasked:
                raise UnaskedRemoval("It would lose keys that nobody asked to remove. Our staff look at it first.")
        except HostError as error:
            _fail(work, one.account_pk, error.code, error.message, held=isinstance(error, UnaskedRemoval))
            continue
        if found.foreign:
            kept += found_rows(work.host, one.account_pk, one.username, found.foreign)
            _tell_found(work.host, one.account_pk, found.foreign)
        work.pushes[one.account_pk] = Push(
            one.account_pk, Outcome.WRITTEN, drifted=found.drifted, removed=len(found.removed)
        )
    FoundLineRow.objects.bulk_create(kept, ignore_conflicts=True)


def _tell_found(host: Host, account_pk: int, lines: Iterable[FoundLine]) -> None:
    """Tells the district and ops, once a day for the same lines."""
    account = SftpAccount.objects.select_related("district").get(pk=account_pk)
    told = tuple(lines)
    digest = hashlib.sha256(b"\n".join(line.raw for line in told)).hexdigest()[:32]
    about = f"found-{account_pk}-{digest}-{timezone.now():%Y%m%d}"
    context = {"account": account, "host": host, "lines": told}
    notice_send("key-found", administrators_of(account.district), context, about=about, district=account.district)
    notice_send("key-found", staff_in(Role.OPS), context, about=about, district=account.district)


def found_rows(host: Host, account_pk: int | None, username: str, lines: Iterable[FoundLine]) -> Iterator[FoundLineRow]:
    """Rows for the quarantine."""
    for line in lines:
        yield FoundLineRow(
            host=host,
            account_id=account_pk,
            username=username[:253],
            line=line.raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00"),
            line_digest=hashlib.sha256(line.raw).hexdigest(),
            fingerprint=line.fingerprint,
            label=line.label,
        )


def asked_since(files: Iterable[Wanted]) -> dict[int, Asked]:
    """By account what was asked for since the set its host has."""
    known = {one.account_pk: one.known.version for one in files}
    sets = KeySet.objects.filter(account__in=known, version__gt=F("account__key_file__host_version")).values_list(
        "account_id", "version", "cause", "removed", "changed"
    )
    prints: dict[int, set[str]] = {}
    everything: set[int] = set()
    for account_pk, version, cause, removed, changed in sets:
        if version <= known[account_pk]:
            continue
        if cause in _ANY_KEY:
            everything.add(account_pk)
        prints.setdefault(account_pk, set()).update(fact["fingerprint"] for fact in (*removed, *changed))
    return {
        account_pk: Asked(frozenset(prints.get(account_pk, ())), account_pk in everything)
        for account_pk in prints.keys() | everything
    }


def _look_for_newer(files: HostFiles, path: paths.HostPath, one: Wanted, there: bytes) -> None:
    """Raises NewerOnHost if the host has a set this database has never heard of; notes what is in it."""
    stamp = authorized_keys.stamp_of(there)
    if stamp is None or is_known(one.forgiven_token, stamp):
        return
    entries = _without_lost(files, path, one, there, stamp)
    told = {"version": stamp.version, "token": stamp.token, "fingerprints": [each.key.fingerprint for each in entries]}
    if not KeyFile.objects.filter(pk=one.file_pk, found=told).exists():
        KeyFile.objects.filter(pk=one.file_pk).update(found=told)
        account = SftpAccount.objects.select_related("district").get(pk=one.account_pk)
        about = f"newer-on-host-{one.account_pk}-{stamp.token}"
        to = staff_in(Role.OPS, Role.SYSTEM_ADMINISTRATOR)
        notice_send("keys-newer-on-host", to, {"account": account}, about=about)
    raise NewerOnHost("The SFTP host has a newer list of keys than our records. Our staff look at it; nothing is lost.")


def _without_lost(
    files: HostFiles, path: paths.HostPath, one: Wanted, there: bytes, stamp: authorized_keys.Stamp
) -> tuple[authorized_keys.Entry, ...]:
    """The entries of the host's own set, which loses those the account has reported lost: that cannot wait."""
    lost = set(LostKey.objects.filter(account=one.account_pk).values_list("fingerprint", flat=True))
    entries = authorized_keys.entries_in(authorized_keys.read(there))
    staying = tuple(each for each in entries if each.key.fingerprint not in lost)
    if len(staying) < len(entries):
        _written(files, path, authorized_keys.render(staying, stamp))
    return staying


def _written(files: HostFiles, path: paths.HostPath, content: bytes) -> None:
    files.write(path, content)
    if files.read(path, LARGEST_FILE) != content:
        raise ReadBackDiffers(NOT_KEPT)


def _write(work: _Work) -> dict[int, FileRead]:
    """Writes what differs and reads it back; returns all files that are now as they should be."""
    right = {
        pk: work.there[pk]
        for pk, one in work.todo.items()
        if pk in work.there and work.there[pk].content == one.content
    }
    differing = {paths.key_file(paths.username(one.username)): one for pk, one in work.todo.items() if pk not in right}
    # Read back as they come, while the host is still at others.
    for path, found in work.files.read_many(_written_well(work, differing), LARGEST_FILE):
        one = differing[path]
        if isinstance(found, FileRead) and found.content == one.content:
            right[one.account_pk] = found
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
    note_read(
        work.token, [(one, right[one.account_pk]) for one in work.todo.values()], {w.file_pk for w in written}, now
    )
    sets_on_host([one for one in work.todo.values() if one.version != one.known.version], work.run, now)
    # We hung, and another wrote before us: ours may be the older set, so the file is brought once more.
    lost = KeyFile.objects.filter(pk__in=[one.file_pk for one in written]).exclude(lease_token=work.token)
    lost.update(state=KeyFile.State.WAITING)
    for pk in work.todo:
        plain = Outcome.UNCHANGED if right[pk] is work.there.get(pk) else Outcome.WRITTEN
        work.pushes[pk] = work.pushes.get(pk) or Push(pk, plain)


def note_read(token: str | None, read: Iterable[tuple[Wanted, FileRead]], written: set[int], now: datetime) -> None:
    """Notes what was read back: where this lease still holds, or without one where nothing was noted since."""
    moment = connection.ops.adapt_datetimefield_value(now)
    rows = []
    for one, found in read:
        is_new = one.file_pk in written or one.version != one.known.version
        rows.append(
            (
                *(one.version, digest_of(found.content), found.size, found.modified, moment, is_new, moment),
                *(one.version, one.version, one.file_pk, token if token is not None else one.known.digest),
            )
        )
    condition = "lease_token = %s" if token is not None else "digest = %s"
    _many(_NOTE.format(condition=condition), rows)


_NOTE = """
UPDATE keys_keyfile SET host_version = %s, digest = %s, host_size = %s, host_modified = %s, read_at = %s,
    on_host_since = CASE WHEN %s OR on_host_since IS NULL THEN %s ELSE on_host_since END,
    found = CASE WHEN version = %s THEN NULL ELSE found END, tries = 0, next_try = NULL, code = '', reason = '',
    state = CASE WHEN version = %s THEN 'on_host' ELSE state END
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


def _fail(work: _Work, account_pk: int, code: str, reason: str, *, held: bool = False) -> None:
    one = work.todo[account_pk]
    logger.warning("The key file of account %s was not brought to its host: %s", account_pk, code)
    files = KeyFile.objects.filter(pk=one.file_pk, lease_token=work.token, version=one.version)
    fail_noted(files, code, reason, again=not held)
    work.end(account_pk, Push(account_pk, Outcome.HELD if held else Outcome.FAILED, code, reason[:400]))


def pause_after(tries: int) -> timedelta:
    """How long to wait before the next try, after so many that failed."""
    return min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)


def fail_noted(files: QuerySet[KeyFile], code: str, reason: str, *, again: bool = True) -> None:
    """Notes why these files could not be brought, and when they are tried again: ever later, or with a run only."""
    for tries in files.values_list("tries", flat=True).distinct().order_by():
        files.filter(tries=tries).exclude(state=KeyFile.State.FAILED, tries=tries + 1).update(
            state=KeyFile.State.FAILED,
            tries=tries + 1,
            next_try=timezone.now() + pause_after(tries) if again else None,
            code=code,
            reason=reason[:400],
        )


def tally(pushes: Iterable[Push]) -> Counter[str]:
    """How many of each outcome, and how many drifted and removed."""
    counts: Counter[str] = Counter()
    for push in pushes:
        counts[push.outcome.value] += 1
        counts["drifted"] += push.drifted
        counts["removed"] += push.removed
    return counts
