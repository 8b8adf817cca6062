"""The forms that carry what a browser says of a passkey (static/passkeys.js), and the name a person gives one."""

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.core.exceptions import ValidationError

# What a browser or a stranger sends may have any shape; fido2 and allauth foresee some.
MALFORMED = (ValidationError, AttributeError, KeyError, TypeError, ValueError)
NOT_TAKEN = "This passkey was not accepted. Try once more, or sign in with your password."
NOT_ADDED = "The browser gave no passkey that the portal can keep. Try once more, or with another device."


def _name(*, is_required: bool) -> forms.CharField:
    return forms.CharField(
        max_length=50,
        required=is_required,
        label="Name",
        help_text="So that you know it again, such as “Office computer” or “Key on my key ring”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class NewPasskey(AddWebAuthnForm):
    """A passkey that a browser has just made. Each can sign in alone, so there is nothing to choose."""

    name = _name(is_required=False)
    passwordless = None

    def clean(self) -> dict[str, object]:
        """Refuses what no browser made for this page. Raises ValidationError."""
        try:
            return dict(super().clean())
        except MALFORMED as error:
            raise ValidationError(NOT_ADDED) from error


class PasskeyName(EditWebAuthnForm):
    """Another name for a passkey."""

    name = _name(is_required=True)


class _Shown(forms.Form):
    def clean_credential(self) -> Authenticator:
        """The passkey that was shown. Raises ValidationError."""
        try:
            found: Authenticator = super().clean_credential()  # type: ignore[misc]
        except MALFORMED as error:
            raise ValidationError(NOT_TAKEN) from error
        return found


class SignInPasskey(_Shown, LoginWebAuthnForm):
    """In place of address and password."""


class SecondPasskey(_Shown, AuthenticateWebAuthnForm):
    """After the password, in place of a code."""


class PasskeyOnceMore(_Shown, ReauthenticateWebAuthnForm):
    """In place of the password, before something that wants a fresh sign-in."""
