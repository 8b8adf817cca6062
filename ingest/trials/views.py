"""Check before sending: files are looked at as an upload would be, nothing is applied, and then they are gone."""

from threading import BoundedSemaphore

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import district_for, role_in
from accounts.core.roles import Right, Tool, may
from accounts.models import District, User
from accounts.unread import read_to_the_end

from .. import selectors
from ..access import trial_for
from ..catalogue import format_title
from ..core.delimiters import delimiter_of
from ..forms import FileSettingsForm
from ..models import Trial
from ..views.downloads import findings_download
from . import places, services
from .receiving import NO_SPACE, Receiver

FINDINGS_SHOWN = 200
# Who sends a gigabyte over a slow line holds a thread of the pages for as long.
UPLOADS = BoundedSemaphore(max(settings.WEB_THREADS // 4, 1))
BUSY = "Other districts are sending files to be checked just now. Try again in a minute."
NO_FILES = "Choose the files of one night, or one zip with them in it."
SPARE_BYTES = 1 << 30


# The door is opened, and the limits are looked at, before anything of the files is read; only then the token is, which
# comes with them. So the check of the token is on `_take`.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def trials(request: HttpRequest, slug: str) -> HttpResponse:
    """Drop files or a zip; under it, what was checked in the last day."""
    if request.method != "POST":
        return _page(request, district_for(request.user, slug, Tool.TRIALS))
    district = district_for(request.user, slug, Tool.TRIALS, Right.ADD)
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    refused = services.trial_refusal(district, size) or _no_room(size)
    if refused:
        return _refused(request, district, refused)
    if not UPLOADS.acquire(blocking=False):
        return _refused(request, district, BUSY)
    try:
        with places.incoming() as place:
            receiver = Receiver(request, place.path)
            request.upload_handlers = [receiver]
            return _take(request, district, place, receiver)
    finally:
        UPLOADS.release()


@csrf_protect
def _take(request: HttpRequest, district: District, place: places.Incoming, receiver: Receiver) -> HttpResponse:
    # To ask for the files is to read them; all of them are with the receiver then.
    if request.FILES or receiver.refused or not receiver.taken:
        return _page(request, district, receiver.refused or NO_FILES, status=422)
    try:
        made = services.trial_ask(district, place=place.name, files=receiver.taken, actor=_person(request))
    except services.Refused as error:
        return _page(request, district, error.message, status=422)
    place.kept = True
    return redirect("trial", slug=district.slug, pk=made.pk)


def _person(request: HttpRequest) -> User:
    """Whoever asks: a door was opened to them."""
    assert isinstance(request.user, User)
    return request.user


def _refused(request: HttpRequest, district: District, why: str) -> HttpResponse:
    read_to_the_end(request)
    return _page(request, district, why, status=422)


def _no_room(size: int) -> str:
    return NO_SPACE if places.free_bytes() - size < SPARE_BYTES else ""


def _page(request: HttpRequest, district: District, problem: str = "", status: int = 200) -> HttpResponse:
    role = role_in(request.user, district)
    may_ask = role is not None and may(role, Tool.TRIALS, Right.ADD) and district.state == District.State.ACTIVE
    context = {
        "district": district,
        "problem": problem,
        "not_now": services.trial_refusal(district) if may_ask else "",
        "may_ask": may_ask,
        "recent": selectors.trials_of(district)[:20],
        "most_bytes": settings.TRIAL_MOST_MEGABYTES * 1024 * 1024,
        "most_files": settings.TRIAL_MOST_FILES,
        "hours": settings.TRIAL_RESULT_HOURS,
    }
    return render(request, "ingest/trials.html", context, status=status)


@require_safe
def trial(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One check: how far it is, then its report."""
    return render(request, "ingest/trial.html", _trial(request, trial_for(request.user, slug, pk)))


@require_safe
def trial_state(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "ingest/_trial_state.html", _trial(request, trial_for(request.user, slug, pk)))


def _trial(request: HttpRequest, found: Trial) -> dict[str, object]:
    role = role_in(request.user, found.district)
    may_forget = role is not None and may(role, Tool.TRIALS, Right.DELETE)
    return {
        "trial": found,
        "district": found.district,
        "format_title": format_title(found.format),
        "findings": found.findings[:FINDINGS_SHOWN],
        "findings_total": found.errors + found.warnings,
        "listed": selectors.listed_of(found),
        "hours": settings.TRIAL_RESULT_HOURS,
        "may_forget": may_forget and found.district.state == District.State.ACTIVE,
        "poll_seconds": 1 if found.is_under_way else 0,
    }


@require_safe
def trial_findings(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """All findings of one check as CSV."""
    found = trial_for(request.user, slug, pk)
    return findings_download(found, f"check-{found.pk}")


@require_POST
def trial_forget(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Removes a result before its time."""
    found = trial_for(request.user, slug, pk, Right.DELETE)
    try:
        services.trial_forget(found, actor=_person(request))
    except services.Refused as refused:
        messages.error(request, refused.message)
        return redirect("trial", slug=slug, pk=pk)
    messages.success(request, "The result was removed.")
    return redirect("trials", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
def file_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """How a district's files are written."""
    right = Right.WRITE if request.method == "POST" else Right.READ
    district = district_for(request.user, slug, Tool.FILE_SETTINGS, right)
    said = selectors.file_settings_of(district)
    now = {"windows_1252": said.windows_1252, "delimiter": said.delimiter}
    form = FileSettingsForm(request.POST if request.method == "POST" else None, initial=now)
    if request.method == "POST" and form.is_valid():
        services.file_settings_set(district, actor=_person(request), **form.cleaned_data)
        messages.success(request, "Saved. It counts from the next upload on.")
        return redirect("file_settings", slug=slug)
    role = role_in(request.user, district)
    may_write = role is not None and may(role, Tool.FILE_SETTINGS, Right.WRITE)
    context = {
        "district": district,
        "form": form,
        "may_write": may_write and district.state == District.State.ACTIVE,
        "windows_1252": said.windows_1252,
        "delimiter": delimiter_of(said.delimiter),
    }
    return render(request, "ingest/file_settings.html", context, status=422 if form.errors else 200)
