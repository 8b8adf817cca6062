"""What people may type about keys."""

from django import forms

from .services import HOURLY_CHOICES


class TechnicalSettingsForm(forms.Form):
    """The box with the account's keys, and the version of the set it showed. Content is judged by keys.core."""

    authorized_keys = forms.CharField(
        required=False,
        strip=False,
        label="“authorized_keys” files",
        help_text="Paste your public keys here, one a line. A line begins with ssh-ed25519, ssh-rsa or ecdsa-sha2-…",
        widget=forms.Textarea(
            attrs={
                "rows": 8,
                "spellcheck": "false",
                "autocapitalize": "none",
                "autocomplete": "off",
                "wrap": "off",
            }
        ),
    )
    version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        # Django's own word on NUL characters does not say how to mend the paste; keys.core's does.
        self.fields["authorized_keys"].validators = []


class ScheduleForm(forms.Form):
    """How often all accounts are propagated."""

    minutes = forms.TypedChoiceField(
        coerce=int,
        choices=[(n, "once an hour" if n == 60 else f"every {n} minutes") for n in HOURLY_CHOICES],
        label="All accounts",
        help_text="Never less often than hourly: that is what districts are promised.",
    )
