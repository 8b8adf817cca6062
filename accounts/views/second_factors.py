"""Who must have a second factor, and what is done when one is lost."""

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from .. import services
from ..access import SUSPENDED, district_for, role_in, tool_for
from ..core.roles import Right, Tool, may
from ..forms import PinForm, ResetForm
from ..fresh import fresh_sign_in, typed_before
from ..models import District, SecondFactorReset, User
from ..second_factor import FACTORS, resets_decided, resets_waiting

NOT_IN_IT = "You are staff and see every district; there is none that you could leave."


@require_http_methods(["GET", "HEAD", "POST"])
def district_sign_in(request: HttpRequest, slug: str) -> HttpResponse:
    """Whether a district asks its people for a second factor, and who of them has one."""
    needed = Right.WRITE if request.method == "POST" else Right.READ
    district = district_for(request.user, slug, Tool.SIGN_IN, needed)
    assert isinstance(request.user, User)
    if request.method == "POST":
        fresh_sign_in(request)
        services.district_second_factor_set(district, request.POST.get("asks") == "yes", actor=request.user)
        messages.success(request, "Saved.")
        return redirect("district_sign_in", slug=slug)
    return _sign_in_page(request, district, PinForm(typed_before(request, reverse("provider_pin", args=[slug]))))


def _sign_in_page(request: HttpRequest, district: District, pin_form: PinForm) -> HttpResponse:
    role = role_in(request.user, district)
    names = {one["issuer"]: one["name"] for one in settings.OPENID_PROVIDERS}
    factors = Authenticator.objects.filter(user=OuterRef("user"), type__in=FACTORS)
    people = district.memberships.select_related("user").annotate(has_second_factor=Exists(factors))
    context = {
        "district": district,
        "people": people.filter(user__is_active=True).order_by("user__email"),
        "may_write": role is not None and may(role, Tool.SIGN_IN, Right.WRITE) and district.state == "active",
        "is_mine": not request.user.staff_role,  # type: ignore[union-attr]
        "has_providers": bool(names),
        "pins": [(pin, names.get(pin.issuer, pin.issuer)) for pin in district.pinned_providers.all()],
        "pin_form": pin_form,
    }
    return render(request, "accounts/district_sign_in.html", context, status=422 if pin_form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def district_leave(request: HttpRequest, slug: str) -> HttpResponse:
    """Somebody leaves a district of their own accord."""
    district = district_for(request.user, slug, Tool.SIGN_IN)
    assert isinstance(request.user, User)
    if not district.memberships.filter(user=request.user).exists():
        raise PermissionDenied(NOT_IN_IT)
    why_not = ""
    if request.method == "POST":
        if district.state != District.State.ACTIVE:
            raise PermissionDenied(SUSPENDED)
        fresh_sign_in(request)
        try:
            services.membership_end(request.user, district, reason="Left by themselves.", actor=request.user)
        except services.Refused as refused:
            why_not = refused.message
        else:
            messages.success(request, f"You have left {district.name}.")
            return redirect("home")
    context = {"district": district, "why_not": why_not}
    return render(request, "accounts/district_leave.html", context, status=422 if why_not else 200)


@require_POST
def provider_pin(request: HttpRequest, slug: str) -> HttpResponse:
    """The district believes a sign-in provider about a domain."""
    district = district_for(request.user, slug, Tool.SIGN_IN, Right.WRITE)
    assert isinstance(request.user, User)
    form = PinForm(request.POST)
    if not form.is_valid():
        return _sign_in_page(request, district, form)
    fresh_sign_in(request, reverse("district_sign_in", args=[slug]))
    services.provider_pin(district, **form.cleaned_data, actor=request.user)
    messages.success(request, "Saved.")
    return redirect("district_sign_in", slug=slug)


@require_POST
def provider_unpin(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """And no more."""
    district = district_for(request.user, slug, Tool.SIGN_IN, Right.WRITE)
    assert isinstance(request.user, User)
    pin = get_object_or_404(district.pinned_providers, pk=pk)
    fresh_sign_in(request, reverse("district_sign_in", args=[slug]))
    services.provider_unpin(pin, actor=request.user)
    messages.success(request, "Taken off. Whoever is connected already can still sign in that way.")
    return redirect("district_sign_in", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
def second_factors(request: HttpRequest) -> HttpResponse:
    """Second factors that were lost: asked for by one of staff, decided by another."""
    is_sent = request.method == "POST"
    person = tool_for(request.user, Tool.SECOND_FACTORS, Right.ADD if is_sent else Right.READ)
    form = ResetForm(request.POST if is_sent else typed_before(request))
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        try:
            services.second_factor_reset_ask(**form.cleaned_data, actor=person)
        except services.Refused as refused:
            form.add_error("email", refused.message)
        else:
            messages.success(request, "Asked. Now a second person decides, within a day.")
            return redirect("second_factors")
    context = {
        "form": form,
        "waiting": resets_waiting(),
        "decided": resets_decided(),
        "may_decide": person.has_tool(Tool.SECOND_FACTORS, Right.WRITE),
    }
    return render(request, "accounts/second_factors.html", context, status=422 if form.errors else 200)


@require_POST
def second_factor_decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes a lost second factor off, or declines."""
    person = tool_for(request.user, Tool.SECOND_FACTORS, Right.WRITE)
    reset = get_object_or_404(SecondFactorReset, pk=pk)
    fresh_sign_in(request, reverse("second_factors"))
    is_allowed = request.POST.get("decision") == "allow"
    try:
        services.second_factor_reset_decide(reset, allow=is_allowed, actor=person)
    except services.Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "Taken off. They are signed out everywhere." if is_allowed else "Declined.")
    return redirect("second_factors")
