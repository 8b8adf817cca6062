"""Answers the signals of the floor below."""

from django.dispatch import receiver

from accounts.models import District, SftpAccount
from accounts.signals import account_changed, account_changing
from hosts.connect import host_is_back
from hosts.models import Host

from .retrying import retry_now
from .services import propagation_want, reopened_keys_check
from .sets import file_locked


@receiver(account_changing)
def file_is_locked_first(account: SftpAccount, **_: object) -> None:
    """A save locks the key file, then district, account and audit log: so must whoever changes those."""
    file_locked(account)


@receiver(account_changed)
def host_must_hear(account: SftpAccount, before: str | None, **_: object) -> None:
    """An account was opened, renamed, suspended or closed: its key file is written anew."""
    propagation_want(account)
    if before == District.State.CLOSED and account.district.state != District.State.CLOSED:
        reopened_keys_check(account)


@receiver(host_is_back)
def waiting_files_may_go(host: Host, **_: object) -> None:
    """A host that was away is back: what failed meanwhile is brought by the next sweep."""
    retry_now(host)
