"""How every form is drawn: Django's own templates with Bootstrap's class names put on the controls."""

from django.forms import BoundField, CheckboxInput, RadioSelect, Select
from django.forms.renderers import TemplatesSetting
from django.forms.widgets import Widget
from django.utils.safestring import SafeString


class StyledField(BoundField):
    """A field whose control carries Bootstrap's class, and says when it holds an error."""

    def as_widget(
        self, widget: Widget | None = None, attrs: dict[str, str | bool] | None = None, only_initial: bool = False
    ) -> SafeString:
        """The control's HTML."""
        widget = widget or self.field.widget
        attrs = {**(attrs or {})}
        attrs["class"] = " ".join(filter(None, [str(widget.attrs.get("class", "")), _class_of(widget), self._mark()]))
        return super().as_widget(widget, attrs, only_initial)

    def _mark(self) -> str:
        return "is-invalid" if self.errors else ""


def _class_of(widget: Widget) -> str:
    if isinstance(widget, CheckboxInput):
        return "form-check-input"
    if isinstance(widget, RadioSelect):  # and so a list of boxes
        return "choice-list"
    return "form-select" if isinstance(widget, Select) else "form-control"


class Renderer(TemplatesSetting):
    """Named in settings as FORM_RENDERER."""

    bound_field_class = StyledField
