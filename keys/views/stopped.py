"""A run that stopped on a host, since keys would go that nobody asked to remove: which, why perhaps, and the choice."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in, typed_before
from accounts.models import SftpAccount
from hosts.core.errors import HostError

from .. import overview, services
from ..core.drift import removal_digest
from ..forms import AllowForm
from ..models import HostRun
from ..propagation import unasked_of
from .doors import by_person

MOST_FILES = 100


@dataclass(frozen=True, slots=True)
class Unasked:
    """Keys that would go from one file: its name, its account (None: of no account of ours), their fingerprints."""

    username: str
    account: SftpAccount | None
    fingerprints: tuple[str, ...]


@require_http_methods(["GET", "HEAD", "POST"])
def propagation_stopped(request: HttpRequest, pk: int) -> HttpResponse:
    """What the run would have done, what may have happened, and “Let these keys go”."""
    is_sent = request.method == "POST"
    right = Right.WRITE if is_sent else Right.READ
    person = tool_for(request.user, Tool.PROPAGATION, right)
    stopped = HostRun.objects.filter(state=HostRun.State.STOPPED).select_related("host", "run", "allowed_by")
    part = get_object_or_404(stopped, pk=pk)
    form = AllowForm(request.POST if is_sent else typed_before(request))
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        return _allowed(request, part, form.given_reason)
    context = {
        "part": part,
        "form": form,
        "newest": overview.stopped_parts().filter(host=part.host).first(),
        "may_write": person.has_tool(Tool.PROPAGATION, Right.WRITE),
    }
    return render(request, "keys/propagation_stopped.html", context, status=422 if form.errors else 200)


def _allowed(request: HttpRequest, part: HostRun, reason: str) -> HttpResponse:
    try:
        services.unasked_allow(part, by=by_person(request, reason))
    except services.NothingToSettle:
        messages.warning(request, "Somebody else has decided this in the meantime. Nothing was changed.")
    else:
        messages.success(request, f"Just these {part.unasked:,} keys may go now. A run over all accounts is asked for.")
    return redirect("propagation")


@require_safe
def propagation_stopped_keys(request: HttpRequest, pk: int) -> HttpResponse:
    """The keys themselves, as they stand on the host now: it is asked for them, which takes some seconds."""
    tool_for(request.user, Tool.PROPAGATION)
    part = get_object_or_404(HostRun.objects.select_related("host", "run"), pk=pk, state=HostRun.State.STOPPED)
    template = "keys/_stopped_keys.html" if request.htmx else "keys/stopped_keys.html"  # type: ignore[attr-defined]
    try:
        unasked = unasked_of(part)
    except HostError as error:
        return render(request, template, {"part": part, "problem": error.message})
    context = {
        "part": part,
        "rows": _rows(unasked),
        "count": len(unasked),
        "account_count": len({username for _, username, _ in unasked}),
        "is_same": removal_digest(unasked) == part.unasked_digest,
    }
    return render(request, template, context)


def _rows(unasked: list[tuple[int, str, str]]) -> list[Unasked]:
    """File by file, as `unasked` is sorted."""
    found = list(islice(_files(unasked), MOST_FILES))
    accounts = SftpAccount.objects.select_related("district").in_bulk([pk for pk, _, _ in found if pk])
    return [Unasked(username, accounts.get(pk), fingerprints) for pk, username, fingerprints in found]


def _files(unasked: list[tuple[int, str, str]]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for (pk, username), keys in groupby(unasked, key=lambda one: one[:2]):
        yield pk, username, tuple(fingerprint for _, _, fingerprint in keys)
