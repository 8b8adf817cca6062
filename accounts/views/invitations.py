"""The page an invitation leads to; readable without signing in."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from .. import services
from ..forms import WelcomeForm
from ..fresh import sign_in_note
from ..models import Invitation, User


@login_not_required
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Accepts an invitation: a new person names themselves and chooses a password, a known one signs in first."""
    found = services.invitation_for(token)
    if found is None:
        return _over(request)
    if User.objects.filter(email=found.email).exists():
        return _known(request, found)
    form = WelcomeForm(request.POST or None, email=found.email, initial={"name": found.name})
    if form.is_valid():
        try:
            person = services.invitation_accept(found, **form.cleaned_data)
        except services.Refused:
            return _over(request)
        login(request, person, backend="allauth.account.auth_backends.AuthenticationBackend")
        sign_in_note(request, person)
        return _welcome(request, found)
    context = {"invitation": found, "form": form}
    return render(request, "accounts/invitation.html", context, status=422 if form.errors else 200)


def _over(request: HttpRequest) -> HttpResponse:
    """Used, expired, withdrawn, or never there: one answer for all."""
    return render(request, "accounts/invitation_over.html", status=410)


def _known(request: HttpRequest, found: Invitation) -> HttpResponse:
    """Somebody who already signs in here must prove it before another district is theirs."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if request.user.email != found.email:
        return render(request, "accounts/invitation_other.html", {"invitation": found}, status=403)
    if request.method == "POST":
        try:
            services.invitation_accept(found, name=request.user.name, password="")
        except services.Refused:
            return _over(request)
        return _welcome(request, found)
    return render(request, "accounts/invitation.html", {"invitation": found, "form": None})


def _welcome(request: HttpRequest, found: Invitation) -> HttpResponse:
    messages.success(request, f"Welcome. You are {found.role} of {found.district.name} now.")
    return redirect("district_home", slug=found.district.slug)
