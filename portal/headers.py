"""What every answer tells the browser beside Django's own headers and the CSP, and which headers of requests count."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from accounts.origin import is_from_our_proxy

# None of our pages needs one of these, so nothing that ever got into one may ask for it. Copying a line to the
# clipboard is ours.
OFF = (
    "accelerometer",
    "autoplay",
    "camera",
    "clipboard-read",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "picture-in-picture",
    "screen-wake-lock",
    "serial",
    "usb",
    "xr-spatial-tracking",
)
PERMISSIONS = ", ".join([*(f"{name}=()" for name in OFF), "clipboard-write=(self)"])


class ProxiesOfOurs:
    """Takes from a request what only a proxy of ours may say: that the person's own connection is encrypted.

    Without it a caller who reaches the portal past its proxy, in plain text, would get the pages as if over TLS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_from_our_proxy(request):
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        return self.get_response(request)


class PermissionsPolicy:
    """Shuts off the parts of a browser that no page of ours needs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["Permissions-Policy"] = PERMISSIONS
        return response
