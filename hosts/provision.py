"""The places an SFTP account needs on its host: made, and given another user name.

Every call may be repeated.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from . import helper
from .core.accountlist import list_digest
from .core.errors import AlreadyThere, HostError, NotEmpty, NotThere
from .core.paths import (
    DOWNLOADS,
    HostPath,
    Username,
    claimed_directory,
    downloads,
    home,
    keys_directory,
    processed,
    shown,
    upload,
)
from .files import HostFiles
from .helper import HelperRefused, HelperSilent
from .models import AccountsTold, DamagedHome, Host

logger = logging.getLogger(__name__)
# A list that a host knows is gone through in a second or two. If it takes longer, its helper is down, or makes them all
# anew, which it goes on with by itself.
AGAIN_PATIENCE = 60.0
Wished = Sequence[tuple[Username, int]]


def home_make(files: HostFiles, account: Username) -> None:
    """Make the account's home with `/upload`, `/upload-processed` and `/downloads`, and the host's own
    places."""
    for place in (keys_directory(), claimed_directory(), *_places(account)):
        files.make_directory(place)


def accounts_told(host: Host, wished: Wished) -> dict[str, HostError] | None:
    """What a host would not make, by name, if just these accounts are what it was told last; None if they are not."""
    if Host.every.values_list("accounts_digest", flat=True).get(pk=host.pk) != list_digest(wished):
        return None
    return refused_last(host)


def refused_last(host: Host) -> dict[str, HostError]:
    """What a host would not make, by name, when it was told last."""
    told = AccountsTold.objects.filter(host=host).values_list("refused", flat=True).first() or []
    return {name: HelperRefused(code, message) for name, code, message in told}


def accounts_declined(host: Host, wished: Wished) -> HostError | None:
    """Why a host would not have just these accounts as a whole, if it was asked lately; whatever it is asked if its
    helper was silent then."""
    rows = AccountsTold.objects.filter(Q(declined_digest=list_digest(wished)) | Q(declined_code=HelperSilent.code))
    row = rows.filter(host=host).exclude(declined_code="").first()
    if row is None or (row.declined_until is not None and row.declined_until < timezone.now()):
        return None
    return HelperRefused(row.declined_code, row.declined_reason)


def accounts_declined_note(host: Host, wished: Wished, error: HostError, lasting: timedelta | None) -> None:
    """Keep why a host would not have these accounts as a whole, so that not every save asks it again."""
    row, _ = AccountsTold.objects.get_or_create(host=host)
    since = row.declined_since if row.declined_code == error.code else None
    AccountsTold.objects.filter(host=host).update(
        declined_digest=list_digest(wished),
        declined_since=since or timezone.now(),
        declined_code=error.code[:60],
        declined_reason=error.message[:400],
        declined_until=timezone.now() + lasting if lasting is not None else None,
    )


def helper_heard(host_pk: int) -> None:
    """The helper of a host answers: that it was silent is over."""
    AccountsTold.objects.filter(host=host_pk, declined_code=HelperSilent.code).update(
        declined_digest="", declined_code=""
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Which list a host was asked about, and what it was to us then."""

    host: Host
    digest: str
    before: str

    @classmethod
    def of(cls, host: Host, wished: Wished) -> Asked:
        told = Host.every.values_list("accounts_digest", flat=True).get(pk=host.pk)
        return cls(host, list_digest(wished), told)


def accounts_confirmed(asked: Asked) -> None:
    """A host has just the accounts that it was asked about. Nothing is noted if it was, or is just, told others
    meanwhile, or is another machine by now."""
    host = asked.host
    if AccountsTold.objects.filter(host=host, lease_until__gte=timezone.now()).exists():
        return
    same = Host.every.filter(pk=host.pk, address=host.address, port=host.port, host_key=host.host_key)
    if same.filter(accounts_digest=asked.before).update(accounts_digest=asked.digest):
        AccountsTold.objects.filter(host=host).update(refused=[], declined_digest="", declined_code="")


def accounts_tell(
    files: HostFiles, host: Host, wished: Callable[[], Wished], held: QuerySet[AccountsTold]
) -> dict[str, HostError]:
    """Have a host of its own make just these accounts, each with its user number, whatever it was told before.

    `held` is the host's row as long as the caller holds its lease: two lists that cross would undo each other. Returns
    those it would not make, by name: the others are there. Raises HelperRefused if its helper will not do it at all
    (`drops-too-many`, for one), and whatever SFTP meets.
    """
    listed = wished()
    is_known = accounts_told(host, listed) is not None
    if not is_known:
        accounts_doubt(host.pk)
        # Read again: whoever still found the digest right may have changed them back meanwhile.
        listed = wished()
    made = helper.accounts(files, listed, AGAIN_PATIENCE) if is_known else helper.accounts(files, listed)
    names = {str(name) for name, _ in listed}
    refused = {name: error for name, error in made.refused if name in names}
    damaged_note(host, {name: error for name, error in made.damaged if name in names})
    rows = [(name, shown(error.code, 60), error.message) for name, error in refused.items()]
    if held.update(count=len(made.made) + made.unchanged, refused=rows, declined_digest="", declined_code=""):
        # With another address or key it is another machine by now.
        same = Host.every.filter(pk=host.pk, address=host.address, port=host.port, host_key=host.host_key)
        same.update(accounts_digest=list_digest(listed))
    else:
        accounts_doubt(host.pk)
    return refused


def accounts_doubt(host_pk: int) -> None:
    """Forget what a host was told: it is told with the next push."""
    Host.every.filter(pk=host_pk).update(accounts_digest="")


def accounts_counted(host_pk: int, there: int) -> None:
    """A host says how many accounts it has. If it was left with more, it has lost some, and is told anew.

    If it has more than we know of, our rows may be those of an older day: telling it would take accounts away.
    """
    told = AccountsTold.objects.filter(host=host_pk).values_list("count", flat=True).first()
    if told is not None and there < told:
        logger.warning("Host %s has %s accounts, and was left with %s: it is told anew.", host_pk, there, told)
        accounts_doubt(host_pk)


def damaged_note(host: Host, damaged: Mapping[str, HostError]) -> None:
    """Keep which homes of a host are damaged now, by name; those that are so no longer are forgotten."""
    for name, error in damaged.items():
        logger.error("The home of “%s” on host %s is damaged: %s", name, host.pk, error.code)
    rows = [
        DamagedHome(host=host, username=name, code=error.code[:60], reason=error.message[:400])
        for name, error in damaged.items()
    ]
    with transaction.atomic():
        host.damaged_homes.exclude(username__in=damaged).delete()
        # What is known already keeps the time since when it is.
        DamagedHome.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["host", "username"], update_fields=["code", "reason"]
        )


def account_rename(files: HostFiles, host: Host, old: Username, new: Username, uid: int) -> None:
    """Give an account that was once known as `old` its user name of today. Nobody signs in with the old one any more.

    `uid` is its user number on a host of its own, whose helper does it all: line, sessions, home. One that has never
    heard of `old` has nothing to rename. Raises AlreadyThere, HelperRefused, and whatever SFTP meets.
    """
    if host.kind == Host.Kind.EMBEDDED:
        home_rename(files, old, new)
        return
    # What it was told last holds no more, whatever becomes of this request.
    host.accounts_digest = ""
    accounts_doubt(host.pk)
    with contextlib.suppress(NotThere):
        helper.rename(files, old, new, uid)


def home_rename(files: HostFiles, old: Username, new: Username) -> None:
    """Give a home on the embedded host its new user name. The caller has seen to it that nobody signs in with the old
    one any more.

    A home of the new name gives way if it is bare (made too early). Raises AlreadyThere if it holds anything.
    """
    if old != new and files.stat(home(old)) is not None:
        _bare_home_remove(files, new)
        # Lost to another run of this same rename: then the new home is there, as wanted.
        with contextlib.suppress(NotThere):
            files.rename(home(old), home(new))
    home_make(files, new)


def _places(account: Username) -> tuple[HostPath, ...]:
    kept = downloads(account)
    return (upload(account), processed(account), *(kept.child(name) for name in DOWNLOADS))


def _bare_home_remove(files: HostFiles, account: Username) -> None:
    """Remove a home directory by directory, each only if it is empty: nothing can be lost, whoever writes
    meanwhile."""
    try:
        for place in (*_places(account), downloads(account), home(account)):
            with contextlib.suppress(NotThere):
                files.remove(place)
    except NotEmpty:
        raise AlreadyThere(f"The SFTP account “{account}” already has files on the host.") from None
