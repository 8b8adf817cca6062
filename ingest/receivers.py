"""Answers the signals of the floor below."""

from functools import partial

from django.db import transaction
from django.dispatch import receiver

from accounts.models import District, SftpAccount
from accounts.nudge import nudge
from accounts.signals import account_changed

from . import endings
from .tasks import process


@receiver(account_changed)
def nights_may_wait_no_more(account: SftpAccount, before: District.State | None, **_: object) -> None:
    """A district was closed: what waits in it is discarded. Or it is suspended no more: what waited goes on.

    After the commit, since whoever works on its nights locks rows in another order. The sweep finds what a crash left.
    """
    if account.district.state == District.State.CLOSED:
        transaction.on_commit(partial(_end, account.district), robust=True)
    elif before == District.State.SUSPENDED:
        nudge(process)


def _end(district: District) -> None:
    if endings.district_end(district):
        nudge(process)
