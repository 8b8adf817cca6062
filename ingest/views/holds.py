"""What staff decide about a held night, and what its district answers."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.access import district_for, tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in
from accounts.models import User

from .. import holds
from ..access import epoch_for
from ..core.holding import Act
from ..forms import AnswerForm, DecisionForm, ReleaseForm
from ..holds import Refused, Seen
from ..models import Epoch
from .uploads import epoch_page


@require_POST
def epoch_decide(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Approve once, discard, skip to the newest, or ask the district; by staff, with a reason."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return epoch_page(request, found, 422, decision_form=form)
    fresh_sign_in(request, reverse("epoch", args=[slug, pk]))
    try:
        told = _decide(found, form, person)
    except Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, told)
    return redirect("epoch", slug=slug, pk=pk)


def _decide(epoch: Epoch, form: DecisionForm, person: User) -> str:
    """Does what was chosen; what became of the night, in a sentence."""
    seen, words = Seen(form.cleaned_data["content"], form.cleaned_data["state"]), form.cleaned_data["reason"]
    match Act(form.cleaned_data["act"]):
        case Act.APPROVE:
            settled = holds.hold_approve(epoch, seen=seen, reason=words, actor=person)
        case Act.DISCARD:
            settled = holds.hold_discard(epoch, seen=seen, reason=words, actor=person)
        case Act.SKIP:
            settled = holds.hold_skip(epoch, seen=seen, reason=words, actor=person)
        case Act.ASK:
            holds.hold_ask(epoch, seen=seen, question=words, actor=person)
            return "The district was asked. The night stays held until you decide."
        case _:
            raise Refused("not-now", "That cannot be decided here.")
    return settled[0].message


@require_POST
def epoch_judge(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Has a held night judged again by the limits of today; by staff."""
    found = epoch_for(request.user, slug, pk, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    seen = Seen(request.POST.get("content", ""), request.POST.get("state", ""))
    fresh_sign_in(request, reverse("epoch", args=[slug, pk]))
    try:
        holds.hold_judge(found, seen=seen, actor=person)
    except Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "It is compared once more, and applied if it passes. You may leave this page.")
    return redirect("epoch", slug=slug, pk=pk)


@require_POST
def epoch_answer(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A district's administrator says something about a held night."""
    found = epoch_for(request.user, slug, pk, Right.ADD)
    form = AnswerForm(request.POST)
    if not form.is_valid():
        return epoch_page(request, found, 422, answer_form=form)
    try:
        holds.hold_answer(found, answer=form.cleaned_data["answer"], actor=request.user)  # type: ignore[arg-type]
    except Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Thank you. Our staff were told.")
    return redirect("epoch", slug=slug, pk=pk)


@require_POST
def district_release(request: HttpRequest, slug: str) -> HttpResponse:
    """Nights may be applied again after one was undone; by staff."""
    district = district_for(request.user, slug, Tool.UPLOADS, Right.WRITE)
    person = tool_for(request.user, Tool.INGEST_HISTORY, Right.WRITE)
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Not released. {form.errors['reason'][0]}")
        return redirect("uploads", slug=slug)
    fresh_sign_in(request, reverse("uploads", args=[slug]))
    try:
        holds.district_release(district, reason=form.cleaned_data["reason"], actor=person)
    except Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Released. Nights that wait are compared with the records as they are now.")
    return redirect("uploads", slug=slug)
