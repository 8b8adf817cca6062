"""Downloads: what lies in a district's /downloads/, and fetching one file of it without an SFTP program."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from hosts.core.errors import HostError
from hosts.core.paths import shown

from ..access import district_for, role_in
from ..core.roles import Right, Tool, may
from ..core.shelf import Lying
from ..downloads import Shelf, download_note, download_open, number_of, shelf_of
from ..fresh import sign_in_is_fresh
from ..models import District, SftpAccount, User
from ..origin import address_of

GONE = "This file is not there any more. What lies there now is listed below."


@dataclass(frozen=True, slots=True)
class Shown:
    """One file as its row shows it."""

    number: str
    name: str
    size: int
    changed: datetime


@require_safe
def downloads(request: HttpRequest, slug: str) -> HttpResponse:
    """What lies there now."""
    district = district_for(request.user, slug, Tool.DOWNLOADS)
    shelf = shelf_of(district.sftp_account)
    context = {
        "district": district,
        "shelf": shelf,
        "folders": _folders(district.sftp_account, shelf),
        "may_fetch": _may_fetch(request, district),
    }
    return render(request, "accounts/downloads.html", context)


@require_POST
def download_fetch(request: HttpRequest, slug: str, number: str) -> HttpResponseBase:
    """One file, as an attachment; by the district's administrators, soon after they gave their password."""
    district = district_for(request.user, slug, Tool.DOWNLOADS, Right.WRITE)
    assert isinstance(request.user, User)  # the door was opened to them
    back = reverse("downloads", args=[slug])
    if not sign_in_is_fresh(request):
        messages.info(request, "Give your password first. Then choose Fetch again.")
        return redirect(f"{reverse('account_reauthenticate')}?{urlencode({'next': back})}")
    try:
        fetched = download_open(district.sftp_account, number)
    except HostError as error:
        messages.error(request, f"The file was not fetched. {error.message}")
        return redirect(back)
    if fetched is None:
        messages.error(request, GONE)
        return redirect(back)
    download_note(district, fetched, actor=request.user, address=address_of(request))
    return FileResponse(
        fetched.file, as_attachment=True, filename=fetched.name, content_type="application/octet-stream"
    )


def _may_fetch(request: HttpRequest, district: District) -> bool:
    role = role_in(request.user, district)
    return role is not None and may(role, Tool.DOWNLOADS, Right.WRITE) and district.state == District.State.ACTIVE


def _folders(account: SftpAccount, shelf: Shelf) -> list[tuple[str, str, list[Shown]]]:
    return [
        (shown(folder.name), folder.says, [_shown(account, one) for one in folder.files]) for folder in shelf.folders
    ]


def _shown(account: SftpAccount, one: Lying) -> Shown:
    inside = one.place[1:] if one.folder else one.place
    name = "/".join(shown(part) for part in inside)
    return Shown(number_of(account, one.place), name, one.size, datetime.fromtimestamp(one.modified, UTC))
