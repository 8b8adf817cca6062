"""Tells a host of its own which accounts it should have, while key files are brought there.

Its root-side helper makes them, their homes included. Whoever has a key file there already needs none of this, so
nobody's key waits for it but that of a new or renamed account.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.core.roles import Role
from accounts.leases import lease_kept, lease_take
from accounts.models import District, SftpAccount
from accounts.notices import notice_send, staff_in
from hosts import helper, provision
from hosts.core import paths
from hosts.core.errors import HostDown, HostError
from hosts.files import HostFiles
from hosts.models import AccountsTold, Host

from .models import KeyFile
from .retrying import fail_noted

logger = logging.getLogger(__name__)
# Seconds to wait while another worker tells a host its accounts: a key to be taken off must not wait long for that.
BUSY_PATIENCE, BUSY_PAUSE = 10.0, 0.1
# Accounts may come and go while a host is told; what changes still later waits for the next push.
TOLD_AT_MOST = 3
# A helper that did not answer is not asked again for so long, but by a run or a command.
SILENT_FOR = timedelta(minutes=5)
# The host knows the account by another name: the key file is not its own any more.
RENAMED = "renamed"


class AccountsBusy(HostError):
    """Another worker is telling the host its accounts."""

    code = "accounts-busy"
    retry = True


class AwaitsDecision(HostError):
    """Something may be lost on the host that nobody asked to remove: until that is decided nothing is told that might
    take an account away."""

    code = "awaits-decision"
    retry = True


@dataclass(frozen=True, slots=True)
class Told:
    """What a host said to its accounts. `refused`: those it would not make, by name; `error`: why it was not told."""

    refused: Mapping[str, HostError] = field(default_factory=dict)
    error: HostError | None = None

    def stands_in_the_way(self, username: str, *, has_home: bool) -> HostError | None:
        """Why nobody can sign in to this account, whatever is in its key file."""
        why = self.refused.get(username) or self.error
        return why if why is not None and (not has_home or why.code == RENAMED) else None


class Roster:
    """The list of one host's accounts, over one connection."""

    def __init__(self, host: Host, files: HostFiles) -> None:
        self._host, self._files = host, files
        self._question: helper.Question | None = None
        self._asked: provision.Asked | None = None
        self._again = False
        # What came in the way of telling or asking.
        self.untold: HostError | None = None

    def ask(self) -> None:
        """Asks whether the host still has all it was told of: a backup put back there, or a hand, may have taken lines
        or homes away, and what made a home damaged may be gone. Nobody waits; `settle` has the answer."""
        if self._host.kind == Host.Kind.EMBEDDED:
            return
        self._asked = provision.Asked.of(self._host, wished(self._host))
        try:
            self._question = helper.accounts_same_asked(self._files, self._asked.digest)
        except HostError as error:
            self._could_not(error)

    def settle(self, *, may_drop: bool) -> Told:
        """Has the host make its accounts, if it was told others last or has lost some. Never raises HostError.

        Whoever is not in the list loses account and key file there, and a database put back to an older state does not
        know whom it leaves out: unless it `may_drop` any, the host is told nothing.
        """
        if self._host.kind == Host.Kind.EMBEDDED:
            return Told()
        self._listen()
        before = _refused_before(self._host)
        try:
            again, self._again = self._again and may_drop, False
            told = Told(_tell(self._host, self._files, again=again, may_drop=may_drop))
        except HostError as error:
            self._could_not(error)
            return Told(error=error)
        _homes_note(self._host, told.refused)
        _retry(self._host, before, told.refused)
        _note_renamed(self._host, told.refused)
        return told

    def _listen(self) -> None:
        question, self._question = self._question, None
        if question is None:
            return
        try:
            self._again = not helper.accounts_same(question)
        except helper.HelperRefused:  # one of an older version
            self._again = True
        except HostError as error:
            self._could_not(error)
            self._silence_note(error)
            return
        provision.helper_heard(self._host.pk)
        if not self._again and self._asked is not None:
            provision.accounts_confirmed(self._asked)

    def rename(self, old: paths.Username, new: paths.Username, account_pk: int) -> None:
        """Has the host give an account another name. Raises what `provision.account_rename` raises; HelperSilent at
        once if it was silent lately."""
        self._listen()
        lately = provision.accounts_declined(self._host, wished(self._host))
        if lately is not None and lately.code == helper.HelperSilent.code:
            raise helper.HelperSilent(lately.message)
        try:
            provision.account_rename(self._files, self._host, old, new, user_number(account_pk))
        except HostError as error:
            self._silence_note(error)
            raise
        provision.helper_heard(self._host.pk)

    def _silence_note(self, error: HostError) -> None:
        if isinstance(error, helper.HelperSilent):
            provision.accounts_declined_note(self._host, wished(self._host), error, SILENT_FOR)

    def _could_not(self, error: HostError) -> None:
        logger.warning("Host %s was not told its accounts: %s", self._host.pk, error.code)
        self.untold = self.untold or error


def hosts_untold() -> list[int]:
    """The hosts that may be spoken to now and should be told of other accounts."""
    hosts = Host.objects.filter(state=Host.State.READY, accounts__isnull=False).exclude(host_key="")
    hosts = hosts.filter(Q(next_try=None) | Q(next_try__lte=timezone.now()))
    return [host.pk for host in hosts.distinct() if is_untold(host)]


def is_untold(host: Host) -> bool:
    """Whether a host of its own should have other accounts than it was told of, and has not declined these lately."""
    if host.kind == Host.Kind.EMBEDDED:
        return False
    listed = wished(host)
    return provision.accounts_told(host, listed) is None and provision.accounts_declined(host, listed) is None


def told_before(host: Host) -> Told:
    """What a host said when it was told last, though it may have been of other accounts."""
    return Told() if host.kind == Host.Kind.EMBEDDED else Told(provision.refused_last(host))


def wished(host: Host) -> list[tuple[paths.Username, int]]:
    """The accounts a host should have, each with its user number there."""
    accounts = SftpAccount.objects.filter(host=host).exclude(district__state=District.State.CLOSED)
    rows = accounts.order_by("pk").values_list("username", "pk")
    return [(paths.username(name), user_number(pk)) for name, pk in rows]


def user_number(account_pk: int) -> int:
    """An account's user number on a host of its own; it stays, whatever the account is called."""
    return settings.FIRST_USER_NUMBER + account_pk


def _tell(host: Host, files: HostFiles, *, again: bool, may_drop: bool) -> Mapping[str, HostError]:
    """Tells it, if it was told others last or `again`. Raises AwaitsDecision, AccountsBusy, and what telling meets: at
    once, if it is known to come to the same."""
    if not again:
        if (told := provision.accounts_told(host, wished(host))) is not None:
            return told
        if (why := provision.accounts_declined(host, wished(host))) is not None:
            raise why
    if not may_drop:
        raise AwaitsDecision("The SFTP host is told of no new accounts until it is decided what may go there.")
    rows = AccountsTold.objects.filter(host=host)
    token = _lease_awaited(host, rows)
    held = rows.filter(lease_token=token)
    with lease_kept(rows, token):
        # Whoever held the lease before may have told just these.
        refused: Mapping[str, HostError] | None = None if again else provision.accounts_told(host, wished(host))
        for _ in range(TOLD_AT_MOST):
            if refused is not None and (provision.accounts_told(host, wished(host)) is not None or not held.exists()):
                break
            # Else some came or went meanwhile, perhaps by the hand of one who would not wait for us.
            refused = _told(host, files, held)
        return refused or {}


def _told(host: Host, files: HostFiles, held: QuerySet[AccountsTold]) -> Mapping[str, HostError]:
    # Before they lose it: whatever becomes of us, who comes back is not taken for one who has a home.
    closed = KeyFile.objects.filter(account__host=host, account__district__state=District.State.CLOSED)
    closed.filter(has_home=True).update(has_home=False)
    try:
        return provision.accounts_tell(files, host, lambda: wished(host), held)
    except HostError as error:
        # A list that is refused stays so until it is another, or somebody asks. A line that broke says nothing of it.
        if not isinstance(error, HostDown) or isinstance(error, helper.HelperSilent):
            until = None if isinstance(error, helper.HelperRefused) else SILENT_FOR
            provision.accounts_declined_note(host, wished(host), error, until)
            if until is None:
                about = f"accounts-refused-{host.pk}-{error.code}-{timezone.localdate():%Y%m%d}"
                told = {"host": host, "reason": error.message}
                notice_send("accounts-refused", staff_in(Role.OPS), told, about=about)
        raise


def _lease_awaited(host: Host, rows: QuerySet[AccountsTold]) -> str:
    """The lease of a host's row, taken as soon as another gives it back. Raises AccountsBusy."""
    AccountsTold.objects.get_or_create(host=host)
    deadline = time.monotonic() + BUSY_PATIENCE
    while (token := lease_take(rows)) is None:
        if time.monotonic() > deadline:
            raise AccountsBusy("The SFTP host is just being told of other accounts, which takes long. We try again.")
        time.sleep(BUSY_PAUSE)
    return token


def _homes_note(host: Host, refused: Mapping[str, HostError]) -> None:
    """Who is in the list that a host has taken has a home there; nothing is noted if the list is another by now."""
    listed = wished(host)
    if not listed or provision.accounts_told(host, listed) is None:
        return
    last = listed[-1][1] - settings.FIRST_USER_NUMBER
    files = KeyFile.objects.filter(account__host=host, account__lte=last)
    closed = Q(account__district__state=District.State.CLOSED)
    files.filter(closed, has_home=True).update(has_home=False)
    files.filter(has_home=False).exclude(closed).exclude(account__username__in=list(refused)).update(has_home=True)


def _refused_before(host: Host) -> set[str]:
    """The codes for which accounts of this host may have failed, though nothing was wrong with their key files."""
    row = AccountsTold.objects.filter(host=host).first()
    return {code for _, code, _ in row.refused} | {row.declined_code} - {""} if row else set()


def _retry(host: Host, before: set[str], refused: Mapping[str, HostError]) -> None:
    """Lets those whom the host would not have before, and has now, be tried at once."""
    files = KeyFile.objects.filter(account__host=host, state=KeyFile.State.FAILED, code__in=before)
    files.exclude(account__username__in=list(refused)).update(next_try=timezone.now())


def _note_renamed(host: Host, refused: Mapping[str, HostError]) -> None:
    """A key file that was brought before the host said that its name is no account's any more is not on the host."""
    for name, why in refused.items():
        if why.code == RENAMED:
            files = KeyFile.objects.filter(account__host=host, account__username=name)
            fail_noted(files.filter(state=KeyFile.State.ON_HOST), why.code, why.message)
