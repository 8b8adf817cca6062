"""Answers the signals of the floor below."""

from django.dispatch import receiver

from accounts.models import District, SftpAccount
from accounts.signals import account_changed

from .services import propagation_want, reopened_keys_check


@receiver(account_changed)
def host_must_hear(account: SftpAccount, before: str | None, **_: object) -> None:
    """An account was opened, renamed, suspended or closed: its key file is written anew."""
    propagation_want(account)
    if before == District.State.CLOSED and account.district.state != District.State.CLOSED:
        reopened_keys_check(account)
