"""Shows times in the person's own zone."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone


class PersonTimeZone:
    """Activates the person's time zone, else their (first) district's, for the length of a request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(self._zone(request)):
            return self.get_response(request)

    def _zone(self, request: HttpRequest) -> zoneinfo.ZoneInfo | None:
        if not request.user.is_authenticated:
            return None
        name = request.user.time_zone
        if not name and not request.user.staff_role:
            membership = request.user.memberships.select_related("district").order_by("pk").first()
            name = membership.district.time_zone if membership else ""
        return zoneinfo.ZoneInfo(name) if name else None
