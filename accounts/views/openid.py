"""To another sign-in provider, and back from it."""

import logging
from collections.abc import Callable

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from ..openid import FAILED, Tokens

logger = logging.getLogger(__name__)


@login_not_required
@never_cache
@require_POST
def openid_sign_in(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Leads to the provider's own page; somebody who is signed in connects it to their account."""
    return _lead(request, provider_id, OAuth2LoginView.adapter_view)


@login_not_required
@never_cache
@require_safe
def openid_back(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Back from there, with what the provider says."""
    return _lead(request, provider_id, OAuth2CallbackView.adapter_view)


def _lead(
    request: HttpRequest, provider_id: str, view_of: Callable[[Tokens], Callable[..., HttpResponse]]
) -> HttpResponse:
    if provider_id not in {one["id"] for one in settings.OPENID_PROVIDERS}:
        raise Http404
    try:
        return view_of(Tokens(request, provider_id))(request)
    except ImmediateHttpResponse as done:
        return done.response
    except (OAuth2Error, RequestException, KeyError, ValueError) as error:
        # It does not answer, or not as OpenID Connect has it.
        logger.warning("Sign-in by %s failed: %s", provider_id, type(error).__name__)
    messages.error(request, FAILED)
    return redirect("account_login")
