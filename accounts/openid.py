"""Sign-in by another provider (OpenID Connect), as this house wants it; allauth leads through it.

A provider says who somebody is, and no more: it makes no account, gives no role, and takes no second factor away.
"""

import hashlib
import logging

import jwt
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse

from .core.linking import Pin, may_link, verified_address
from .models import District, User

logger = logging.getLogger(__name__)
KIND = "openid_connect"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
CLOCKS_APART = 60
# What is kept of what a provider tells; names and pictures are not.
KEPT = ("iss", "sub", "email", "email_verified", "hd")
UNKNOWN = "Nobody here signs in with that account. Sign in with your password, and then connect it under your name."
FAILED = "The other provider did not say who you are. Try once more, or sign in with your password."


class Tokens(OpenIDConnectOAuth2Adapter):
    """Speaks to a provider. Its word counts only signed, for us, in time, and by the issuer of the setting."""

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Where the provider sends people back to: the portal's own address, whatever name a request has come by."""
        return f"{settings.PUBLIC_URL}{reverse('openid_connect_callback', args=[self.provider_id])}"

    def complete_login(self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: object) -> SocialLogin:
        """Whom the ID token names. Raises OAuth2Error."""
        told = kwargs["response"]
        claims = self._claims(app, told.get("id_token") if isinstance(told, dict) else None)
        kept = {name: claims[name] for name in KEPT if name in claims}
        return self.get_provider().sociallogin_from_response(request, {"id_token": kept})

    def _claims(self, app: SocialApp, token: object) -> dict[str, object]:
        issuer = app.settings["issuer"]
        try:
            if self.openid_config["issuer"] != issuer:
                raise OAuth2Error("the discovery document is another issuer's")
            with self._session() as session:
                answer = session.get(self.openid_config["jwks_uri"])
                answer.raise_for_status()
                keys = jwt.PyJWKSet.from_dict(answer.json())
            header = jwt.get_unverified_header(token)  # type: ignore[arg-type]
            key = keys[header["kid"]] if "kid" in header else keys.keys[0]
            claims: dict[str, object] = jwt.decode(
                token,  # type: ignore[arg-type]
                key,
                algorithms=ALGORITHMS,
                audience=app.client_id,
                issuer=issuer,
                leeway=CLOCKS_APART,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise OAuth2Error(f"the ID token is not believed ({type(error).__name__})") from error
        if claims.get("azp", app.client_id) != app.client_id:
            raise OAuth2Error("the ID token is for another program")
        return claims

    def _session(self):  # type: ignore[no-untyped-def]
        return SocialAdapter().get_requests_session()


class Provider(OpenIDConnectProvider):
    """A provider of the setting; the person is its issuer and their number there, never their address."""

    oauth2_adapter_class = Tokens

    def extract_uid(self, data: dict[str, dict[str, object]]) -> str:
        """One number for issuer and subject: a setting that names another issuer knows nobody of the first."""
        told = data["id_token"]
        return hashlib.sha256(f"{told['iss']}\n{told['sub']}".encode()).hexdigest()

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        """What the portal asks for, and nothing that an address adds."""
        return ["openid", "email"]

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, str]:
        """As above."""
        return {"prompt": "select_account"}


class SocialAdapter(DefaultSocialAccountAdapter):
    """allauth's hooks."""

    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """The providers of the setting, and none from the database."""
        return [
            _app(one)
            for one in settings.OPENID_PROVIDERS
            if provider in (None, KIND, one["id"]) and client_id in (None, one["client_id"])
        ]

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Districts are invited by their vendor; there is no other way in."""
        return False

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """Somebody whose districts all believe this provider about this domain, and who is not linked to it yet."""
        if sociallogin.state.get("process") != AuthProcess.LOGIN:
            return None
        told = sociallogin.account.extra_data["id_token"]
        address = verified_address(told["iss"], told)
        person = User.objects.filter(email=address, staff_role="").first() if address else None
        if person is None or SocialAccount.objects.filter(user=person, provider=sociallogin.account.provider).exists():
            return None
        return (person, address) if may_link(told["iss"], address, _pins_of(person)) else None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Whom nobody knows is told so; there is nothing to sign up for."""
        if sociallogin.state.get("process") == AuthProcess.LOGIN and not sociallogin.is_existing:
            messages.error(request, UNKNOWN)
            raise ImmediateHttpResponse(redirect("account_login"))

    def on_authentication_error(self, request: HttpRequest, provider: Provider, **told: object) -> None:
        """Back to the sign-in page, with a sentence; the log says what was wrong."""
        logger.warning("Sign-in by %s failed: %s", provider.sub_id, told.get("exception") or told.get("error"))
        messages.error(request, FAILED)
        raise ImmediateHttpResponse(redirect("account_login"))

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: SocialAccount) -> str:
        """Where whoever connects one is led to."""
        return reverse("socialaccount_connections")

    def send_notification_mail(self, *args: object, **kwargs: object) -> None:
        """As all letters of allauth."""
        get_account_adapter().send_notification_mail(*args, **kwargs)


def _app(one: dict[str, str]) -> SocialApp:
    told = {"server_url": one["issuer"].rstrip("/"), "issuer": one["issuer"]}
    named = {"provider_id": one["id"], "name": one["name"], "client_id": one["client_id"], "secret": one["secret"]}
    return SocialApp(provider=KIND, settings=told, **named)


def _pins_of(person: User) -> list[set[Pin]]:
    districts = District.objects.filter(memberships__user=person).prefetch_related("pinned_providers")
    return [{Pin(one.issuer, one.domain) for one in district.pinned_providers.all()} for district in districts]
