"""Lets nobody in who has not signed in, shows times in the person's own zone, and notes where they are signed in."""

import zoneinfo
from collections.abc import Callable

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from .fresh import BACK
from .models import User
from .second_factor import lacks_second_factor
from .sessions import session_note
from .signed_out import typed_put_by


class SignInFirst(LoginRequiredMiddleware):
    """Django's own, for whom a form that is sent too late is not lost without a word."""

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        """To the sign-in page, and from there back to what was typed."""
        is_form = request.method == "POST" and not request.headers.get("HX-Request")
        if is_form and typed_put_by(request, view_func):
            return redirect_to_login(f"{request.path}?{BACK}")
        return super().handle_no_permission(request, view_func)


# What people must reach without a second factor: to set it up, to sign out, to see where they are signed in.
OWN_ACCOUNT = ("account_", "mfa_", "session")


class SecondFactorFirst:
    """Leads whoever must have a second factor and has none to the page that sets it up, before any other opens."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: object, kwargs: object
    ) -> HttpResponse | None:
        """Whoever may be here without signing in may be here without a second factor, too."""
        person, place = request.user, request.resolver_match
        name = (place.url_name if place else "") or ""
        is_open = not getattr(view, "login_required", True) or name.startswith(OWN_ACCOUNT)
        if is_open or not isinstance(person, User) or not lacks_second_factor(request, person):
            return None
        return redirect(f"{reverse('mfa_activate_totp')}?first")


class PersonTimeZone:
    """Activates the person's time zone, else their (first) district's, for the length of a request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(self._zone(request)):
            return self.get_response(request)

    def _zone(self, request: HttpRequest) -> zoneinfo.ZoneInfo | None:
        if not request.user.is_authenticated:
            return None
        name = request.user.time_zone
        if not name and not request.user.staff_role:
            mine = request.user.own_memberships
            name = mine[0].district.time_zone if mine else ""
        return zoneinfo.ZoneInfo(name) if name else None


class SessionSeen:
    """Keeps the list of where a person is signed in up to date."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            session_note(request)
        return self.get_response(request)
