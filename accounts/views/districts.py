"""Pages on which staff open, rename, suspend and close districts, and invite their people."""

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from .. import exporting, services
from ..access import tool_for
from ..core.roles import Right, Role, Tool
from ..forms import ENDS, LEAVES, DistrictForm, InvitationForm, PersonForm, RenameForm, StateForm
from ..fresh import fresh_sign_in, typed_before
from ..models import District, DistrictImport, Membership, RetiredUsername, User
from ..tables import DISTRICT_COLUMNS, DistrictFilter, DistrictTable, table_page


@require_safe
def districts(request: HttpRequest) -> HttpResponseBase:
    """All districts, filtered and sorted by the address."""
    person = tool_for(request.user, Tool.DISTRICTS)
    # Counted for those of one page only: joined, they would be counted for all districts first.
    people = Membership.objects.filter(district=OuterRef("pk")).order_by().values("district").annotate(n=Count("pk"))
    rows = District.objects.select_related("sftp_account__host")
    rows = rows.annotate(people=Coalesce(Subquery(people.values("n")), 0))
    chosen = DistrictFilter(request.GET, queryset=rows)
    table = DistrictTable(chosen.qs, order_by="name")
    if exporting.is_asked(request):
        return exporting.table_download(request, "districts", DISTRICT_COLUMNS, table)
    table_page(table, request)
    counts = District.objects.aggregate(
        active=Count("pk", filter=Q(state="active")),
        suspended=Count("pk", filter=Q(state="suspended")),
        closed=Count("pk", filter=Q(state="closed")),
    )
    may_add = person.has_tool(Tool.DISTRICTS, Right.ADD)
    imports = DistrictImport.objects.filter(finished=None).defer("text") if may_add else ()
    return render(
        request,
        "accounts/districts.html",
        {"table": table, "filter": chosen, "counts": counts, "may_add": may_add, "imports": imports},
    )


@require_http_methods(["GET", "HEAD", "POST"])
def district_open(request: HttpRequest) -> HttpResponse:
    """Opens one district."""
    person = tool_for(request.user, Tool.DISTRICTS, Right.ADD)
    zone = {"time_zone": settings.TIME_ZONE}
    form = DistrictForm(request.POST or None, initial=zone, hosts=services.hosts_ready())
    if form.is_valid():
        try:
            district = services.district_open(**form.cleaned_data, actor=person)
        except services.Refused as refused:
            field = {"domain-taken": "domain", "host-not-ready": "host"}.get(refused.code)
            form.add_error(field if field in form.fields else None, refused.message)
        else:
            messages.success(
                request,
                f"{district.name} is open. Its SFTP user name is {district.domain}. Now invite its administrator.",
            )
            return redirect("district_manage", slug=district.slug)
    return render(request, "accounts/district_open.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
def district_manage(request: HttpRequest, slug: str) -> HttpResponse:
    """One district as the vendor sees it: its name, state, people and invitations."""
    person = tool_for(request.user, Tool.DISTRICTS)
    district = get_object_or_404(District, slug=slug)
    if typed := typed_before(request, reverse("district_invite", args=[slug])):
        return _manage(request, person, district, invite=InvitationForm(typed))
    if typed := typed_before(request, reverse("district_state", args=[slug])):
        return _manage(request, person, district, state=StateForm(typed))
    if typed := typed_before(request, reverse("district_rename", args=[slug])):
        return _manage(request, person, district, rename=RenameForm(typed, district=district))
    return _manage(request, person, district)


@require_POST
def district_rename(request: HttpRequest, slug: str) -> HttpResponse:
    """Changes a district's name or domain."""
    person = tool_for(request.user, Tool.DISTRICTS, Right.WRITE)
    district = get_object_or_404(District, slug=slug)
    form = RenameForm(request.POST, district=district)
    if form.is_valid():
        fresh_sign_in(request, _page_of(district))
        try:
            told = {key: form.cleaned_data[key] for key in ("name", "domain")}
            services.district_rename(district, **told, actor=person)
        except services.Refused as refused:
            form.add_error("domain", refused.message)
        else:
            messages.success(request, f"Saved. The SFTP user name is {district.domain}.")
            return redirect("district_manage", slug=slug)
    return _manage(request, person, District.objects.get(pk=district.pk), rename=form)


@require_POST
def district_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Suspends, resumes or closes a district."""
    needed = Right.DELETE if request.POST.get("state") == District.State.CLOSED else Right.WRITE
    person = tool_for(request.user, Tool.DISTRICTS, needed)
    district = get_object_or_404(District, slug=slug)
    form = StateForm(request.POST)
    if form.is_valid():
        fresh_sign_in(request, _page_of(district))
        state = District.State(form.cleaned_data["state"])
        services.district_state_set(district, state, reason=form.cleaned_data["reason"], actor=person)
        messages.success(request, f"{district.name} is {state.label.lower()} now.")
        return redirect("district_manage", slug=slug)
    return _manage(request, person, district, state=form)


@require_POST
def district_invite(request: HttpRequest, slug: str) -> HttpResponse:
    """Invites a person by mail."""
    person = tool_for(request.user, Tool.DISTRICTS, Right.WRITE)
    district = get_object_or_404(District.objects.exclude(state=District.State.CLOSED), slug=slug)
    form = InvitationForm(request.POST)
    if form.is_valid():
        fresh_sign_in(request, _page_of(district))
        role = Role(form.cleaned_data["role"])
        try:
            invitation = services.invitation_send(
                district, form.cleaned_data["email"], form.cleaned_data["name"], role, actor=person
            )
        except services.Refused as refused:
            form.add_error("email", refused.message)
        else:
            messages.success(request, f"An invitation to {invitation.email} is on its way.")
            return redirect("district_manage", slug=slug)
    return _manage(request, person, district, invite=form)


@require_http_methods(["GET", "HEAD", "POST"])
def person_change(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Gives a person of a district another role there, takes them out of it, or ends their account."""
    person = tool_for(request.user, Tool.DISTRICTS, Right.WRITE)
    district = get_object_or_404(District, slug=slug)
    membership = get_object_or_404(district.memberships.select_related("user"), pk=pk)
    is_sent = request.method == "POST"
    form = PersonForm(request.POST if is_sent else typed_before(request), initial={"becomes": membership.role})
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        try:
            _become(membership, form.cleaned_data["becomes"], form.cleaned_data["reason"], person)
        except services.Refused as refused:
            form.add_error("becomes", refused.message)
        else:
            messages.success(request, f"Saved for {membership.user.email}.")
            return redirect("district_manage", slug=slug)
    context = {"district": district, "one": membership, "form": form}
    return render(request, "accounts/person_change.html", context, status=422 if form.errors else 200)


def _become(membership: Membership, becomes: str, reason: str, person: User) -> None:
    district, user = membership.district, membership.user
    if becomes == LEAVES:
        services.membership_end(user, district, reason=reason, actor=person)
    elif becomes == ENDS:
        services.account_end(user, reason=reason, actor=person)
    else:
        services.membership_give(user, district, Role(becomes), actor=person, reason=reason)


def _page_of(district: District) -> str:
    return reverse("district_manage", args=[district.slug])


def _manage(
    request: HttpRequest,
    person: User,
    district: District,
    *,
    rename: RenameForm | None = None,
    state: StateForm | None = None,
    invite: InvitationForm | None = None,
) -> HttpResponse:
    context = {
        "district": district,
        "account": district.sftp_account,
        "rename": rename or RenameForm(initial={"name": district.name, "domain": district.domain}, district=district),
        "state_form": state or StateForm(initial={"state": district.state}),
        "invite": invite or InvitationForm(),
        "people": district.memberships.select_related("user").order_by("user__email"),
        "invitations": district.invitations.filter(accepted=None, expires__gt=timezone.now()),
        "retired": RetiredUsername.objects.filter(account__district=district),
        "may_write": person.has_tool(Tool.DISTRICTS, Right.WRITE),
        "may_close": person.has_tool(Tool.DISTRICTS, Right.DELETE),
    }
    has_error = any(form is not None and form.errors for form in (rename, state, invite))
    return render(request, "accounts/district_manage.html", context, status=422 if has_error else 200)
