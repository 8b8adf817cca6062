"""Brings key files to their hosts: render from values, compare, write, read back, note."""

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from django.db.models import F
from django.utils import timezone

from accounts.core.roles import Role
from accounts.leases import LeaseLost, free_to_take, lease_kept, lease_renew, lease_take
from accounts.models import RetiredUsername, SftpAccount
from accounts.notices import notice_send, staff_in
from hosts import provision
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostError, NotThere, TooLarge
from hosts.files import HostFiles
from hosts.models import Host

from .core import authorized_keys
from .models import KeyFile, KeySet, LostKey, PropagationFailure, PropagationRun
from .selectors import due, file_entries, is_known, is_overdue, left_behind, stamp_for, unfinished_runs

logger = logging.getLogger(__name__)
# A host that is away is tried again after 15 s, 30 s, 1 min ... and at the latest with the hourly run.
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
# No authorized_keys file of ours comes near this; what is larger is not ours.
LARGEST_FILE = 4 * 1024 * 1024
# A temporary file this old belongs to nobody who is still writing.
STALE = timedelta(hours=1)


class Outcome(Enum):
    """What became of one account's file; the value is the counter of the run."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class ReadBackDiffers(HostError):
    """The host did not keep what was written."""

    code = "read-back-differs"
    retry = True


class NewerOnHost(HostError):
    """The host has a set of keys that this database does not know: an older database was restored."""

    code = "newer-on-host"


@dataclass(frozen=True, slots=True)
class Push:
    """What one push did; `code` and `reason` say why it failed."""

    outcome: Outcome
    code: str = ""
    reason: str = ""


def push_one(account_pk: int) -> None:
    """Pushes one account that waits, and keeps a run of its own in the history. Nothing if it waits no longer."""
    if not due().filter(account_id=account_pk).filter(free_to_take()).exists():
        return
    push = push_account(account_pk, only_if_due=True)
    if push is not None:
        now = timezone.now()
        run = PropagationRun.objects.create(
            cause=PropagationRun.Cause.SAVED,
            state=PropagationRun.State.DONE,
            started=now,
            finished=now,
            total=1,
            **{push.outcome.value: 1},
        )
        _note_failure(run, account_pk, push)


def push_account(account_pk: int, *, only_if_due: bool = False) -> Push | None:
    """Brings one account's file to its host; None if another worker is at it or it no longer exists."""
    rows = (due() if only_if_due else KeyFile.objects.all()).filter(account_id=account_pk)
    token = lease_take(rows)
    if token is None:
        return None
    rows = KeyFile.objects.filter(account_id=account_pk)
    with lease_kept(rows, token):
        file = rows.select_related("account__district", "account__host").get()
        return _push(file, token)


def _push(file: KeyFile, token: str) -> Push:
    try:
        content = authorized_keys.render(file_entries(file), stamp_for(file))
        outcome = _bring(files_for(file.account.host), file, content)
    except HostError as error:
        return _failed(file, token, error.code, error.message)
    except Exception as error:  # one account's trouble must not keep the others waiting; the log has it
        logger.exception("The key file of account %s could not be made.", file.account_id)
        reason = f"Something went wrong on our side ({type(error).__name__}). We try again."
        return _failed(file, token, "unexpected", reason)
    digest = hashlib.sha256(content).hexdigest()
    held = KeyFile.objects.filter(pk=file.pk, lease_token=token)
    now = timezone.now()
    if file.host_version != file.version or outcome is Outcome.WRITTEN:
        held.update(on_host_since=now)
    is_ours = held.update(host_version=file.version, digest=digest, tries=0, next_try=None, code="", reason="")
    # Saved again while we were writing: that newer set still waits.
    held.filter(version=file.version).update(state=KeyFile.State.ON_HOST, found=None)
    KeySet.objects.filter(account=file.account_id, version__lte=file.version, on_host=None).update(on_host=now)
    if not is_ours and outcome is Outcome.WRITTEN:
        # We hung, and another wrote before us: ours may be the older set, so the file is brought once more.
        KeyFile.objects.filter(pk=file.pk).update(state=KeyFile.State.WAITING)
    return Push(outcome)


def _bring(files: HostFiles, file: KeyFile, content: bytes) -> Outcome:
    name = paths.username(file.account.username)
    _clear_retired_names(files, file)
    path = paths.key_file(name)
    there = _there(files, path)
    # First: the database may not even know the account's name any more, and a home under another would be in the way.
    _look_for_newer(files, path, file, there)
    provision.home_make(files, name)
    if there == content:
        return Outcome.UNCHANGED
    _written(files, path, content)
    return Outcome.WRITTEN


def _there(files: HostFiles, path: paths.HostPath) -> bytes:
    """What stands on the host now; nothing if there is no file, or one no account of ours can have."""
    try:
        return files.read(path, LARGEST_FILE)
    except (NotThere, TooLarge):
        return b""


def _look_for_newer(files: HostFiles, path: paths.HostPath, file: KeyFile, there: bytes) -> None:
    """Raises NewerOnHost if the host has a set this database has never heard of; notes what is in it."""
    stamp = authorized_keys.stamp_of(there)
    if stamp is None or is_known(file, stamp):
        return
    entries = _without_lost(files, path, file, there, stamp)
    found = {"version": stamp.version, "token": stamp.token, "fingerprints": [one.key.fingerprint for one in entries]}
    if not KeyFile.objects.filter(pk=file.pk, found=found).exists():
        KeyFile.objects.filter(pk=file.pk).update(found=found)
        about = f"newer-on-host-{file.account_id}-{stamp.token}"
        told = {"account": file.account}
        notice_send("keys-newer-on-host", staff_in(Role.OPS, Role.SYSTEM_ADMINISTRATOR), told, about=about)
    raise NewerOnHost("The SFTP host has a newer list of keys than our records. Our staff look at it; nothing is lost.")


def _without_lost(
    files: HostFiles, path: paths.HostPath, file: KeyFile, there: bytes, stamp: authorized_keys.Stamp
) -> tuple[authorized_keys.Entry, ...]:
    """The entries of the host's own set, which loses those the account has reported lost: that cannot wait."""
    lost = set(LostKey.objects.filter(account=file.account_id).values_list("fingerprint", flat=True))
    entries = authorized_keys.entries_in(authorized_keys.read(there))
    staying = tuple(one for one in entries if one.key.fingerprint not in lost)
    if len(staying) < len(entries):
        _written(files, path, authorized_keys.render(staying, stamp))
    return staying


def _written(files: HostFiles, path: paths.HostPath, content: bytes) -> None:
    files.write(path, content)
    if files.read(path, LARGEST_FILE) != content:
        raise ReadBackDiffers("The host answered, but the file read back is not what was written. We try again.")


def _clear_retired_names(files: HostFiles, file: KeyFile) -> None:
    """A renamed account: the old name's keys go first, then its home takes the new name."""
    account = file.account
    # Renamed after we read the account: the name we know it by is retired by now, and the next push clears it.
    for retired in RetiredUsername.objects.filter(account=account, cleared=None).exclude(username=account.username):
        _closed(files, paths.key_file(paths.username(retired.username)), file)
        provision.home_rename(files, paths.username(retired.username), paths.username(account.username))
        retired.cleared = timezone.now()
        retired.save(update_fields=["cleared"])


def _closed(files: HostFiles, path: paths.HostPath, file: KeyFile) -> None:
    """Leaves no key under a name, but our stamp: a database from before the rename must not find the place empty."""
    _look_for_newer(files, path, file, _there(files, path))
    files.make_directory(paths.keys_directory())
    _written(files, path, authorized_keys.render((), stamp_for(file)))


def _failed(file: KeyFile, token: str, code: str, reason: str) -> Push:
    pause = min(FIRST_PAUSE * 2 ** min(file.tries, 10), LONGEST_PAUSE)
    logger.warning("The key file of account %s was not brought to its host: %s", file.account_id, code)
    KeyFile.objects.filter(pk=file.pk, lease_token=token, version=file.version).update(
        state=KeyFile.State.FAILED,
        tries=F("tries") + 1,
        next_try=timezone.now() + pause,
        code=code,
        reason=reason[:400],
    )
    return Push(Outcome.FAILED, code, reason[:400])


def run_hourly() -> None:
    """The scheduled run over all accounts."""
    run_do(PropagationRun.objects.create(cause=PropagationRun.Cause.HOURLY).pk)


def run_do(run_pk: int) -> None:
    """Walks over all accounts for one run; the files decide what is left to do, so it may be begun again any time."""
    rows = PropagationRun.objects.filter(pk=run_pk).exclude(state=PropagationRun.State.DONE)
    token = lease_take(rows)
    if token is None:
        return
    rows = PropagationRun.objects.filter(pk=run_pk)
    with lease_kept(rows, token):
        try:
            _walk(rows.get(), token)
        except LeaseLost:
            logger.info("Propagation run %s was taken over by another worker.", run_pk)


def _walk(run: PropagationRun, token: str) -> None:
    accounts = list(SftpAccount.objects.order_by("username").values_list("pk", flat=True))
    run.failures.all().delete()
    run.state, run.started, run.total = PropagationRun.State.RUNNING, timezone.now(), len(accounts)
    run.written = run.unchanged = run.failed = 0
    _keep(run, token)
    for account_pk in accounts:
        push = push_account(account_pk) or Push(Outcome.UNCHANGED)
        setattr(run, push.outcome.value, getattr(run, push.outcome.value) + 1)
        _keep(run, token)
        _note_failure(run, account_pk, push)
    _sweep_hosts()
    run.state, run.finished = PropagationRun.State.DONE, timezone.now()
    _keep(run, token)


def _sweep_hosts() -> None:
    """Removes temporary files that a killed writer left beside the key files. A host that is away keeps them."""
    for host in Host.objects.all():
        with suppress(HostError):
            files_for(host).sweep(paths.keys_directory(), STALE)


def _keep(run: PropagationRun, token: str) -> None:
    lease_renew(PropagationRun.objects.filter(pk=run.pk), token)
    run.save(update_fields=["state", "started", "finished", "total", "written", "unchanged", "failed"])


def _note_failure(run: PropagationRun, account_pk: int, push: Push) -> None:
    if push.outcome is Outcome.FAILED:
        PropagationFailure.objects.create(run=run, account_id=account_pk, code=push.code, reason=push.reason)


def sweep() -> None:
    """Pushes what waits although its nudge was lost, and finishes runs whose worker died."""
    if is_overdue():
        logger.error("The scheduled run over all accounts did not come for an hour; the sweep does it now.")
        run_hourly()
    for account_pk in list(left_behind().values_list("account_id", flat=True)[:500]):
        push_one(account_pk)
    for run_pk in list(unfinished_runs().filter(free_to_take()).values_list("pk", flat=True)):
        run_do(run_pk)
