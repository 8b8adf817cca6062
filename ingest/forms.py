"""What staff may choose about an epoch."""

from django import forms

from .catalogue import formats


class FormatForm(forms.Form):
    """Which format an epoch is in."""

    format = forms.ChoiceField(label="Format")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["format"].choices = [(one.name, one.title) for one in formats()]  # type: ignore[attr-defined]
