"""What staff may choose about an epoch, and what a district may answer."""

from collections.abc import Iterable
from decimal import Decimal

from django import forms

from accounts.models import District

from .catalogue import formats
from .core import holding
from .core.delimiters import COMMA, EVERY
from .core.holding import Act


class FormatForm(forms.Form):
    """Which format an epoch is in."""

    format = forms.ChoiceField(label="Format")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["format"].choices = [(one.name, one.title) for one in formats()]  # type: ignore[attr-defined]


LONGEST_REASON = 300
# Of names that are not known.
MOST_NAMED = 10


class DecisionForm(forms.Form):
    """What becomes of a held night, and why; with what the page showed of it."""

    act = forms.ChoiceField(label="Decision", error_messages={"required": "Choose what becomes of this night."})
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        label="Reason, or your question",
        help_text="The district reads it, and the audit log keeps it. Name no student.",
        error_messages={"required": "Say why, in a sentence."},
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    content = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    state = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: object, acts: Iterable[Act] = holding.Act, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["act"].choices = [(one.value, one.value) for one in acts]  # type: ignore[attr-defined]


class AnswerForm(forms.Form):
    """What a district says about a held night of its own."""

    answer = forms.CharField(
        max_length=LONGEST_REASON,
        label="Your answer",
        help_text="Our staff read it on this page. Name no student.",
        error_messages={"required": "Write a sentence first."},
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class NoteForm(forms.Form):
    """What colleagues should know of an epoch."""

    note = forms.CharField(
        max_length=2000,
        label="Your note",
        help_text="Only your colleagues read it; the district does not. Name no student.",
        error_messages={"required": "Write a sentence first."},
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class ReleaseForm(forms.Form):
    """Why nights may be applied again."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        label="Why it may go on",
        help_text="Kept in the audit log.",
        error_messages={"required": "Say why, in a sentence."},
    )


class EndForm(forms.Form):
    """Why an epoch that trouble has stopped comes to its end."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        label="Reason",
        help_text="The district reads it, and the audit log keeps it. Name no student.",
        error_messages={"required": "Say why, in a sentence."},
    )


class UndoForm(forms.Form):
    """Why a night is taken back, with the state of the records that the page showed."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    over = forms.BooleanField(required=False, label="I have looked at what would change; it is more than usual")
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        label="Reason",
        help_text="The district reads it, and the audit log keeps it. Name no student.",
        error_messages={"required": "Say why, in a sentence."},
    )

    def __init__(self, *args: object, is_over: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if not is_over:
            del self.fields["over"]


DATE = forms.DateInput(attrs={"type": "date"})
KINDS = [("added", "Added"), ("changed", "Changed"), ("removed", "Removed")]
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class LimitForm(forms.Form):
    """How much of one kind may change in a night."""

    what = forms.ChoiceField(label="Of records", choices=KINDS)
    table = forms.ChoiceField(label="File", required=False)
    percent = forms.DecimalField(
        label="Percent", min_value=-1, max_value=100, decimal_places=2, help_text="-1: any number."
    )
    floor = forms.IntegerField(
        label="But never fewer than", min_value=0, max_value=100_000_000, initial=0, help_text="For small files."
    )

    def __init__(self, *args: object, tables: Iterable[tuple[str, str]] = (), **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["table"].choices = [("", "Every file"), *tables]  # type: ignore[attr-defined]

    def clean_percent(self) -> Decimal | None:
        """Of what is below none only -1 means something."""
        percent: Decimal | None = self.cleaned_data["percent"]
        if percent is not None and -1 < percent < 0:
            raise forms.ValidationError("Enter a percentage from 0 to 100, or -1 for any number.")
        return percent


class StandingLimitForm(LimitForm):
    """A district's own limit; without a number the usual one counts again."""

    percent = forms.DecimalField(
        label="Percent",
        required=False,
        min_value=-1,
        max_value=100,
        decimal_places=2,
        help_text="-1: any number. Empty: the usual limit counts again.",
    )


class RaiseForm(LimitForm):
    """A wider limit for some days."""

    first = forms.DateField(label="First day", widget=DATE)
    last = forms.DateField(label="Last day", widget=DATE)
    reason = forms.CharField(max_length=LONGEST_REASON, label="Reason", help_text="Kept in the audit log.")


class BlackoutForm(forms.Form):
    """Days on which nothing is applied."""

    first = forms.DateField(label="First day", widget=DATE)
    last = forms.DateField(label="Last day", widget=DATE)
    why = forms.CharField(max_length=LONGEST_REASON, label="Reason", help_text="The district reads it.")


class BlackoutsForm(BlackoutForm):
    """The same for every district, or for several; `districts` in the cleaned data, empty for every one."""

    EVERY, SOME = "every", "some"

    whose = forms.ChoiceField(
        label="Whose nights",
        choices=[(EVERY, "Every district’s, those too that are opened later"), (SOME, "These districts’ only:")],
        widget=forms.RadioSelect,
        error_messages={"required": "Choose whose nights are not applied."},
    )
    names = forms.CharField(
        label="SFTP user names of these districts",
        required=False,
        max_length=200_000,
        help_text="One a line, for example smithville.k12.oh.us.",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
    )
    field_order = ("whose", "names", "first", "last", "why")

    def clean_names(self) -> str:
        """Finds the districts; says which are not known."""
        words = dict.fromkeys(str(self.cleaned_data["names"]).lower().replace(",", " ").split())
        self.districts: list[District] = []
        if self.cleaned_data.get("whose") != self.SOME:
            return ""
        found = {one.domain: one for one in District.objects.filter(domain__in=words)}
        if not words:
            raise forms.ValidationError("Name at least one district, or choose every district.")
        if unknown := [word for word in words if word not in found]:
            more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
            raise forms.ValidationError(f"No district has this user name: {', '.join(unknown[:MOST_NAMED])}{more}.")
        self.districts = [found[word] for word in words]
        return "\n".join(words)


class ArrivalForm(forms.Form):
    """By when a night is expected, and on which days."""

    by = forms.TimeField(
        label="Expected by",
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text="In the district’s own time. Empty: nobody is told when a night is missing.",
    )
    days = forms.MultipleChoiceField(
        label="On these days",
        required=False,
        choices=[(str(number), name) for number, name in enumerate(WEEKDAYS)],
        widget=forms.CheckboxSelectMultiple,
    )


class RecordForm(forms.Form):
    """Which record is looked at, and why."""

    table = forms.ChoiceField(label="File")
    key = forms.CharField(
        max_length=600,
        label="Its id",
        help_text="As it stands in the file; where several columns make it up, the first of them. Capitals count.",
    )
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        label="Reason",
        help_text="Kept in the audit log with your name; the id is not.",
        error_messages={"required": "Say why, in a sentence."},
    )

    def __init__(self, *args: object, tables: Iterable[tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["table"].choices = tables  # type: ignore[attr-defined]


class FileSettingsForm(forms.Form):
    """How a district's files are written."""

    windows_1252 = forms.BooleanField(
        label="Our files are in Windows-1252",
        required=False,
        help_text=(
            "A file that is not UTF-8 is then read as Windows-1252, with a warning each time. Set this only if your "
            "system cannot write UTF-8: read so, a file in another encoding gets wrong letters in its names."
        ),
    )
    delimiter = forms.ChoiceField(
        label="Values in a row are separated by",
        choices=[(one.word, one.many) for one in EVERY],
        initial=COMMA.word,
        help_text="All files of a night are read so. A file that uses something else is refused, and the log says why.",
    )
