"""The second factor: who must have one, who has, and how allauth keeps it."""

from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from hosts.vault import opened, sealed

from .models import SecondFactorReset, User

# What a sign-in asks for; recovery codes only stand in for them.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
# In the session of somebody who has one: their pages need not ask again.
MARK = "has-second-factor"


class Adapter(DefaultMFAAdapter):
    """allauth's hooks: what proves a person is sealed in the database, and the app shows whose it is."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is not right, or was used already. Type the one that the app shows now.",
    }

    def get_totp_issuer(self) -> str:
        """What the app on the telephone shows."""
        return f"{settings.VENDOR_NAME} SFTP Portal"

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        """What a passkey is called whose person gives it no name."""
        return f"Passkey {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """For whom passkeys are: one place, whatever name a request has come by."""
        return {"id": urlsplit(settings.PUBLIC_URL).hostname or "", "name": self.get_totp_issuer()}

    def encrypt(self, text: str) -> str:
        """Sealed: a copy of the database alone makes no codes."""
        return sealed(text.encode()).decode("ascii")

    def decrypt(self, encrypted_text: str) -> str:
        """Opened. Raises SealBroken."""
        return opened(encrypted_text.encode("ascii")).decode()


def has_second_factor(person: User) -> bool:
    """Whether this person's sign-in asks for more than the password."""
    return Authenticator.objects.filter(user_id=person.pk, type__in=FACTORS).exists()


def must_have_second_factor(person: User) -> bool:
    """All staff, where the portal is so set; and everybody of a district that has chosen it."""
    if person.staff_role:
        return bool(settings.SECOND_FACTOR_REQUIRED)
    return any(membership.district.asks_second_factor for membership in person.own_memberships)


def lacks_second_factor(request: HttpRequest, person: User) -> bool:
    """Whether this person has to set one up before anything else."""
    if not must_have_second_factor(person) or request.session.get(MARK):
        return False
    if has_second_factor(person):
        request.session[MARK] = True
        return False
    return True


def resets_waiting() -> list[SecondFactorReset]:
    """What waits for a second person, the oldest first."""
    rows = SecondFactorReset.objects.filter(state=SecondFactorReset.State.WAITING, ends__gt=timezone.now())
    return list(rows.select_related("person", "asked_by").order_by("asked"))


def resets_decided() -> list[SecondFactorReset]:
    """The latest that were decided, or ran out."""
    rows = SecondFactorReset.objects.exclude(state=SecondFactorReset.State.WAITING, ends__gt=timezone.now())
    return list(rows.select_related("person", "asked_by", "decided_by").order_by("-asked")[:20])
