"""SFTP hosts for ops: how each stands, setting one up in steps, its host key compared and confirmed."""

from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in, typed_before
from accounts.models import SftpAccount
from accounts.services import hosts_ready
from hosts.connect import fingerprint
from hosts.core.errors import HostError
from hosts.models import DamagedHome, Host

from .. import overview, services
from ..forms import HostEditForm, HostForm, HostKeyForm, HostReasonForm, HostRemoveForm
from ..trial import Trial, host_try
from .attention import has_little_space, is_new, key_waits, standing_of
from .doors import by_person

MOST_PARTS, MOST_HOMES = 10, 50
DONE, NOW, OPEN = "done", "now", "open"


@require_safe
def hosts(request: HttpRequest) -> HttpResponse:
    """All hosts, and how each stands."""
    person = tool_for(request.user, Tool.PROPAGATION)
    rows = [(host, standing_of(host)) for host in overview.hosts_counted()]
    context = {
        "rows": rows,
        "needing": [host for host, standing in rows if standing.needs_you],
        "away": [host for host, standing in rows if standing.tone == "bad"],
        # They answer themselves, and take keys.
        "helper_only": not any(host.tries for host, standing in rows if standing.tone == "bad"),
        "may_write": person.has_tool(Tool.PROPAGATION, Right.WRITE),
    }
    return render(request, "keys/hosts.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def host_new(request: HttpRequest) -> HttpResponse:
    """A new OpenSSH host."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    form = HostForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        fresh_sign_in(request)
        try:
            made = services.host_add(**form.cleaned_data, by=by_person(request))
        except services.HostNameTaken:
            form.add_error("name", "Another host has this name. Choose one of its own.")
        else:
            messages.success(request, f"{made.name} is noted. Nothing is sent to it before its host key is confirmed.")
            return redirect("host", pk=made.pk)
    return render(request, "keys/host_new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
def host(request: HttpRequest, pk: int) -> HttpResponse:
    """One host: how it stands, and what to do next."""
    person = tool_for(request.user, Tool.PROPAGATION)
    return render(request, "keys/host.html", _page(_host(pk), person.has_tool(Tool.PROPAGATION, Right.WRITE)))


def _host(pk: int) -> Host:
    return get_object_or_404(overview.hosts_counted(), pk=pk)


def _openssh(pk: int) -> Host:
    """A host that is set up here; the embedded one sets up itself."""
    found = _host(pk)
    if found.kind != Host.Kind.OPENSSH:
        raise Http404
    return found


def _page(
    shown: Host, may_write: bool, *, form: HostKeyForm | None = None, trial: Trial | None = None
) -> dict[str, Any]:
    offered = fingerprint(shown.offered_key) if shown.offered_key else ""
    return {
        "host": shown,
        "standing": standing_of(shown),
        "steps": _steps(shown),
        "is_set_up": bool(shown.host_key and shown.last_ok) or shown.kind == Host.Kind.EMBEDDED,
        "is_new": is_new(shown),
        "key_waits": key_waits(shown),
        "has_little_space": has_little_space(shown),
        "offered": offered,
        "offered_type": shown.offered_key.split(" ")[0],
        "form": form or HostKeyForm(initial={"offered": offered}),
        "trial": trial,
        "damaged": _damaged(shown),
        "parts": shown.runs.select_related("run").order_by("-pk")[:MOST_PARTS],
        "may_write": may_write,
        "gets_new": hosts_ready().first() == shown,
    }


def _damaged(shown: Host) -> list[tuple[DamagedHome, SftpAccount | None]]:
    """Damaged homes, those first into which nothing can be uploaded, each with its account."""
    homes = shown.damaged_homes.annotate(is_open=~Q(code=DamagedHome.UPLOAD_BLOCKED))
    some = list(homes.order_by("is_open", "username")[:MOST_HOMES])
    accounts = SftpAccount.objects.filter(username__in=[home.username for home in some]).select_related("district")
    by_name = {account.username: account for account in accounts}
    return [(home, by_name.get(home.username)) for home in some]


def _steps(shown: Host) -> dict[str, str]:
    """Install, reach, confirm, test: which are done, and which is next. Whether the portal's key is in its place
    shows only when it opens the machine."""
    done = {
        "reach": bool(shown.offered_key or shown.host_key),
        "confirm": bool(shown.host_key),
        "test": bool(shown.last_ok),
    }
    first = next((name for name, is_done in done.items() if not is_done), "")
    words = {name: DONE if is_done else (NOW if name == first else OPEN) for name, is_done in done.items()}
    return {"install": DONE if shown.last_ok else NOW, **words}


@require_POST
def host_connect(request: HttpRequest, pk: int) -> HttpResponse:
    """“Try to connect”: takes some seconds, and shows how far it got."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    trial = host_try(_openssh(pk))
    context = _page(_host(pk), True, trial=trial)
    return render(request, "keys/_host_body.html" if request.htmx else "keys/host.html", context)  # type: ignore[attr-defined]


@require_POST
def host_confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes the host key that was shown, after a person has compared its fingerprint."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    shown = _openssh(pk)
    form = HostKeyForm(request.POST)
    if form.is_valid():
        fresh_sign_in(request, reverse("host", args=[pk]))
        try:
            services.host_confirm(shown, form.cleaned_data["offered"], by=by_person(request))
        except HostError as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"The host key of {shown.name} is confirmed. Try to connect once more.")
            return redirect("host", pk=pk)
    return render(request, "keys/host.html", _page(_host(pk), True, form=form), status=422)


@require_POST
def host_restart(request: HttpRequest, pk: int) -> HttpResponse:
    """Lets a stopped host be tried again with the key that was confirmed before."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    shown = _openssh(pk)
    fresh_sign_in(request, reverse("host", args=[pk]))
    try:
        services.host_restart(shown, by=by_person(request))
    except services.NotStopped:
        messages.warning(request, f"{shown.name} is not stopped any more. Nothing was changed.")
    else:
        messages.success(
            request, f"{shown.name} may be tried again. Only its confirmed key counts. Try to connect now."
        )
    return redirect("host", pk=pk)


@require_POST
def host_take_new(request: HttpRequest, pk: int) -> HttpResponse:
    """“Send new districts here”: to this host instead of another."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    shown = _host(pk)
    fresh_sign_in(request, reverse("host", args=[pk]))
    services.host_take_new(shown, by=by_person(request))
    messages.success(request, f"New districts go to {shown.name} from now on.")
    return redirect("host", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
def host_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Another address or port, or another account of the portal's own there."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    shown = _openssh(pk)
    posted = request.POST if request.method == "POST" else None
    now = {"address": shown.address, "port": shown.port, "username": shown.username}
    form = HostEditForm(posted, initial=now)
    if form.is_valid():
        fresh_sign_in(request)
        services.host_move(shown, **form.cleaned_data, by=by_person(request))
        messages.success(request, "Saved. Districts read the address on their pages at once. Try to connect now.")
        return redirect("host", pk=pk)
    context = {"host": shown, "form": form}
    return render(request, "keys/host_edit.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def host_portal_key(request: HttpRequest, pk: int) -> HttpResponse:
    """“Make a new key for the portal”: nothing is brought to the host until that is installed there."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    shown, is_sent = _openssh(pk), request.method == "POST"
    form = HostReasonForm(request.POST if is_sent else typed_before(request))
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        services.host_portal_key_renew(shown, by=by_person(request, form.given_reason))
        messages.success(request, f"The portal has a new key for {shown.name}. Put it on the machine now.")
        return redirect("host", pk=pk)
    context = {"host": shown, "form": form}
    return render(request, "keys/host_portal_key.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def host_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """“Remove this host”: only one on which no account stands."""
    tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    shown, is_sent = _openssh(pk), request.method == "POST"
    form = HostRemoveForm(request.POST if is_sent else typed_before(request), name=shown.name)
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        name = shown.name
        try:
            services.host_remove(shown, by=by_person(request, form.given_reason))
        except HostError as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"{name} is removed. Now take its machine out of service.")
            return redirect("hosts")
    context = {"host": shown, "form": form}
    return render(request, "keys/host_remove.html", context, status=422 if form.errors else 200)
