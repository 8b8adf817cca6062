"""What people may type about districts and themselves."""

from collections.abc import Mapping

from allauth.account.forms import UserTokenForm
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from hosts.models import Host

from .core import names
from .core.mailing import How, groups_for
from .core.roles import DISTRICT_ROLES
from .models import District, User

ZONES = [
    ("America/New_York", "Eastern"),
    ("America/Chicago", "Central"),
    ("America/Denver", "Mountain"),
    ("America/Phoenix", "Arizona"),
    ("America/Los_Angeles", "Pacific"),
    ("America/Anchorage", "Alaska"),
    ("Pacific/Honolulu", "Hawaii"),
    ("Australia/Sydney", "Sydney"),
    ("Australia/Perth", "Perth"),
    ("Europe/London", "London"),
    ("UTC", "UTC"),
]


class NameForm(forms.Form):
    """A district's name and domain."""

    name = forms.CharField(max_length=150, label="Name of the district")
    domain = forms.CharField(
        max_length=260,
        label="Domain",
        help_text="Also its SFTP user name, for example smithville.k12.oh.us.",
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}),
    )

    def clean_domain(self) -> str:
        """The domain in its one form."""
        try:
            return names.domain(self.cleaned_data["domain"])
        except names.NameRefused as refused:
            raise ValidationError(str(refused)) from refused


class DistrictForm(NameForm):
    """A new district's name, domain and time zone, and its host if there is a choice; the first is the usual one."""

    time_zone = forms.ChoiceField(choices=ZONES, label="Time zone")
    host = forms.ModelChoiceField(
        Host.objects.none(),
        empty_label=None,
        label="SFTP host",
        help_text="It cannot be changed here later: the district connects to it.",
        error_messages={"invalid_choice": "This host is not ready for districts any more. Choose another."},
    )

    def __init__(self, *args: object, hosts: QuerySet[Host], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        usual = hosts[:2]
        # A choice that was sent is never passed over, even if there is none any more.
        if len(usual) > 1 or (self.is_bound and "host" in self.data):
            self.fields["host"].queryset = hosts  # type: ignore[attr-defined]
            self.fields["host"].initial = usual[0] if usual else None
        else:
            del self.fields["host"]


class RenameForm(NameForm):
    """A change of name or domain; a change of domain must be said a second time."""

    understood = forms.BooleanField(
        required=False,
        label="I have told the district that its SFTP user name changes",
        help_text="Only needed when the domain changes.",
    )

    def __init__(self, *args: object, district: District, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.district = district

    def clean(self) -> dict[str, object]:
        """Refuses a new domain that was not confirmed."""
        cleaned = super().clean() or {}
        changes = cleaned.get("domain") not in (None, self.district.domain)
        if changes and not cleaned.get("understood"):
            self.add_error(
                "understood",
                "Tick this box to change the domain: every job of the district must be changed too.",
            )
        return cleaned


class StateForm(forms.Form):
    """Suspend, resume or close, with the reason that goes into the audit log."""

    state = forms.ChoiceField(choices=District.State, label="State")
    reason = forms.CharField(max_length=300, label="Reason", help_text="Kept in the audit log.")


class InvitationForm(forms.Form):
    """Who is invited, as what."""

    name = forms.CharField(max_length=150, label="Name")
    email = forms.EmailField(label="E-mail address")
    role = forms.ChoiceField(choices=[(role, role.capitalize()) for role in DISTRICT_ROLES], label="Role")


ENDS, LEAVES = "ends", "leaves"


class PersonForm(forms.Form):
    """What becomes of a person in a district, with the reason that goes into the audit log."""

    becomes = forms.ChoiceField(
        label="Change to",
        choices=[
            *((role, role.capitalize()) for role in DISTRICT_ROLES),
            (LEAVES, "Not in this district any more"),
            (ENDS, "Account ended: signs in nowhere any more"),
        ],
    )
    reason = forms.CharField(max_length=300, label="Reason", help_text="Kept in the audit log.")


class ResetForm(forms.Form):
    """Whose second factor is lost, and how whoever asks knows that it is them."""

    email = forms.EmailField(label="Whose", help_text="The address they sign in with.")
    reason = forms.CharField(
        max_length=300,
        label="Reason, and how you know that it is them",
        help_text="Kept in the audit log. Call them back on a number you had before.",
    )


HOW_TITLES = {
    How.EACH: "Each, at once",
    How.MORNING: "Together, at 8 in the morning by my clock",
    How.NONE: "None: I look at the pages",
}


class MailsForm(forms.Form):
    """How somebody wants the mails of each group, and their time zone."""

    def __init__(self, *args: object, person: User, chosen: Mapping[str, How], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.groups = groups_for(is_staff=bool(person.staff_role))
        for group in self.groups:
            self.fields[group.name] = forms.ChoiceField(
                choices=[(how.value, HOW_TITLES[how]) for how in group.choices],
                initial=chosen.get(group.name, How.EACH).value,
                label=group.title,
                help_text=group.says,
            )
        zones = ZONES if person.time_zone in ("", *dict(ZONES)) else [*ZONES, (person.time_zone, person.time_zone)]
        self.fields["time_zone"] = forms.ChoiceField(
            choices=[("", "As usual here"), *zones],
            required=False,
            initial=person.time_zone,
            label="Your time zone",
            help_text="Times on the pages, and eight in the morning, go by it.",
        )

    @property
    def chosen(self) -> dict[str, How]:
        """What was chosen, by group."""
        return {group.name: How(self.cleaned_data[group.name]) for group in self.groups}


class PinForm(forms.Form):
    """Which provider a district believes, about the addresses of which domain."""

    issuer = forms.ChoiceField(label="Provider")
    domain = forms.CharField(
        max_length=253,
        label="Domain of the e-mail addresses",
        help_text="What stands behind the @, for example smithvilleschools.org.",
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}),
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        choices = [(one["issuer"], one["name"]) for one in settings.OPENID_PROVIDERS]
        self.fields["issuer"].choices = choices  # type: ignore[attr-defined]

    def clean_domain(self) -> str:
        """The domain in its one form."""
        try:
            return names.domain(self.cleaned_data["domain"])
        except names.NameRefused as refused:
            raise ValidationError(str(refused)) from refused


class DistrictsImportForm(forms.Form):
    """A CSV file of districts, or its text from the preview."""

    file = forms.FileField(required=False, label="CSV file", help_text="UTF-8, at most 2 MB.")
    text = forms.CharField(required=False, widget=forms.HiddenInput, strip=False)

    def clean(self) -> dict[str, object]:
        """Puts the file's content into `text`."""
        cleaned = super().clean() or {}
        upload = cleaned.get("file")
        if upload is None and not cleaned.get("text"):
            self.add_error("file", "Choose a CSV file.")
        elif upload is not None and upload.size > 2_000_000:
            self.add_error("file", "This file is larger than 2 MB. Split it into several.")
        elif upload is not None:
            cleaned["text"] = self._decoded(upload.read())
        return cleaned

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.add_error("file", "This file is not UTF-8. In Excel, save it as “CSV UTF-8”.")
            return ""


class ResetLink(UserTokenForm):
    """The link in the letter for a forgotten password; of an account that has ended it opens nothing."""

    def _get_user(self, uidb36: str) -> User | None:
        person: User | None = super()._get_user(uidb36)
        return person if person is not None and person.is_active else None


class WelcomeForm(forms.Form):
    """A new person's name and password."""

    name = forms.CharField(max_length=150, label="Your name", widget=forms.TextInput(attrs={"autocomplete": "name"}))
    password = forms.CharField(
        label="Choose a password",
        help_text="At least 12 characters. A few words you can remember are fine.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: object, email: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.email = email

    def clean_password(self) -> str:
        """Refuses weak passwords with the reasons."""
        password: str = self.cleaned_data["password"]
        validate_password(password, User(email=self.email, name=self.cleaned_data.get("name", "")))
        return password
