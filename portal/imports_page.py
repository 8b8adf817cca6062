"""The pages on which many districts are opened from a CSV file: first what would happen, then how far it has got."""

import dataclasses

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts import services
from accounts.access import tool_for
from accounts.core import roster
from accounts.core.roles import Right, Tool
from accounts.forms import DistrictsImportForm
from accounts.fresh import fresh_sign_in, typed_before
from accounts.models import DistrictImport, User

from .imports import MOST_AT_ONCE, import_want, open_all, roster_of

# Of a long list: these are read by people, the others stand in the count.
MOST_SHOWN = 50


@require_http_methods(["GET", "HEAD", "POST"])
def districts_import(request: HttpRequest) -> HttpResponse:
    """A preview of what would happen; said again, a short list is opened at once, a long one behind the pages."""
    person = tool_for(request.user, Tool.DISTRICTS, Right.ADD)
    form = DistrictsImportForm(request.POST or typed_before(request), request.FILES or None)
    preview = None
    if form.is_valid():
        text = form.cleaned_data["text"]
        preview = roster_of(text)
        if preview.is_fine and "confirm" in request.POST:
            fresh_sign_in(request)
            try:
                return _opened(request, text, preview, person)
            except services.Refused as refused:
                preview = dataclasses.replace(preview, problems=(refused.message,))
    context: dict[str, object] = {"form": form, "preview": preview, "columns": roster.COLUMNS}
    if preview is not None:
        context |= {"confirm": DistrictsImportForm(initial={"text": form.cleaned_data["text"]}), **_shown(preview)}
    is_bad = form.errors or (preview is not None and not preview.is_fine)
    return render(request, "accounts/districts_import.html", context, status=422 if is_bad else 200)


def _shown(preview: roster.Roster) -> dict[str, object]:
    """The lines that people look at: those with problems, then the first."""
    bad = [row for row in preview.rows if row.problems]
    rows = bad or preview.rows
    return {"bad_count": len(bad), "bad": bad[:MOST_SHOWN], "rows": rows[:MOST_SHOWN], "rows_count": len(rows)}


def _opened(request: HttpRequest, text: str, preview: roster.Roster, person: User) -> HttpResponse:
    if len(preview.rows) > MOST_AT_ONCE:
        return redirect("import_shown", pk=import_want(text, preview, person).pk)
    open_all(preview, person)
    messages.success(request, f"{len(preview.rows)} districts are open; their administrators were invited.")
    return redirect("districts")


@require_safe
def import_shown(request: HttpRequest, pk: int) -> HttpResponse:
    """How far a long list has got."""
    return render(request, "portal/district_import.html", {"asked": _asked(request, pk)})


@require_safe
def import_state(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "portal/_district_import_state.html", {"asked": _asked(request, pk)})


def _asked(request: HttpRequest, pk: int) -> DistrictImport:
    tool_for(request.user, Tool.DISTRICTS, Right.ADD)
    return get_object_or_404(DistrictImport.objects.select_related("asked_by").defer("text"), pk=pk)
