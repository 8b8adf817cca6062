"""Where a person is signed in, to be read and ended by them."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from .. import services
from ..models import User
from ..sessions import sessions_of, signed_in


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@login_required
@require_safe
def sessions(request: HttpRequest) -> HttpResponse:
    """Every browser in which this person is signed in."""
    return render(request, "accounts/sessions.html", {"sessions": signed_in(request, _person(request))})


@login_required
@require_POST
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Signs this person out of one other browser."""
    person = _person(request)
    others = sessions_of(person).exclude(session_key=request.session.session_key)
    services.sessions_end([get_object_or_404(others, pk=pk)], person=person, actor=person)
    messages.success(request, "That browser is signed out.")
    return redirect("sessions")


@login_required
@require_POST
def sessions_end_others(request: HttpRequest) -> HttpResponse:
    """Signs this person out everywhere but here."""
    person = _person(request)
    others = list(sessions_of(person).exclude(session_key=request.session.session_key))
    if others:
        services.sessions_end(others, person=person, actor=person)
    messages.success(request, "You are signed in here only now.")
    return redirect("sessions")
