"""How much a night of one district may change, blackouts, and when it is expected: read and set by staff."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.models import District, User

from .. import allowances, arrivals, limiting, selectors
from ..forms import WEEKDAYS, ArrivalForm, BlackoutForm, RaiseForm, StandingLimitForm
from ..limiting import Change, Refused
from ..models import BlackoutDays, LimitRaise
from . import held

WOULD_PASS = "1 held night would pass now: it stays held until you have it judged again."


@require_safe
def guard_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Limits, raises, blackouts and the expected arrival of one district."""
    tool_for(request.user, Tool.INGEST_HISTORY)
    return _page(request, get_object_or_404(District, slug=slug))


def _door(request: HttpRequest, slug: str) -> tuple[District, User]:
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    return get_object_or_404(District, slug=slug), person


@require_POST
def guard_limit(request: HttpRequest, slug: str) -> HttpResponse:
    """Sets a standing limit, or lets the usual one count again."""
    district, person = _door(request, slug)
    form = StandingLimitForm(request.POST, tables=selectors.tables_of(district), prefix="limit")

    def act() -> None:
        is_usual = form.cleaned_data["percent"] is None
        limiting.limits_set(district, _change(form), is_usual=is_usual, actor=person)

    return _done(request, district, form, "limit", act, "Saved. It counts from the next night on.")


@require_POST
def guard_raise(request: HttpRequest, slug: str) -> HttpResponse:
    """Raises a limit for some days."""
    district, person = _door(request, slug)
    form = RaiseForm(request.POST, tables=selectors.tables_of(district), prefix="raise")

    def act() -> None:
        told = {name: form.cleaned_data[name] for name in ("first", "last", "reason")}
        limiting.limit_raise(district, _change(form), **told, actor=person)

    return _done(request, district, form, "raise", act, "Raised. It ends by itself after its last day.")


@require_POST
def guard_blackout(request: HttpRequest, slug: str) -> HttpResponse:
    """Sets days on which nothing is applied."""
    district, person = _door(request, slug)
    form = BlackoutForm(request.POST, prefix="blackout")

    def act() -> None:
        limiting.blackout_set(district, **form.cleaned_data, actor=person)

    return _done(request, district, form, "blackout", act, "Saved. On these days nights are received and not applied.")


@require_POST
def guard_arrival(request: HttpRequest, slug: str) -> HttpResponse:
    """Sets by when a night is expected."""
    district, person = _door(request, slug)
    form = ArrivalForm(request.POST, prefix="arrival")

    def act() -> None:
        days = "".join(sorted(form.cleaned_data["days"]))
        limiting.arrival_set(district, form.cleaned_data["by"], days, actor=person)

    return _done(request, district, form, "arrival", act, "Saved.")


@require_POST
def guard_raise_end(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ends a raise before its last day."""
    district, person = _door(request, slug)
    made = get_object_or_404(LimitRaise, district=district, pk=pk)
    return _ended(request, slug, lambda: limiting.raise_end(made, actor=person))


@require_POST
def guard_blackout_end(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ends a blackout before its last day."""
    district, person = _door(request, slug)
    made = get_object_or_404(BlackoutDays, district=district, pk=pk)
    return _ended(request, slug, lambda: limiting.blackout_end(made, actor=person))


def _change(form: forms.Form) -> Change:
    told = form.cleaned_data
    percent = told["percent"] if told["percent"] is not None else Decimal(0)
    return Change(told["what"], told["table"], percent, told["floor"])


def _done(
    request: HttpRequest, district: District, form: forms.Form, name: str, act: Callable[[], object], told: str
) -> HttpResponse:
    """Does what a valid form asks for; otherwise the page again, with the form as it was typed."""
    if form.is_valid():
        try:
            act()
        except Refused as refused:
            form.add_error("last" if "last" in form.fields else None, refused.message)
        else:
            anew = held.anew_of(selectors.held_of(district))
            messages.success(request, f"{told} {WOULD_PASS}" if anew and anew.would_pass else told)
            return redirect("guard_settings", slug=district.slug)
    return _page(request, district, **{f"{name}_form": form})


def _ended(request: HttpRequest, slug: str, act: Callable[[], object]) -> HttpResponse:
    try:
        act()
    except Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Ended.")
    return redirect("guard_settings", slug=slug)


def _page(request: HttpRequest, district: District, **bound: forms.Form) -> HttpResponse:
    today = allowances.now_in(district).date()
    tables = selectors.tables_of(district)
    days = {"first": today, "last": today + timedelta(days=1)}
    expected = selectors.expected_of(district)
    arrival = {"by": expected.by, "days": list(expected.days)} if expected else {"days": list("0123456")}
    context = {
        "district": district,
        "usual": allowances.usual_limits(),
        "own": district.limits.all(),
        "raises": district.limit_raises.filter(ended=None, last__gte=today).select_related("by"),
        "blackouts": selectors.blackouts_of(district, today),
        "anew": held.anew_of(selectors.held_of(district)),
        "expected": expected,
        "expected_days": [WEEKDAYS[int(day)] for day in expected.days] if expected else [],
        "missing": district.missing_nights.all()[:5],
        "usual_time": arrivals.usual_time_of(district),
        "today": today,
        "may_act": isinstance(request.user, User) and request.user.has_tool(Tool.INGEST_HISTORY, Right.WRITE),
        "limit_form": StandingLimitForm(tables=tables, prefix="limit"),
        "raise_form": RaiseForm(tables=tables, prefix="raise", initial=days),
        "blackout_form": BlackoutForm(prefix="blackout", initial=days),
        "arrival_form": ArrivalForm(prefix="arrival", initial=arrival),
        **bound,
    }
    return render(request, "ingest/guard_settings.html", context, status=422 if bound else 200)
