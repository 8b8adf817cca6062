"""Whether somebody signed in just now: a change of keys is not left to a browser that was merely left open."""

import json
import time

from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.flows.reauthentication import STATE_SESSION_KEY
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, QueryDict

from .models import User
from .signed_out import typed_taken

# The link back from the page that asks for the password carries this behind its question mark.
BACK = "typed"


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


def typed_before(request: HttpRequest) -> QueryDict | None:
    """What was typed on this page before the password was asked for and not given, or while signed out; once.

    To be shown again, not to be done: nothing proves that it is them.
    """
    if request.method != "GET" or BACK not in request.GET:
        return None
    typed = _typed_before_password(request) or typed_taken(request)
    if typed:
        messages.warning(request, "Nothing was saved. What you typed is still here.")
    return typed


def _typed_before_password(request: HttpRequest) -> QueryDict | None:
    kept = json.loads(request.session.get(STATE_SESSION_KEY, {}).get("request", "{}"))
    if kept.get("path") != request.path:
        return None
    del request.session[STATE_SESSION_KEY]
    return QueryDict(kept["POST"])


def sign_in_note(request: HttpRequest, person: User) -> None:
    """Notes that this person proved who they are just now, by a way of ours that allauth does not see."""
    record_authentication(request, person, method="password")
