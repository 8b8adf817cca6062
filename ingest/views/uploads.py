"""Pages about uploads: a district's own, and the staff's over all districts."""

from django.contrib import messages
from django.db.models import Case, When
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts import exporting
from accounts.access import district_for, tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import typed_before
from accounts.models import District, User
from accounts.tables import table_page

from .. import endings, selectors, services, undos, wording
from ..access import epoch_for
from ..catalogue import format_title
from ..forms import DecisionForm, EndForm, FormatForm, NoteForm, ReleaseForm
from ..models import Epoch
from ..outcome import is_loaded
from ..tables import EPOCH_COLUMNS, EpochFilter, EpochTable
from ..wording import is_compared
from . import held
from .downloads import findings_download

FINDINGS_SHOWN = 200
# Forms stand on the page of a held night: it does not change by itself.
POLL: dict[str, int] = {
    Epoch.State.QUEUED: 1,
    Epoch.State.WORKING: 1,
    Epoch.State.BEHIND: 10,
    **dict.fromkeys(Epoch.OUTSIDE[:2], 5),
}
HURRIED = (*Epoch.OUTSIDE, Epoch.State.WORKING, Epoch.State.STUCK)
# What waits until a district is suspended no more.
SELDOM = 10
WORST_FIRST = Case(When(severity="error", then=0), When(severity="warning", then=1), default=2)


@require_safe
def uploads(request: HttpRequest, slug: str) -> HttpResponse:
    """A district's nights, newest first."""
    district = district_for(request.user, slug, Tool.UPLOADS)
    release = ReleaseForm(typed_before(request, reverse("district_release", args=[slug])))
    return render(request, "ingest/uploads.html", {**_uploads(request, district), "release_form": release})


@require_safe
def uploads_rows(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself."""
    district = district_for(request.user, slug, Tool.UPLOADS)
    return render(request, "ingest/_uploads_rows.html", _uploads(request, district))


def _uploads(request: HttpRequest, district: District) -> dict[str, object]:
    page = selectors.page(selectors.epochs_of(district), request.GET.get("page"))
    rows = [(epoch, wording.sentence(epoch)) for epoch in page.object_list]
    is_busy = any(epoch.is_under_way for epoch, _ in rows)
    return {
        "district": district,
        "page": page,
        "rows": rows,
        "stopped": selectors.stopped_since(district),
        "release_form": ReleaseForm(),
        "may_act": may_act(request),
        "poll_seconds": 2 if is_busy else 10,
    }


def may_act(request: HttpRequest) -> bool:
    """Whether this person is of the staff who decide about epochs."""
    return isinstance(request.user, User) and request.user.has_tool(Tool.INGEST_HISTORY, Right.WRITE)


@require_safe
def epoch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One epoch: its stages as they happen, counts, findings, the log; for staff, what they can do."""
    found = epoch_for(request.user, slug, pk)
    typed = typed_before(request, reverse("epoch_decide", args=[slug, pk])) if may_act(request) else None
    if typed:
        return epoch_page(request, found, decision_form=DecisionForm(typed))
    return epoch_page(request, found)


def epoch_page(request: HttpRequest, found: Epoch, status: int = 200, **forms: object) -> HttpResponse:
    """The page of one epoch, with forms that were refused in place of fresh ones."""
    fresh = {"format_form": FormatForm(initial={"format": found.format}), "end_form": EndForm()}
    context = {**_epoch(request, found), **fresh, **_notes(request, found), **forms}
    if not endings.refusal(found):
        context["end_way"] = endings.way_of(found).value
    return render(request, "ingest/epoch.html", context, status=status)


def _notes(request: HttpRequest, found: Epoch) -> dict[str, object]:
    """What staff tell each other about it; nothing for its district."""
    if not (isinstance(request.user, User) and request.user.has_tool(Tool.INGEST_HISTORY)):
        return {}
    return {"is_colleague": True, "staff_notes": selectors.notes_of(found), "note_form": NoteForm()}


@require_safe
def epoch_state(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "ingest/_epoch_state.html", _epoch(request, epoch_for(request.user, slug, pk)))


def _epoch(request: HttpRequest, found: Epoch) -> dict[str, object]:
    told = held.context_of(request, found)
    # Behind nothing: it was sent back to be compared, or what it waited for has just been decided.
    is_next = found.state == Epoch.State.BEHIND and not (told["first"] or told["stopped"] or found.is_paused)
    is_in = found.state == Epoch.State.STUCK and is_loaded(found)
    return {
        **told,
        "epoch": found,
        "sentence": wording.IS_NEXT if is_next else wording.sentence(found),
        "deleted_on": selectors.deleted_on(found),
        "district": found.district,
        "format_title": format_title(found.format),
        "stages": wording.stages(found),
        "files": found.files.all(),
        "findings": found.findings.order_by(WORST_FIRST, "code", "message", "pk")[:FINDINGS_SHOWN],
        "findings_total": found.errors + found.warnings,
        "listed": selectors.listed_of(found),
        "may_act": may_act(request),
        "is_applied": found.state == Epoch.State.LOADED or is_in or not is_compared(found),
        "is_lost": endings.is_lost(found),
        "is_loaded": is_in,
        "can_undo": found.applied_version is not None and not undos.refusal(found),
        "can_hurry": found.state in HURRIED and found.district.state == District.State.ACTIVE,
        "poll_seconds": 1 if is_next else _poll_seconds(found),
    }


def _poll_seconds(found: Epoch) -> int:
    return SELDOM if found.is_paused else POLL.get(found.state, 0)


@require_safe
def epoch_log(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The log as it lies in /upload-processed/, as a download."""
    found = epoch_for(request.user, slug, pk)
    if not found.log:
        raise Http404
    name = f"{found.archive_name}-log.txt"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(found.log, content_type="text/plain; charset=utf-8", headers=headers)


@require_safe
def epoch_findings(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """All findings as CSV, as they lie in /upload-processed/; as soon as the check has ended."""
    found = epoch_for(request.user, slug, pk)
    return findings_download(found, found.archive_name or f"epoch-{found.pk}")


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
def epoch_end(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ends an epoch that trouble on our side has stopped; by staff, with a reason."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    form = EndForm(request.POST)
    if not form.is_valid():
        return epoch_page(request, found, 422, end_form=form)
    try:
        is_applied = services.epoch_end(found, reason=form.cleaned_data["reason"], actor=person)
    except services.Refused as refused:
        messages.error(request, refused.message)
    else:
        left = "Its rows stay applied." if is_applied else "Nothing of it is applied."
        messages.success(request, f"It is ended, and later epochs go on. {left}")
    return redirect("epoch", slug=slug, pk=pk)


@require_POST
def epoch_format(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Staff say by hand what format an epoch is in."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    form = FormatForm(request.POST)
    if not form.is_valid():
        return epoch_page(request, found, 422, format_form=form)
    try:
        services.epoch_format_assign(found, form.cleaned_data["format"], actor=person)
    except services.Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Assigned. It is processed in that format now.")
    return redirect("epoch", slug=slug, pk=pk)


@require_POST
def epoch_note(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One of staff writes something down for colleagues, whatever state the epoch or its district is in."""
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    found = epoch_for(person, slug, pk)
    form = NoteForm(request.POST)
    if not form.is_valid():
        return epoch_page(request, found, 422, note_form=form)
    services.epoch_note_write(found, form.cleaned_data["note"], actor=person)
    messages.success(request, "Your note is kept.")
    return redirect(f"{reverse('epoch', args=[slug, pk])}#staff-notes")


@require_safe
def history(request: HttpRequest) -> HttpResponseBase:
    """Ingest history: every district's epochs, newest first, filtered by the address."""
    tool_for(request.user, Tool.INGEST_HISTORY)
    chosen = EpochFilter(request.GET, queryset=selectors.notes_counted(selectors.held_first(selectors.all_epochs())))
    table = EpochTable(chosen.qs)
    if exporting.is_asked(request):
        return exporting.table_download(request, "ingest-history", EPOCH_COLUMNS, table)
    table_page(table, request)
    stopped = selectors.districts_stopped()
    context = {
        "table": table,
        "filter": chosen,
        "counts": selectors.open_counts(),
        "stopped": stopped,
        "blackout": selectors.blackout_of_all(timezone.localdate()),
    }
    return render(request, "ingest/history.html", context)
