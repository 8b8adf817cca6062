"""The portal's addresses, and the page of nothing."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from accounts.models import District
from portal.urls import *  # noqa: F403
from portal.urls import urlpatterns as portals


def base(request: HttpRequest) -> HttpResponse:
    """One query, and the template that every page begins with."""
    return render(request, "frame.html", {"district_name": str(District.objects.order_by("pk").first())})


urlpatterns = [*portals, path("base/", base, name="base")]
