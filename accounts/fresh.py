"""Whether somebody signed in just now: a change of keys is not left to a browser that was merely left open."""

import time

from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import record_authentication
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.http import HttpRequest

from .models import User


def sign_in_is_fresh(request: HttpRequest) -> bool:
    """Whether this person proved who they are in this session within FRESH_SIGN_IN_SECONDS."""
    since = time.time() - settings.FRESH_SIGN_IN_SECONDS
    return any(record["at"] > since for record in get_authentication_records(request, request.user))


def fresh_sign_in(request: HttpRequest) -> None:
    """Raises ReauthenticationRequired unless the sign-in is fresh.

    allauth's middleware then keeps the POST in the session, asks for the password and goes on with the very same
    POST. So whatever must not be kept is refused before this is called, and uploaded files are in its fields by then.
    """
    if not sign_in_is_fresh(request):
        raise ReauthenticationRequired


def sign_in_note(request: HttpRequest, person: User) -> None:
    """Notes that this person proved who they are just now, by a way of ours that allauth does not see."""
    record_authentication(request, person, method="password")
