"""One record found by its id: which night added it, changed which columns, removed it."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.models import District

from .. import lookups, selectors
from ..forms import RecordForm
from ..lookups import Refused


@require_http_methods(["GET", "HEAD", "POST"])
def record_find(request: HttpRequest, slug: str) -> HttpResponse:
    """Asks for an id and a reason."""
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    district = get_object_or_404(District, slug=slug)
    form = RecordForm(request.POST or None, tables=lookups.tables_to_find(district))
    if form.is_valid():
        told = form.cleaned_data
        try:
            look = lookups.record_look(district, told["table"], told["key"], reason=told["reason"], actor=person)
        except Refused as refused:
            form.add_error("key", refused.message)
        else:
            return redirect("record_look", slug=slug, pk=look.pk)
    context = {"district": district, "form": form}
    return render(request, "ingest/record_find.html", context, status=422 if form.errors else 200)


@require_safe
def record_look(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The record's history, for whoever has just asked for it, for a short while."""
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    look = lookups.look_of(pk, person)
    if look is None or look.record.dataset.district.slug != slug:
        raise Http404
    events = selectors.record_history(look.record)
    context = {
        "district": look.record.dataset.district,
        "look": look,
        "record": look.record,
        "events": list(reversed(events)),
        "minutes": int(lookups.OPEN_FOR.total_seconds() // 60),
    }
    return render(request, "ingest/record_look.html", context)
