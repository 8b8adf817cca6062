"""Propagation for ops: hosts, runs, accounts that could not be brought, and sets that are newer on their host."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import exporting
from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in, typed_before
from accounts.models import District
from accounts.tables import table_page

from .. import overview, selectors, services
from ..core.plot import plot_of, told
from ..forms import KeepForm, ScheduleForm
from ..models import AccountKey, KeyFile, KeySet, PropagationFailure, PropagationRun
from ..tables import RUN_ACCOUNT_COLUMNS, RUN_COLUMNS, RunFilter, RunTable
from .attention import matters, standing_of
from .doors import by_person

# A page is read by people; what is beyond stands in the count.
MOST_ROWS = 50
NEWEST_RUNS = 5
MOST_SETS = 200


@require_safe
def propagation(request: HttpRequest) -> HttpResponse:
    """Propagation for ops: what needs them, hosts, last and next run, what each run did, how long saved keys took."""
    person = tool_for(request.user, Tool.PROPAGATION)
    context = {
        **_propagation_state(),
        **_time_to_live(),
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
    running, counts = selectors.unfinished_runs().first(), overview.counts()
    hosts, newer, held = list(overview.hosts_counted()), list(selectors.newer_on_host()), overview.held_files()
    found = matters(hosts, newer=len(newer), held=held.count())
    return {
        "hosts": [(host, standing_of(host)) for host in hosts],
        "needing": [matter for matter in found if matter.standing.needs_you],
        "others": [matter for matter in found if not matter.standing.needs_you],
        "newer": newer,
        "counts": counts,
        "failed": overview.failed_files()[:MOST_ROWS],
        "held": held[:MOST_ROWS],
        "running": running,
        "running_parts": running.hosts.select_related("host") if running else (),
        "runs": overview.full_runs()[:NEWEST_RUNS],
        "last_full": overview.full_runs().filter(state=PropagationRun.State.DONE).first(),
        "not_looked": overview.hosts_not_looked_through(),
        "next_run": selectors.next_hourly_run(),
        "poll_seconds": 2 if running or counts.waiting else 0,
    }


def _time_to_live() -> dict[str, object]:
    """The plot of time to live, drawn twice: for wide screens and for narrow ones."""
    today = timezone.localdate()
    days = overview.days_lately(today)
    return {
        "days": [(day, told(day.median), told(day.most)) for day in reversed(days)],
        "wide": plot_of(days, today, width=720, height=230, labels=6),
        "narrow": plot_of(days, today, width=330, height=230, labels=3),
    }


def _minutes_now() -> int:
    first = selectors.next_hourly_run()
    return round((selectors.next_hourly_run(first) - first).total_seconds() / 60)


@require_safe
def propagation_runs(request: HttpRequest) -> HttpResponseBase:
    """Every run, newest first, filtered by the address."""
    tool_for(request.user, Tool.PROPAGATION)
    chosen = RunFilter(request.GET, queryset=overview.runs_marked())
    table = RunTable(chosen.qs)
    if exporting.is_asked(request):
        return exporting.table_download(request, "runs", RUN_COLUMNS, table)
    table_page(table, request)
    return render(request, "keys/propagation_runs.html", {"table": table, "filter": chosen})


@require_safe
def propagation_run(request: HttpRequest, pk: int) -> HttpResponseBase:
    """One run: what it did on each host, the keys it brought, the accounts it failed for."""
    tool_for(request.user, Tool.PROPAGATION)
    if exporting.is_asked(request):
        run = get_object_or_404(PropagationRun, pk=pk)
        return exporting.csv_download(f"run-{run.pk}", RUN_ACCOUNT_COLUMNS, _accounts_of(run))
    return render(request, "keys/propagation_run.html", _run_state(pk))


def _accounts_of(run: PropagationRun) -> Iterator[PropagationFailure | KeySet]:
    """The accounts it failed for, then those to which it brought something."""
    about = ("account__district", "account__host")
    failures = run.failures.select_related(*about)
    sets = run.key_sets.select_related(*about).order_by("-on_host", "-pk")
    return chain(failures.iterator(exporting.AT_ONCE), sets.iterator(exporting.AT_ONCE))


@require_safe
def propagation_run_state(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of that page that changes by itself."""
    tool_for(request.user, Tool.PROPAGATION)
    return render(request, "keys/_run_body.html", _run_state(pk))


def _run_state(pk: int) -> dict[str, object]:
    run = get_object_or_404(overview.runs_marked(), pk=pk)
    sets = run.key_sets.select_related("account__district", "account__host").order_by("-on_host", "-pk")
    brought = overview.brought_by(run)
    failures = run.failures.select_related("account__district")
    return {
        "run": run,
        "parts": run.hosts.select_related("host"),
        "sets": [(made, told(_seconds(made))) for made in sets[:MOST_SETS]],
        "brought": brought,
        "times": [told(brought.median), told(brought.most), told(brought.longest)] if brought else (),
        "failures": failures[:MOST_SETS],
        "failures_count": failures.count(),
        "poll_seconds": 0 if run.state == PropagationRun.State.DONE else 2,
    }


def _seconds(made: KeySet) -> float:
    """From being saved to being read back; a set that a run brought has both times."""
    return max(0.0, (made.on_host - made.at).total_seconds()) if made.on_host else 0.0


@require_POST
def propagation_now(request: HttpRequest) -> HttpResponse:
    """“Propagate now”: all accounts, at once."""
    person = tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    fresh_sign_in(request, reverse("propagation"))
    services.run_want(PropagationRun.Cause.NOW, actor=person)
    messages.success(request, "Asked for. All accounts are being brought to their hosts now.")
    return redirect("propagation")


@require_POST
def propagation_schedule(request: HttpRequest) -> HttpResponse:
    """Sets how often all accounts are propagated."""
    person = tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    form = ScheduleForm(request.POST)
    if not form.is_valid():
        context = {**_propagation_state(), **_time_to_live(), "form": form, "may_write": True}
        return render(request, "keys/propagation.html", context, status=422)
    fresh_sign_in(request, reverse("propagation"))
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
        return _kept(request, file, form.cleaned_data["seen"], form.given_reason)
    if not file.found:
        raise Http404
    may_write = person.has_tool(Tool.PROPAGATION, Right.WRITE)
    context = {"file": file, "newer": _newer(file), "form": form, "may_write": may_write}
    return render(request, "keys/propagation_newer.html", context, status=422 if form.errors else 200)


def _kept(request: HttpRequest, file: KeyFile, seen: str, reason: str) -> HttpResponse:
    try:
        services.older_set_keep(file.account, seen=seen, by=by_person(request, reason))
    except services.NothingToSettle:
        messages.warning(
            request, "What you decided about is settled, or the host has another set now. Nothing was changed."
        )
    else:
        messages.success(request, f"The database's keys of {file.account.district.name} are on their way to the host.")
    return redirect("propagation")


def _newer(file: KeyFile) -> Newer:
    on_host = set(file.found["fingerprints"] if file.found else ())
    keys = list(selectors.keys_of(file.account))
    # Of a district that is suspended or closed none is brought.
    is_active = file.account.district.state == District.State.ACTIVE
    usable = [key for key in keys if is_active and key.disabled is None]
    return Newer(
        coming_back=tuple(key for key in usable if key.fingerprint not in on_host),
        going=tuple(sorted(on_host - {key.fingerprint for key in keys})),
        staying=tuple(key for key in keys if key.fingerprint in on_host),
    )
