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
from django.urls import Resolver404, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from .models import User
from .signed_out import typed_taken

# The link back from the page that asks for the password carries this behind its question mark.
BACK = "typed"
# In the session: the page whose form was sent elsewhere, for whoever goes back to it without the password.
PAGE = "form-page"


def sign_in_is_fresh(request: HttpRequest) -> bool:
    """Whether this person proved who they are in this session within FRESH_SIGN_IN_SECONDS.

    The word of another provider is no such proof: where a browser was left open, it may be signed in there, too.
    """
    since = time.time() - settings.FRESH_SIGN_IN_SECONDS
    records = get_authentication_records(request, request.user)
    return any(record["at"] > since for record in records if record["method"] != "socialaccount")


def fresh_sign_in(request: HttpRequest, page: str = "") -> None:
    """Raises ReauthenticationRequired unless the sign-in is fresh.

    `page` is the address of the page with the form, where that is not the one that the form is sent to. allauth's
    middleware then keeps the POST in the session, asks for the password and goes on with the very same POST. So
    whatever must not be kept is refused before this is called, and uploaded files are in its fields by then.
    """
    if not sign_in_is_fresh(request):
        request.session[PAGE] = {"path": request.path, "page": page or request.path}
        raise ReauthenticationRequired


def way_back(request: HttpRequest, following: str) -> str:
    """The page for whoever does not give the password, when it was asked for on the way to `following`; or ""."""
    if not url_has_allowed_host_and_scheme(following, allowed_hosts=None):
        return ""
    kept = request.session.get(PAGE, {})
    if kept.get("path") == following.partition("?")[0]:
        return f"{kept['page']}?{BACK}"
    # Those pages of allauth ask for the password before they show anything.
    return reverse("mfa_index") if _name_of(following).startswith("mfa_") else f"{following}?{BACK}"


def _name_of(address: str) -> str:
    try:
        return resolve(address.partition("?")[0]).url_name or ""
    except Resolver404:
        return ""


def typed_before(request: HttpRequest, sent_to: str = "") -> QueryDict | None:
    """What was typed on this page before the password was asked for and not given, or while signed out; once.

    `sent_to` is where its form is sent to, if not to the page itself. To be shown again, not to be done: nothing
    proves that it is them.
    """
    if request.method != "GET" or BACK not in request.GET:
        return None
    typed = _typed_before_password(request, sent_to or request.path) or typed_taken(request)
    if typed:
        messages.warning(request, "Nothing was saved. What you typed is still here.")
    return typed


def _typed_before_password(request: HttpRequest, sent_to: str) -> QueryDict | None:
    kept = json.loads(request.session.get(STATE_SESSION_KEY, {}).get("request", "{}"))
    if kept.get("path") != sent_to:
        return None
    del request.session[STATE_SESSION_KEY]
    return QueryDict(kept["POST"])


def sign_in_note(request: HttpRequest, person: User) -> None:
    """Notes that this person proved who they are just now, by a way of ours that allauth does not see."""
    record_authentication(request, person, method="password")
