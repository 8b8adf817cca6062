"""Everybody who has a sign-in, for the vendor's staff."""

from allauth.mfa.models import Authenticator
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from .. import exporting
from ..access import tool_for
from ..core.roles import Tool
from ..models import Membership, User
from ..tables import PEOPLE_COLUMNS, PeopleFilter, PeopleTable, table_page


@require_safe
def people(request: HttpRequest) -> HttpResponseBase:
    """All people, filtered and sorted by the address."""
    tool_for(request.user, Tool.DISTRICTS)
    chosen = PeopleFilter(request.GET, queryset=_everybody())
    table = PeopleTable(chosen.qs, order_by="email")
    if exporting.is_asked(request):
        return exporting.table_download(request, "people", PEOPLE_COLUMNS, table)
    table_page(table, request)
    counts = User.objects.filter(is_active=True).aggregate(
        staff=Count("pk", filter=~Q(staff_role="")), district=Count("pk", filter=Q(staff_role=""))
    )
    return render(request, "accounts/people.html", {"table": table, "filter": chosen, "counts": counts})


def _everybody() -> QuerySet[User]:
    """All people, with their roles and whether they have a second factor."""
    totp = Authenticator.objects.filter(user=OuterRef("pk"), type=Authenticator.Type.TOTP)
    roles = Membership.objects.select_related("district").order_by("district__name")
    return User.objects.prefetch_related(Prefetch("memberships", roles)).annotate(has_second_factor=Exists(totp))
