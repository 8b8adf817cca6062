"""What people may type about keys."""

import re
from ipaddress import ip_address
from typing import Any

from django import forms

from .core.errors import Refusal
from .core.formats.private import private_key_lines
from .core.restrictions import networks_from
from .models import SharedKeyRequest
from .services import HOURLY_CHOICES, RETIRE_CHOICES, ShutOut

# RFC 1123 labels, joined by dots.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
PLAIN_NAME = re.compile(r"[A-Za-z0-9]+(?:[ ._-][A-Za-z0-9]+)*")
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
SYSTEM_USER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NO_FINGERPRINT = "There is no fingerprint in this. It begins with SHA256:."
REASON_WANTED = "Say why. The district reads it."


class CarefulForm(forms.Form):
    """A form that never keeps a private key which was pasted into the wrong field, nor shows it again.

    `is_vendors` adds the reason that the vendor's staff must give. Fields that `keys.core` reads take care themselves.
    """

    read_by_core: tuple[str, ...] = ()

    def __init__(self, *args: Any, is_vendors: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_vendors:
            self.fields["reason"] = forms.CharField(
                max_length=400,
                label="Reason",
                help_text="The district sees it beside the change, and gets it by mail.",
                error_messages={"required": REASON_WANTED},
            )
        self.private = self._take_out_private_keys() if self.is_bound else ()

    def _take_out_private_keys(self) -> tuple[str, ...]:
        typed = [name for name in self.fields if name not in self.read_by_core]
        found = tuple(name for name in typed if private_key_lines(self.data.get(self.add_prefix(name), "")))
        if found:
            kept = self.data.copy()  # type: ignore[attr-defined]
            for name in found:
                kept[self.add_prefix(name)] = ""
            self.data = kept
        return found

    def clean(self) -> dict[str, Any]:
        """Says what a private key in a field means."""
        for name in self.private:
            self.errors.pop(name, None)
            self.add_error(name, Refusal.PRIVATE_KEY.message)
        return self.cleaned_data

    @property
    def given_reason(self) -> str:
        """What staff gave as their reason; empty for the district's own people."""
        return str(self.cleaned_data.get("reason", ""))


def _box(rows: int) -> forms.Textarea:
    plain = {"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off", "wrap": "off"}
    return forms.Textarea(attrs={"rows": rows, **plain})


class TechnicalSettingsForm(CarefulForm):
    """The box with the account's keys, and the version of the set it showed. Content is judged by keys.core."""

    read_by_core = ("authorized_keys",)

    authorized_keys = forms.CharField(required=False, strip=False, label="“authorized_keys” files", widget=_box(8))
    version = forms.IntegerField(widget=forms.HiddenInput)
    confirmed = forms.CharField(required=False, max_length=260)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django's own word on NUL characters does not say how to mend the paste; keys.core's does.
        self.fields["authorized_keys"].validators = []


class ConfirmedForm(CarefulForm):
    """A change that may shut everybody out: then, and only then, the user name is asked for.

    `warning`: the page says already how everybody would be shut out.
    """

    warning = ""
    confirmed = forms.CharField(required=False, max_length=260, widget=forms.HiddenInput)

    def __init__(self, *args: Any, username: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["confirmed"].label = f"Type {username} to confirm"
        # Last, where the button is.
        self.fields["confirmed"] = self.fields.pop("confirmed")

    def ask(self) -> None:
        """Shows the field."""
        plain = {"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}
        self.fields["confirmed"].widget = forms.TextInput(attrs=plain)

    def refuse(self, told: ShutOut, username: str) -> None:
        """Says why the user name must be typed, or that what was typed is another."""
        self.ask()
        wanted = f"Type {username} exactly as it stands here."
        why = wanted if self.warning else told.sentence
        self.add_error("confirmed", f"This is not the user name. {wanted}" if told.tried else why)


class EditForm(ConfirmedForm):
    """Name, last day and source networks of one key."""

    # Of any length: the browser would cut it without a word, key_edit says so.
    comment = forms.CharField(
        required=False,
        label="Name",
        help_text="By it you tell your keys apart: the computer it is on, for example.",
    )
    expires_on = forms.DateField(
        required=False,
        label="Last day",
        help_text="It works until the end of this day in your district’s time zone. Leave it empty for no end.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Type a date such as 2027-06-30."},
    )
    networks = forms.CharField(
        required=False,
        strip=False,
        label="Works only from",
        help_text="Public addresses or networks such as 203.0.113.7 or 203.0.113.0/24, one a line. "
        "Leave it empty for anywhere.",
        widget=_box(4),
    )

    def clean_networks(self) -> str:
        """Refuses what is no network; nothing of it is repeated."""
        return _networks_read(self.cleaned_data["networks"])


class NetworksForm(ConfirmedForm):
    """Source networks of all keys of an account."""

    networks = forms.CharField(
        required=False,
        strip=False,
        label="All keys work only from",
        help_text="Public addresses or networks such as 203.0.113.7 or 203.0.113.0/24, one a line. "
        "Leave it empty for anywhere.",
        widget=_box(6),
    )

    def clean_networks(self) -> str:
        """Refuses what is no network; nothing of it is repeated."""
        return _networks_read(self.cleaned_data["networks"])


def _networks_read(text: str) -> str:
    problems = networks_from(text).problems
    if problems:
        raise forms.ValidationError([f"{problem.message} {problem.hint}" for problem in problems])
    return text


class ReplaceForm(CarefulForm):
    """The new key in place of an old one, and how long that stays. The key is judged by keys.core."""

    read_by_core = ("authorized_keys",)

    authorized_keys = forms.CharField(
        strip=False,
        label="The new public key",
        help_text="One key. Paste all of the file that ends in .pub.",
        widget=_box(4),
        error_messages={"required": "Paste the new public key."},
    )
    days = forms.TypedChoiceField(
        coerce=int,
        choices=[(days, f"{days} day{'' if days == 1 else 's'}") for days in RETIRE_CHOICES],
        initial=7,
        label="After the new key’s first sign-in, the old one stays for",
        help_text="Time in which you can still go back to it.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["authorized_keys"].validators = []


class RemoveForm(ConfirmedForm):
    """A key taken away; `warning` says how everybody would be shut out by it, if so."""


class DecisionForm(ConfirmedForm):
    """Whether a district may have a key that another has; `seen` is what was decided when the form was shown."""

    seen = forms.ChoiceField(choices=SharedKeyRequest.State.choices, widget=forms.HiddenInput)
    decision = forms.ChoiceField(choices=[("allow", "Allow"), ("decline", "Decline")])


class KeepForm(CarefulForm):
    """That the set of the database is kept although the host has this newer one."""

    seen = forms.CharField(max_length=32, required=False, widget=forms.HiddenInput)


class AllowForm(CarefulForm):
    """That the keys of a stopped run may go."""

    reason = forms.CharField(
        max_length=400,
        label="Reason",
        help_text="Whoever looks at it later reads it here and in the audit log.",
        error_messages={"required": "Say why these keys may go."},
    )


class HostReasonForm(CarefulForm):
    """Why something is done to a host that stops the portal from using it as it did."""

    reason = forms.CharField(
        max_length=400,
        label="Reason",
        help_text="It is kept in the audit log.",
        error_messages={"required": "Say why."},
    )


class HostRemoveForm(HostReasonForm):
    """That a host is to go: its name typed as it stands."""

    typed = forms.CharField(max_length=60, error_messages={"required": "Type the name of the host."})

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wanted = name
        self.fields["typed"].label = f"Type {name} to confirm"
        self.fields["typed"].widget = _plain_text()

    def clean_typed(self) -> str:
        """Refuses any other name."""
        typed = str(self.cleaned_data["typed"])
        if typed != self.wanted:
            raise forms.ValidationError(f"This is not its name. Type {self.wanted} exactly as it stands here.")
        return typed


def _plain_text() -> forms.TextInput:
    return forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"})


class HostAddressForm(CarefulForm):
    """Where an SFTP host is reached, by the portal and by districts."""

    address = forms.CharField(
        max_length=253,
        label="Address",
        help_text="A name such as upload.example.com, or an IP address. Districts connect to it too.",
        widget=_plain_text(),
    )
    port = forms.IntegerField(
        min_value=1,
        max_value=65535,
        initial=22,
        label="Port",
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )

    def clean_address(self) -> str:
        """The address in its one form; a user name, a scheme or a port has no place in it."""
        address = str(self.cleaned_data["address"]).lower().rstrip(".")
        try:
            return str(ip_address(address.strip("[]")))
        except ValueError:
            if not HOST_NAME.fullmatch(address):
                raise forms.ValidationError("Type only the name or the IP address: upload.example.com.") from None
        return address


class HostEditForm(HostAddressForm):
    """Where a host is reached, and as whom the portal signs in there."""

    username = forms.CharField(
        max_length=32,
        label="The portal’s user name there",
        help_text="The installer makes it: sftp-portal. Change it only if you have changed it on the machine.",
        widget=_plain_text(),
    )

    def clean_username(self) -> str:
        """Refuses what can be no user name of a system, and root, whom the portal must never be."""
        username = str(self.cleaned_data["username"])
        if not SYSTEM_USER.fullmatch(username):
            raise forms.ValidationError("Use small letters, digits, hyphens and underscores; begin with a letter.")
        if username == "root":
            raise forms.ValidationError("The portal never signs in as root. Type the name of its own account there.")
        return username


class HostForm(HostAddressForm):
    """A new SFTP host."""

    name = forms.CharField(
        max_length=60,
        label="Name",
        help_text="What you call it here: upload-2. It does not change later.",
        widget=_plain_text(),
    )

    field_order = ("name", "address", "port")

    def clean_name(self) -> str:
        """Refuses what could be taken for something else in a sentence or a log."""
        name = str(self.cleaned_data["name"])
        if not PLAIN_NAME.fullmatch(name):
            raise forms.ValidationError("Use letters, digits, hyphens, dots and single blanks.")
        return name


class HostKeyForm(CarefulForm):
    """That a shown host key is the machine's own: its fingerprint pasted from there, or compared by eye.

    `offered` is the fingerprint that the page showed.
    """

    offered = forms.CharField(max_length=60, widget=forms.HiddenInput)
    pasted = forms.CharField(
        required=False,
        max_length=400,
        label="Fingerprint on the machine itself",
        help_text="Paste the line that the command above prints. We compare it for you.",
        widget=_plain_text(),
    )
    compared = forms.BooleanField(
        required=False,
        label="I cannot paste it. I have compared every character of both fingerprints, and they are the same.",
    )

    def clean(self) -> dict[str, Any]:
        """Takes one of the two ways to compare; what was pasted counts for more than a tick."""
        told = super().clean()
        pasted, offered = told.get("pasted", ""), told.get("offered", "")
        if pasted and offered not in FINGERPRINT.findall(pasted):
            what = "This is another fingerprint than the host shows." if FINGERPRINT.search(pasted) else NO_FINGERPRINT
            self.add_error("pasted", f"{what} Do not confirm it before both are the same.")
        if not (pasted or told.get("compared") or self.errors):
            self.add_error("pasted", "Paste the fingerprint, or tick that you have compared it.")
        return told


class ScheduleForm(forms.Form):
    """How often all accounts are propagated."""

    minutes = forms.TypedChoiceField(
        coerce=int,
        choices=[(n, "once an hour" if n == 60 else f"every {n} minutes") for n in HOURLY_CHOICES],
        label="All accounts",
        help_text="Never less often than hourly: that is what districts are promised.",
        error_messages={
            "required": "Choose how often.",
            "invalid_choice": "That is not one of the choices. All accounts are gone through at least once an hour, "
            "because districts are promised that.",
        },
    )
