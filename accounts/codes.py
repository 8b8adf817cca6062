"""The forms in which a code of the second factor is typed."""

from datetime import timedelta

from allauth.core import context
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from .lockout import tries_forget, try_count
from .models import UsedCode, User

# A code is good in its own half minute, the one before and the one after.
GOOD_SECONDS = 30 * (2 * settings.MFA_TOTP_TOLERANCE + 1)
BOX = {"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
CODE_OR_RECOVERY = "Six digits from the app on your telephone, or one of your recovery codes."


class _Code(forms.Form):
    """Wrong codes are slowed down like wrong passwords, and no code of the app is taken twice."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["code"] = forms.CharField(
            label="Code", max_length=20, help_text=CODE_OR_RECOVERY, widget=forms.TextInput(attrs=BOX)
        )

    def clean_code(self) -> str:
        """The code, if it is good. Raises ValidationError."""
        account = f"second factor of {self.user.pk}"  # type: ignore[attr-defined]
        try_count(context.request, account)
        code = str(super().clean_code())  # type: ignore[misc]
        if self.authenticator.type == Authenticator.Type.TOTP:  # type: ignore[attr-defined]
            _use(self.user, code)  # type: ignore[attr-defined]
        tries_forget(context.request, account)
        return code


def _use(person: User, code: str) -> None:
    """Notes that this code was taken. Raises ValidationError if it was before, by whichever process."""
    now = timezone.now()
    UsedCode.objects.filter(at__lt=now - timedelta(seconds=GOOD_SECONDS)).delete()
    told = f"{person.pk}\n{''.join(code.split())}"
    digest = salted_hmac("accounts.codes", told, algorithm="sha256").hexdigest()
    if not UsedCode.objects.get_or_create(digest=digest)[1]:
        raise get_adapter().validation_error("incorrect_code")


class SignInCode(_Code, AuthenticateForm):
    """After the password, when somebody signs in."""


class CodeOnceMore(_Code, ReauthenticateForm):
    """In place of the password, before something that wants a fresh sign-in."""


class FirstCode(ActivateTOTPForm):
    """Proves that the app has read the square code."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"] = forms.CharField(
            label="Code", max_length=20, help_text="The six digits that the app shows now.", widget=forms.TextInput(BOX)
        )

    def clean_code(self) -> str:
        """The code, if it is good; nobody signs in with the same one later. Raises ValidationError."""
        code = str(super().clean_code())
        _use(self.user, code)
        return code
