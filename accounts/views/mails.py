"""Which mails somebody wants, and by which clock."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from .. import services
from ..forms import MailsForm
from ..models import User
from ..notices import choices_of


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def mails(request: HttpRequest) -> HttpResponse:
    """Each person's own choice. What is about safety cannot be switched off, and says so."""
    person = request.user
    assert isinstance(person, User)
    form = MailsForm(request.POST or None, person=person, chosen=choices_of(person))
    if form.is_valid():
        services.mails_choose(person, form.chosen, time_zone=form.cleaned_data["time_zone"])
        messages.success(request, "Saved.")
        return redirect("mails")
    return render(request, "accounts/mails.html", {"form": form}, status=422 if form.errors else 200)
