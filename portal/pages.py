"""Pages that show keys and uploads together, and the frame around every page."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.defaults import bad_request

from accounts.access import district_for, districts_of
from accounts.core.roles import Tool
from accounts.models import District, User
from accounts.unread import read_to_the_end
from ingest import selectors as ingest
from ingest import wording
from ingest.allowances import now_in
from ingest.models import Epoch
from ingest.nights import last_nights, nights_loaded
from keys import selectors as keys
from keys.models import KeyFile
from keys.views.technical_settings import verdict_too_long

from .core.onboarding import SETTLED, Facts, is_settled, steps_of

TOO_MUCH = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)
# The left rail of staff: label, address, icon, the tool that must be readable.
STAFF_RAIL = (
    ("This morning", "board", "sun", Tool.INGEST_HISTORY),
    ("Keys", "staff_keys", "key", Tool.KEYS),
    ("Propagation", "propagation", "arrow-path", Tool.PROPAGATION),
    ("Hosts", "hosts", "server-stack", Tool.PROPAGATION),
    ("Districts", "districts", "building-library", Tool.DISTRICTS),
    ("Second factors", "second_factors", "shield-check", Tool.SECOND_FACTORS),
    ("Outbox", "outbox", "envelope", Tool.OUTBOX),
    ("Audit log", "audit_log", "clipboard-document-list", Tool.AUDIT_LOG),
)
# Pages that lie below another one in the address, and stand in the rail for all of it.
_ABOVE = {"board": "ingest_history"}
DISTRICT_RAIL = (
    ("Home", "district_home", "home"),
    ("Uploads", "uploads", "inbox-arrow-down"),
    ("Downloads", "downloads", "arrow-down-tray"),
    ("Technical Settings", "technical_settings", "key"),
    ("Connect", "connect", "link"),
    ("Sign-in", "district_sign_in", "lock-closed"),
)


@dataclass(frozen=True, slots=True)
class RailEntry:
    """One link of the left rail."""

    label: str
    address: str
    icon: str
    is_here: bool


def frame(request: HttpRequest) -> dict[str, object]:
    """What the frame of every page needs: the vendor's name, the rail, the person's districts.

    Found once a request: tables render each of their cells as a template of its own.
    """
    told: dict[str, object] | None = getattr(request, "portal_frame", None)
    if told is None:
        told = request.portal_frame = _frame(request)  # type: ignore[attr-defined]
    return dict(told)


def _frame(request: HttpRequest) -> dict[str, object]:
    told: dict[str, object] = {"vendor": settings.VENDOR_NAME, "outbox_is_a_page": not settings.EMAIL_URL}
    person = getattr(request, "user", None)
    if not isinstance(person, User):
        return told
    mine = list(districts_of(person))
    slug = request.resolver_match.kwargs.get("slug") if request.resolver_match else None
    here = next((district for district in mine if district.slug == slug), mine[0] if len(mine) == 1 else None)
    told |= {"my_districts": mine, "here": here, "rail": _rail(request, person, here)}
    return told


def _rail(request: HttpRequest, person: User, here: District | None) -> list[RailEntry]:
    name = request.resolver_match.url_name if request.resolver_match else ""
    path = request.path
    entries = []
    if here is not None:
        entries += [
            RailEntry(
                label,
                reverse(view, args=[here.slug]),
                icon,
                _is_here(path, reverse(view, args=[here.slug]), view),
            )
            for label, view, icon in DISTRICT_RAIL
        ]
    entries += [
        RailEntry(label, reverse(view), icon, name == view or path.startswith(reverse(_ABOVE.get(view, view))))
        for label, view, icon, tool in STAFF_RAIL
        if person.has_tool(tool)
    ]
    return entries


def _is_here(path: str, address: str, view: str) -> bool:
    return path == address if view == "district_home" else path.startswith(address)


def not_understood(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What the web framework would not read: for too long a text or too many fields, how to mend it."""
    if not isinstance(exception, TOO_MUCH):
        return bad_request(request, exception)
    read_to_the_end(request)
    is_too_long, place = isinstance(exception, RequestDataTooBig), request.resolver_match
    if is_too_long and place and place.url_name == "technical_settings_check":
        return verdict_too_long(request)
    told = {"is_too_long": is_too_long, "most": settings.DATA_UPLOAD_MAX_MEMORY_SIZE}
    return render(request, "413.html", told, status=413)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Sends each person to the page that answers their first question."""
    person = request.user
    if isinstance(person, User) and person.staff_role:
        first = next((view for _, view, _, tool in STAFF_RAIL if person.has_tool(tool)), None)
        if first:
            return redirect("propagation" if person.staff_role == "ops" else first)
    mine = list(districts_of(person)) if isinstance(person, User) else []
    if len(mine) == 1:
        return redirect("district_home", slug=mine[0].slug)
    return render(request, "portal/home.html", {"districts": mine})


@login_not_required
@require_safe
def help_sftp(request: HttpRequest) -> HttpResponse:
    """What an SFTP account is and how to use it, for everybody: whoever makes the key may have no sign-in here."""
    return render(request, "portal/help_sftp.html", {"processed_days": settings.PROCESSED_DAYS})


@require_safe
def district_home(request: HttpRequest, slug: str) -> HttpResponse:
    """Is everything all right? Keys, last night's epoch, what to do next."""
    district = district_for(request.user, slug, Tool.UPLOADS)
    account, file = district.sftp_account, KeyFile.objects.get(account=district.sftp_account)
    last, nights = ingest.last_of(district), last_nights(district)
    standing, sign_ins = keys.standing_of(account, now_in(district).date()), keys.sign_in_state(account)
    facts = Facts(
        has_keys=bool(standing.count),
        is_on_host=file.state == KeyFile.State.ON_HOST,
        has_signed_in=sign_ins.first is not None,
        has_uploaded=last is not None,
        is_with_us=last is not None and not (last.state == Epoch.State.ARRIVING or last.state in Epoch.ENDED),
        nights=nights_loaded(district, SETTLED),
    )
    steps = steps_of(facts)
    context = {
        "district": district,
        "account": account,
        "file": file,
        "standing": standing,
        "key_count": standing.count,
        "sign_ins": sign_ins,
        "live_by": keys.next_hourly_run(),
        "is_shut_off": keys.is_shut_off(account),
        "last": last,
        "held": ingest.held_of(district),
        "left_to_staff": ingest.left_to_staff(district),
        "stopped": ingest.stopped_since(district),
        "last_sentence": wording.sentence(last) if last else "",
        "nights": nights,
        "steps": () if is_settled(steps) or district.state != District.State.ACTIVE else steps,
        "nights_loaded": facts.nights,
        "settled": SETTLED,
        "recent": [(epoch, wording.sentence(epoch)) for epoch in ingest.epochs_of(district)[:7]],
    }
    return render(request, "portal/district_home.html", context)
