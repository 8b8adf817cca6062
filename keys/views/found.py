"""Lines that were found on a host and taken off it: all of them for ops, and a district's answer to its own."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts import exporting
from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in
from accounts.models import District
from accounts.tables import table_page

from .. import services
from ..core.errors import Problem
from ..core.parse import Paste
from ..models import FoundLine
from ..tables import FOUND_COLUMNS, FoundFilter, FoundTable
from .confirmation import confirmation_of_save, confirmation_shown
from .doors import by_person, found_for
from .technical_settings import elsewhere_told

NOT_KEPT = "This was decided in the meantime. Nothing was changed."
ONLY_THE_DISTRICT = "Only the district itself can say this. Ask one of its administrators."
STALE = "Somebody else is changing your keys at this moment. Nothing was added. Look at the keys, then try again."


@require_safe
def propagation_found(request: HttpRequest) -> HttpResponseBase:
    """Every line that was taken off a host, newest first, filtered by the address."""
    tool_for(request.user, Tool.PROPAGATION)
    rows = FoundLine.objects.select_related("host", "account__district", "decided_by")
    chosen = FoundFilter(request.GET, queryset=rows)
    table = FoundTable(chosen.qs)
    if exporting.is_asked(request):
        return exporting.table_download(request, "found-on-hosts", FOUND_COLUMNS, table)
    table_page(table, request)
    kept = FoundLine.objects.filter(state=FoundLine.State.KEPT)
    context = {"table": table, "filter": chosen, "kept": kept.count(), "nobodys": kept.filter(account=None).count()}
    return render(request, "keys/propagation_found.html", context)


@require_POST
def found_adopt(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """“It is ours: add it”, by every rule for a pasted key."""
    district, found = found_for(request.user, slug, pk, Right.WRITE)
    fresh_sign_in(request, reverse("technical_settings", args=[slug]))
    try:
        difference, paste = services.found_key_adopt(found, by=by_person(request))
    except services.PasteRefused as refused:
        return _refused(request, district, refused.paste.problems)
    except services.KeyElsewhere as elsewhere:
        return _refused(request, district, elsewhere_told(elsewhere, Paste()))
    except services.StaleSet:
        return _told(request, district, STALE)
    except services.NotKept:
        return _told(request, district, NOT_KEPT)
    except services.OnlyTheDistrict:
        return _told(request, district, ONLY_THE_DISTRICT)
    confirmation_shown(request, district.sftp_account, confirmation_of_save(difference, paste))
    return redirect("technical_settings", slug=district.slug)


@require_POST
def found_dismiss(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """“We do not know it”: it stays off the host."""
    district, found = found_for(request.user, slug, pk, Right.WRITE)
    fresh_sign_in(request, reverse("technical_settings", args=[slug]))
    try:
        services.found_line_dismiss(found, by=by_person(request))
    except services.NotKept:
        return _told(request, district, NOT_KEPT)
    except services.OnlyTheDistrict:
        return _told(request, district, ONLY_THE_DISTRICT)
    messages.success(request, "Noted. It stays off the SFTP host, and nobody can sign in with it.")
    return _back(district)


def _refused(request: HttpRequest, district: District, problems: tuple[Problem, ...]) -> HttpResponse:
    for problem in problems:
        messages.error(request, f"The key was not added. {problem.message} {problem.hint}", extra_tags="coded")
    return _back(district)


def _told(request: HttpRequest, district: District, sentence: str) -> HttpResponse:
    messages.warning(request, sentence)
    return _back(district)


def _back(district: District) -> HttpResponse:
    return redirect(f"{reverse('technical_settings', args=[district.slug])}#found")
