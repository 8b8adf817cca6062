"""How allauth behaves in this house: nobody signs up by themselves, and its mail goes through our outbox."""

import secrets

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from .fresh import sign_in_is_fresh
from .lockout import tries_forget, try_count
from .models import User
from .notices import message_queue
from .origin import address_of

UNKNOWN_ADDRESS = "0.0.0.0"


class Adapter(DefaultAccountAdapter):
    """allauth's hooks."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Districts are invited by their vendor; there is no other way in."""
        return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, object]) -> None:
        """Queues allauth's letter in the one outbox. One for an account that has ended is not written at all."""
        person = context.get("user")
        if not isinstance(person, User):
            person = User.objects.filter(email__iexact=email).first()
        if person is None or not person.is_active:
            return
        message = self.render_mail(template_prefix, email, context)
        kind = template_prefix.rsplit("/", 1)[-1]
        message_queue(kind, email, message.subject, message.body, about=secrets.token_hex(8))

    def get_client_ip(self, request: HttpRequest) -> str:
        """As everywhere in this house; a proxy of ours that tells no address stops nobody from signing in."""
        return address_of(request) or UNKNOWN_ADDRESS

    def is_reauthentication_required(self, *, app: str, **kwargs: object) -> bool:
        """Whoever has just signed in is not asked again; as everywhere in this house."""
        return not sign_in_is_fresh(context.request)

    def pre_authenticate(self, request: HttpRequest, **credentials: str) -> None:
        """Counts the try before it is made. Raises ValidationError while whoever tries has to wait."""
        try_count(request, credentials.get("email", ""))

    def authenticate(self, request: HttpRequest, **credentials: str) -> AbstractBaseUser | None:
        """The person whose password it is."""
        person = super().authenticate(request, **credentials)
        if person is not None:
            tries_forget(request, credentials.get("email", ""))
        return person

    def _delete_login_attempts_cached_email(self, request: HttpRequest, **credentials: str) -> None:
        """Allauth calls this when a password was replaced by mail: whoever did need not wait."""
        tries_forget(request, credentials.get("email", ""))

    def can_delete_email(self, email_address: object) -> bool:
        """The address is the name a person signs in with: it is changed, never taken away."""
        return False
