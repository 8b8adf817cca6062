"""Propagation for ops: hosts, runs, accounts that could not be brought, and sets that are newer on their host."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in, typed_before
from hosts.models import Host

from .. import selectors, services
from ..forms import KeepForm, ScheduleForm
from ..models import AccountKey, KeyFile, PropagationRun
from .doors import by_person


@require_safe
def propagation(request: HttpRequest) -> HttpResponse:
    """Propagation for ops: hosts, last and next run, what each run did."""
    person = tool_for(request.user, Tool.PROPAGATION)
    context = {
        **_propagation_state(),
        "form": ScheduleForm(initial={"minutes": _minutes_now()}),
        "may_write": person.has_tool(Tool.PROPAGATION, Right.WRITE),
    }
    return render(request, "keys/propagation.html", context)


@require_safe
def propagation_state(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes by itself."""
    tool_for(request.user, Tool.PROPAGATION)
    return render(request, "keys/_propagation_state.html", _propagation_state())


def _propagation_state() -> dict[str, object]:
    files = KeyFile.objects.all()
    running = selectors.unfinished_runs().first()
    waiting = files.filter(state=KeyFile.State.WAITING).count()
    return {
        "hosts": Host.objects.all(),
        "newer": selectors.newer_on_host(),
        "total": files.count(),
        "on_host": files.filter(state=KeyFile.State.ON_HOST).count(),
        "waiting": waiting,
        "failed": files.filter(state=KeyFile.State.FAILED).select_related("account__district")[:50],
        "failed_count": files.filter(state=KeyFile.State.FAILED).count(),
        "running": running,
        "runs": PropagationRun.objects.select_related("asked_by")[:25],
        "last_full": PropagationRun.objects.filter(state="done").exclude(cause="saved").first(),
        "next_run": selectors.next_hourly_run(),
        "poll_seconds": 2 if running or waiting else 0,
        "now": timezone.now(),
    }


def _minutes_now() -> int:
    first = selectors.next_hourly_run()
    return round((selectors.next_hourly_run(first) - first).total_seconds() / 60)


@require_safe
def propagation_run(request: HttpRequest, pk: int) -> HttpResponse:
    """One run and the accounts it failed for."""
    tool_for(request.user, Tool.PROPAGATION)
    run = get_object_or_404(PropagationRun.objects.select_related("asked_by"), pk=pk)
    failures = run.failures.select_related("account__district")
    return render(request, "keys/propagation_run.html", {"run": run, "failures": failures})


@require_POST
def propagation_now(request: HttpRequest) -> HttpResponse:
    """“Propagate now”: all accounts, at once."""
    person = tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    services.run_want(PropagationRun.Cause.NOW, actor=person)
    messages.success(request, "Asked for. All accounts are being brought to their hosts now.")
    return redirect("propagation")


@require_POST
def propagation_schedule(request: HttpRequest) -> HttpResponse:
    """Sets how often all accounts are propagated."""
    person = tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    form = ScheduleForm(request.POST)
    if not form.is_valid():
        context = {**_propagation_state(), "form": form, "may_write": True}
        return render(request, "keys/propagation.html", context, status=422)
    services.hourly_set(form.cleaned_data["minutes"], actor=person)
    messages.success(request, f"Saved. The next run over all accounts starts at {_clock(selectors.next_hourly_run())}.")
    return redirect("propagation")


def _clock(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%H:%M %Z")


@dataclass(frozen=True, slots=True)
class Newer:
    """What keeping the database's set does: keys it would bring back, and how many it would take from the host."""

    coming_back: tuple[AccountKey, ...]
    going: tuple[str, ...]
    staying: tuple[AccountKey, ...]


@require_http_methods(["GET", "HEAD", "POST"])
def propagation_newer(request: HttpRequest, pk: int) -> HttpResponse:
    """An account whose host has a newer set than the database: what is at stake, and “Keep the database's set”."""
    is_sent = request.method == "POST"
    right = Right.WRITE if is_sent else Right.READ
    person = tool_for(request.user, Tool.PROPAGATION, right)
    file = get_object_or_404(KeyFile.objects.select_related("account__district", "account__host"), pk=pk)
    form = KeepForm(request.POST if is_sent else typed_before(request), is_vendors=True)
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        return _kept(request, file, form.given_reason)
    if not file.found:
        raise Http404
    may_write = person.has_tool(Tool.PROPAGATION, Right.WRITE)
    context = {"file": file, "newer": _newer(file), "form": form, "may_write": may_write}
    return render(request, "keys/propagation_newer.html", context, status=422 if form.errors else 200)


def _kept(request: HttpRequest, file: KeyFile, reason: str) -> HttpResponse:
    try:
        services.older_set_keep(file.account, by=by_person(request, reason))
    except services.NothingToSettle:
        messages.warning(request, "There is nothing to settle any more. Nothing was changed.")
    else:
        messages.success(request, f"The database's keys of {file.account.district.name} are on their way to the host.")
    return redirect("propagation")


def _newer(file: KeyFile) -> Newer:
    on_host = set(file.found["fingerprints"] if file.found else ())
    keys = list(selectors.keys_of(file.account))
    return Newer(
        coming_back=tuple(key for key in keys if key.fingerprint not in on_host),
        going=tuple(sorted(on_host - {key.fingerprint for key in keys})),
        staying=tuple(key for key in keys if key.fingerprint in on_host),
    )
