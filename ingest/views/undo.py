"""The page on which staff take the last applied night back: what that would change, and why it is done."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in, typed_before

from .. import guarding, undos
from ..access import epoch_for
from ..forms import UndoForm
from ..models import Epoch
from ..undos import Refused
from .held import changes_told


@require_http_methods(["GET", "HEAD", "POST"])
def epoch_undo(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Shows what taking the night back would change; sent with a reason, does it."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    if request.method != "POST":
        typed = typed_before(request)
        return _page(request, found, UndoForm(typed, is_over=True) if typed else None)
    form = UndoForm(request.POST, is_over=True)
    if not form.is_valid():
        return _page(request, found, form)
    fresh_sign_in(request)
    told = {"version": form.cleaned_data["version"], "is_over_seen": form.cleaned_data["over"]}
    try:
        undos.epoch_undo(found, **told, reason=form.cleaned_data["reason"], actor=person)
    except Refused as refused:
        if refused.code == "over-limit":
            form.add_error("over", refused.message)
            return _page(request, found, form)
        messages.error(request, refused.message)
    else:
        messages.success(request, "Taken back. Nothing new is applied in this district until you release it.")
    return redirect("epoch", slug=slug, pk=pk)


def _page(request: HttpRequest, epoch: Epoch, form: UndoForm | None = None) -> HttpResponse:
    why_not = undos.refusal(epoch)
    context: dict[str, object] = {"epoch": epoch, "district": epoch.district, "why_not": why_not}
    if not why_not:
        judged = guarding.undo_judged(epoch)
        context |= changes_told(judged.tables, judged.sample)
        context["holds"] = judged.holds
        initial = {"version": undos.version_of(epoch)}
        context["form"] = form or UndoForm(initial=initial, is_over=bool(judged.holds))
    return render(request, "ingest/epoch_undo.html", context, status=422 if form and form.errors else 200)
