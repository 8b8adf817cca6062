"""Blackouts of every district, and of several at once: read and set by staff."""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.models import User

from .. import limiting, selectors
from ..forms import BlackoutsForm
from ..limiting import Refused
from ..models import BlackoutDays

MOST_PAST = 20


@require_safe
def blackouts(request: HttpRequest) -> HttpResponse:
    """Every blackout in force or to come, and the last ones that are over."""
    tool_for(request.user, Tool.INGEST_HISTORY)
    today = timezone.localdate()
    days = {"first": today, "last": today + timedelta(days=1), "whose": BlackoutsForm.EVERY}
    return _page(request, BlackoutsForm(initial=days))


@require_POST
def blackouts_add(request: HttpRequest) -> HttpResponse:
    """Sets days on which nothing is applied, for every district or for several."""
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    form = BlackoutsForm(request.POST)
    if form.is_valid():
        try:
            told = _set(form, person)
        except Refused as refused:
            form.add_error("last", refused.message)
        else:
            messages.success(request, f"{told} On these days nights are received and checked, and not applied.")
            return redirect("blackouts")
    return _page(request, form)


def _set(form: BlackoutsForm, person: User) -> str:
    days = {name: form.cleaned_data[name] for name in ("first", "last", "why")}
    if form.cleaned_data["whose"] == BlackoutsForm.EVERY:
        limiting.blackout_set(None, **days, actor=person)
        return "Set for every district."
    limiting.blackouts_set(form.districts, **days, actor=person)
    return f"Set for {len(form.districts)} district{'' if len(form.districts) == 1 else 's'}."


@require_POST
def blackouts_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends a blackout before its last day, or takes one back that is to come."""
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    made = get_object_or_404(BlackoutDays, pk=pk)
    try:
        limiting.blackout_end(made, actor=person)
    except Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Ended. The next nights are applied again, as far as no other blackout counts.")
    return redirect("blackouts")


def _page(request: HttpRequest, form: BlackoutsForm) -> HttpResponse:
    context = {
        "form": form,
        "page": selectors.page(selectors.blackouts(), request.GET.get("page")),
        "past": selectors.blackouts_past()[:MOST_PAST],
        "today": timezone.localdate(),
        "may_act": isinstance(request.user, User) and request.user.has_tool(Tool.INGEST_HISTORY, Right.WRITE),
    }
    return render(request, "ingest/blackouts.html", context, status=422 if form.errors else 200)
