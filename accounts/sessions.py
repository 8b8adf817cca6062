"""Where a person is signed in: one row a browser, as allauth keeps them."""

from dataclasses import dataclass
from datetime import datetime

from allauth.usersessions.models import UserSession
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from .adapter import UNKNOWN_ADDRESS
from .core.browsers import program
from .models import User

# A page costs nothing for it but once in a while.
NOTED_SECONDS = 300


@dataclass(frozen=True, slots=True)
class SignedIn:
    """One browser in which somebody is signed in, as the page tells it; `address` is empty if nobody knows it."""

    pk: int
    program: str
    address: str
    since: datetime
    seen: datetime
    is_here: bool


def session_note(request: HttpRequest) -> None:
    """Notes that this browser was here, from which address, now and then."""
    key = request.session.session_key
    if key and cache.add(f"session-seen-{key}", True, NOTED_SECONDS):
        UserSession.objects.create_from_request(request)


def sessions_of(person: User) -> QuerySet[UserSession]:
    """Where `person` is signed in, the newest first: not those that ran out, nor those before a change of password."""
    mine = Session.objects.filter(
        expire_date__gt=timezone.now(),
        session_key__in=UserSession.objects.filter(user_id=person.pk).values("session_key"),
    )
    digest = person.get_session_auth_hash()
    live = [one.pk for one in mine if constant_time_compare(one.get_decoded().get(HASH_SESSION_KEY, ""), digest)]
    return UserSession.objects.filter(user_id=person.pk, session_key__in=live).order_by("-last_seen_at", "-pk")


def signed_in(request: HttpRequest, person: User) -> list[SignedIn]:
    """The same for the page; the browser that asks stands first."""
    here = request.session.session_key
    told = [
        SignedIn(
            one.pk,
            program(one.user_agent),
            "" if one.ip == UNKNOWN_ADDRESS else one.ip,
            one.created_at,
            one.last_seen_at,
            one.session_key == here,
        )
        for one in sessions_of(person)
    ]
    return sorted(told, key=lambda one: not one.is_here)
