"""Writes down what people do with their second factor, which allauth does for them."""

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset, authenticator_used
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.signals import social_account_added, social_account_removed
from django.dispatch import receiver
from django.http import HttpRequest

from . import audit, services
from .models import User
from .second_factor import FACTORS, MARK, has_second_factor
from .sessions import sessions_of

TOTP, RECOVERY_CODES = Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES


@receiver(authenticator_added)
def second_factor_set_up(request: HttpRequest, user: User, authenticator: Authenticator, **_: object) -> None:
    """Whoever signed in elsewhere before there was any has shown the password alone: they sign in anew."""
    if authenticator.type not in FACTORS:
        return
    action = "second factor set up" if authenticator.type == TOTP else "passkey added"
    audit.record(action, actor=user, subject=user.email, details=_named(authenticator))
    if Authenticator.objects.filter(user=user, type__in=FACTORS).count() == 1:
        _others_end(request, user)


@receiver(authenticator_removed)
def second_factor_given_up(request: HttpRequest, user: User, authenticator: Authenticator, **_: object) -> None:
    """Nor may a browser elsewhere go on as if there were one."""
    if authenticator.type not in FACTORS:
        return
    if not has_second_factor(user):
        request.session.pop(MARK, None)
    action = "second factor given up" if authenticator.type == TOTP else "passkey taken off"
    audit.record(action, actor=user, subject=user.email, details=_named(authenticator))
    _others_end(request, user)


def _named(authenticator: Authenticator) -> dict[str, str]:
    return {"name": authenticator.wrap().name} if authenticator.type != TOTP else {}


@receiver(authenticator_reset)
def recovery_codes_made(user: User, **_: object) -> None:
    """The earlier ones open nothing any more."""
    audit.record("recovery codes made anew", actor=user, subject=user.email)


@receiver(authenticator_used)
def recovery_code_used(user: User, authenticator: Authenticator, **_: object) -> None:
    """Somebody without their telephone, or with somebody else's list."""
    if authenticator.type == RECOVERY_CODES:
        audit.record("recovery code used", actor=user, subject=user.email)


@receiver(social_account_added)
def provider_connected(sociallogin: SocialLogin, **_: object) -> None:
    """From now on somebody else's word signs this person in."""
    person = sociallogin.user
    audit.record("sign-in provider connected", actor=person, subject=person.email, details=_told(sociallogin.account))


@receiver(social_account_removed)
def provider_taken_off(socialaccount: SocialAccount, **_: object) -> None:
    """And no more."""
    person = socialaccount.user
    audit.record("sign-in provider taken off", actor=person, subject=person.email, details=_told(socialaccount))


def _told(account: SocialAccount) -> dict[str, str]:
    return {"provider": account.provider, "issuer": account.extra_data["id_token"]["iss"]}


def _others_end(request: HttpRequest, user: User) -> None:
    others = list(sessions_of(user).exclude(session_key=request.session.session_key))
    if others:
        services.sessions_end(others, person=user, actor=user)
