"""Connect: where the account is reached, how to tell each program, and why the last tries did or did not work."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import localtime
from django.views.decorators.http import require_safe

from accounts.access import district_for
from accounts.core.roles import Tool
from accounts.models import District, SftpAccount
from hosts.models import Host

from .. import selectors
from ..core.recipes import NotPlain, Reach, Recipe, recipes
from ..models import KeyFile
from ..selectors import Attempt
from .doors import rights_shown

MOST_ATTEMPTS = 10
# In which the recipe that was looked at last is remembered.
CHOSEN = "connect-with"


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt as the page shows it; `to_vendor` is what to send to whoever runs the program that was refused."""

    attempt: Attempt
    to_vendor: str = ""


@require_safe
def connect(request: HttpRequest, slug: str) -> HttpResponse:
    """The page; `?with=lftp` shows the recipe for lftp, and the next visit begins with it."""
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
    account = district.sftp_account
    reach = reach_of(account)
    known = recipes(reach) if reach else ()
    chosen = _chosen(request, known)
    context = {
        **connect_told(request, district),
        "host": account.host,
        "known_hosts": reach.known_hosts if reach else "",
        "recipes": known,
        "recipe": chosen,
    }
    return render(request, "keys/connect.html", context)


@require_safe
def connect_state(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself: whether anybody has signed in, and the last tries."""
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
    return render(request, "keys/_connect_state.html", connect_told(request, district))


def reach_of(account: SftpAccount) -> Reach | None:
    """Where the account is reached; None while its host's key is not known, so that there is nothing to trust."""
    host: Host = account.host
    try:
        return Reach(host.address, host.port, account.username, host.host_key) if host.host_key else None
    except NotPlain:  # only ops type addresses: the facts are shown, but no script is made of this one
        return None


def _chosen(request: HttpRequest, known: tuple[Recipe, ...]) -> Recipe | None:
    by_slug = {recipe.slug: recipe for recipe in known}
    asked = request.GET.get("with", "")
    if asked in by_slug and request.session.get(CHOSEN) != asked:
        request.session[CHOSEN] = asked
    return by_slug.get(asked) or by_slug.get(request.session.get(CHOSEN, "")) or next(iter(known), None)


def connect_told(request: HttpRequest, district: District) -> dict[str, Any]:
    """What the changing part of the page shows."""
    account = district.sftp_account
    keys = list(selectors.keys_of(account))
    attempts = selectors.attempts_of(account, MOST_ATTEMPTS)
    first = selectors.first_sign_in(account)
    prints = [key.fingerprint for key in keys if key.disabled is None]
    tried = [Tried(one, "" if one.sign_in.accepted else to_vendor(account, one, prints)) for one in attempts]
    # Somebody is trying: look often until it works.
    is_trying = bool(keys) and (first is None or not attempts[0].sign_in.accepted)
    return {
        "district": district,
        "account": account,
        "file": KeyFile.objects.get(account=account),
        "has_keys": bool(keys),
        "first": first,
        "tried": tried,
        "live_by": selectors.next_hourly_run(),
        "is_shut_off": selectors.is_shut_off(account),
        "poll_seconds": 5 if is_trying else 0,
        **rights_shown(request.user, district),
    }


def to_vendor(account: SftpAccount, attempt: Attempt, registered: list[str]) -> str:
    """One line of facts for whoever runs the program that was refused. Nothing in it is a secret."""
    one = attempt.sign_in
    at = localtime(one.at).isoformat(" ", "seconds")
    client = f" ({one.client})" if one.client else ""
    offered = ", ".join(dict.fromkeys([*one.offered, *([one.fingerprint] if one.fingerprint else [])]))
    host = account.host
    return (
        f"{at}: sign-in as {one.username} at {host.address} port {host.port} from {one.address}{client} was refused: "
        f"{one.reason or 'no reason known'}. Keys offered: {offered or 'none'}. "
        f"Keys registered: {', '.join(registered) or 'none'}."
    )
