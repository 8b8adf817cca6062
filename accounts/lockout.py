"""Slows down whoever guesses: an account is shut to the address the wrong tries came from, and to nobody else.

A stranger who guesses can so never lock a district out. A try is counted before it is made: tries sent side by side
are counted one after the other, like any.
"""

import ipaddress
import logging

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from .core import slowing
from .models import WrongTries
from .origin import address_of

logger = logging.getLogger(__name__)
# Whoever has one IPv6 address has all of its network.
NETWORK_BITS = 64


def try_count(request: HttpRequest, account: str) -> None:
    """Counts one try at `account` from where the request comes. Raises ValidationError while it has to wait."""
    now = timezone.now()
    with transaction.atomic():
        row, is_new = WrongTries.objects.get_or_create(pair=_pair(request, account), defaults={"last": now})
        row = WrongTries.objects.select_for_update().get(pk=row.pk)
        if row.last < now - slowing.FORGOTTEN_AFTER:
            row.count = 0
        wait = slowing.wait_left(row.count, row.last, now)
        if not wait:
            row.count, row.last = row.count + 1, now
            row.save(update_fields=["count", "last"])
    if is_new:
        WrongTries.objects.filter(last__lt=now - slowing.FORGOTTEN_AFTER).delete()
    if wait:
        raise ValidationError(
            f"Too many wrong tries from where you are. Wait {slowing.waiting_words(wait)}, then try again.", code="wait"
        )
    if row.count == slowing.FREE_TRIES:
        logger.warning("Wrong tries to sign in from %s: it has to wait before each further one.", address_of(request))


def tries_forget(request: HttpRequest, account: str) -> None:
    """The try was a good one: the count begins anew."""
    WrongTries.objects.filter(pair=_pair(request, account)).delete()


def _pair(request: HttpRequest, account: str) -> str:
    """What was typed may be a password in the wrong box: only a digest of it is kept, under our secret key."""
    told = f"{_network(address_of(request))}\n{account.strip().casefold()}"
    return salted_hmac("accounts.lockout", told, algorithm="sha256").hexdigest()


def _network(address: str) -> str:
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/{NETWORK_BITS}", strict=False))
