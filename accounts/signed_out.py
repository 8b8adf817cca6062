"""A form that is sent after its sign-in has ended: nothing is saved, and nothing that was typed is lost."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase

View = Callable[..., HttpResponseBase]

PLACE = "typed-while-signed-out"
# Until then somebody should have signed in; what nobody comes back for need not lie about.
KEPT_SECONDS = 24 * 60 * 60
SIGNED_OUT = "You had been signed out, so nothing was saved."


def keeps_typed(unfit: Callable[[HttpRequest], str]) -> Callable[[View], View]:
    """A page whose form waits in the visitor's session until they have signed in, to be shown again there.

    Nobody has opened a door to them by then, so `unfit` looks first: it says why it may not be kept, or "".
    """

    def mark(view: View) -> View:
        view.unfit_to_keep = unfit  # type: ignore[attr-defined]
        return view

    return mark


def typed_put_by(request: HttpRequest, view: View) -> bool:
    """Keeps what a signed-out visitor has sent, if this page does and it may be; and tells them either way."""
    unfit = getattr(view, "unfit_to_keep", None)
    why = unfit(request) if unfit else "What you typed was not kept."
    if not why:
        typed = request.POST.copy()
        typed.pop("csrfmiddlewaretoken", None)
        request.session[PLACE] = {"path": request.path, "typed": typed.urlencode()}
        request.session.set_expiry(KEPT_SECONDS)
    messages.warning(request, f"{SIGNED_OUT} {why or 'What you typed is there again once you have signed in.'}")
    return not why


def typed_taken(request: HttpRequest) -> QueryDict | None:
    """What was put by for this page; once."""
    kept = request.session.get(PLACE, {})
    if kept.get("path") != request.path:
        return None
    del request.session[PLACE]
    return QueryDict(kept["typed"])
