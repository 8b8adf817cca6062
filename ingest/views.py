"""Pages about uploads: a district's own, and the staff's over all districts."""

from django.contrib import messages
from django.db.models import Case, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import district_for, tool_for
from accounts.core.roles import Right, Tool
from accounts.models import District, User
from accounts.tables import table_page

from . import selectors, services, wording
from .access import epoch_for
from .catalogue import format_title
from .forms import FormatForm
from .models import Epoch
from .tables import EpochFilter, EpochTable

FINDINGS_SHOWN = 200
WORST_FIRST = Case(When(severity="error", then=0), When(severity="warning", then=1), default=2)


@require_safe
def uploads(request: HttpRequest, slug: str) -> HttpResponse:
    """A district's nights, newest first."""
    district = district_for(request.user, slug, Tool.UPLOADS)
    return render(request, "ingest/uploads.html", _uploads(request, district))


@require_safe
def uploads_rows(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself."""
    district = district_for(request.user, slug, Tool.UPLOADS)
    return render(request, "ingest/_uploads_rows.html", _uploads(request, district))


def _uploads(request: HttpRequest, district: District) -> dict[str, object]:
    page = selectors.page(selectors.epochs_of(district), request.GET.get("page"))
    rows = [(epoch, wording.sentence(epoch)) for epoch in page.object_list]
    is_busy = any(epoch.is_under_way for epoch, _ in rows)
    return {"district": district, "page": page, "rows": rows, "poll_seconds": 2 if is_busy else 10}


@require_safe
def epoch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One epoch: its stages as they happen, counts, findings, the log; for staff, what they can do."""
    found = epoch_for(request.user, slug, pk)
    context = _epoch(request, found)
    context["format_form"] = FormatForm(initial={"format": found.format})
    return render(request, "ingest/epoch.html", context)


@require_safe
def epoch_state(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "ingest/_epoch_state.html", _epoch(request, epoch_for(request.user, slug, pk)))


def _epoch(request: HttpRequest, found: Epoch) -> dict[str, object]:
    may_act = isinstance(request.user, User) and request.user.has_tool(Tool.INGEST_HISTORY, Right.WRITE)
    return {
        "epoch": found,
        "sentence": wording.sentence(found),
        "deleted_on": selectors.deleted_on(found),
        "district": found.district,
        "format_title": format_title(found.format),
        "stages": wording.stages(found),
        "files": found.files.all(),
        "findings": found.findings.order_by(WORST_FIRST, "code", "message", "pk")[:FINDINGS_SHOWN],
        "findings_total": found.errors + found.warnings,
        "may_act": may_act,
        "poll_seconds": 1 if found.is_under_way else (5 if found.state in Epoch.OUTSIDE else 0),
    }


@require_safe
def epoch_log(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The log as it lies in /upload-processed/, as a download."""
    found = epoch_for(request.user, slug, pk)
    if not found.log:
        raise Http404
    name = f"{found.archive_name}-log.txt"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(found.log, content_type="text/plain; charset=utf-8", headers=headers)


@require_POST
def epoch_process(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """“Process now”, by staff."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    try:
        services.epoch_hurry(found, actor=person)
    except services.Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Asked for. It is looked at now, without waiting.")
    return redirect("epoch", slug=slug, pk=pk)


@require_POST
def epoch_format(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Staff say by hand what format an epoch is in."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    form = FormatForm(request.POST)
    if not form.is_valid():
        return render(request, "ingest/epoch.html", {**_epoch(request, found), "format_form": form}, status=422)
    try:
        services.epoch_format_assign(found, form.cleaned_data["format"], actor=person)
    except services.Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Assigned. It is processed in that format now.")
    return redirect("epoch", slug=slug, pk=pk)


@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Ingest history: every district's epochs, newest first, filtered by the address."""
    tool_for(request.user, Tool.INGEST_HISTORY)
    chosen = EpochFilter(request.GET, queryset=selectors.all_epochs())
    table = EpochTable(chosen.qs)
    table_page(table, request)
    context = {"table": table, "filter": chosen, "counts": selectors.state_counts()}
    return render(request, "ingest/history.html", context)
