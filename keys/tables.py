"""The table of lines that were found on hosts, and its filters, which live in the address."""

import django_filters
import django_tables2 as tables

from hosts.models import Host

from .core.drift import shown_lines
from .models import FoundLine


class FoundFilter(django_filters.FilterSet):
    """By state, host and name of the file."""

    state = django_filters.ChoiceFilter(label="State", choices=FoundLine.State, empty_label="Any")
    host = django_filters.ModelChoiceFilter(label="Host", queryset=Host.objects.all(), empty_label="Any")
    username = django_filters.CharFilter(label="Account contains", lookup_expr="icontains")

    class Meta:
        model = FoundLine
        fields = ["state", "host", "username"]


class FoundTable(tables.Table):
    """Lines of all hosts."""

    username = tables.TemplateColumn(template_name="keys/_found_account.html", verbose_name="Account")
    state = tables.TemplateColumn(template_name="keys/_found_state.html")
    found = tables.TemplateColumn("{% load moments %}{% moment value %}", verbose_name="Found")
    fingerprint = tables.TemplateColumn(
        template_name="keys/_found_line.html", verbose_name="Line", orderable=False, attrs={"td": {"class": "wide"}}
    )

    class Meta:
        model = FoundLine
        fields = ["username", "state", "found", "host", "fingerprint"]
        empty_text = "Nothing matches. What stands on a host and is not ours is taken off, and told here."

    def before_render(self, request: object) -> None:
        """Makes each line fit for a page: whatever is no printable text is escaped."""
        for row in self.page.object_list if self.page else ():
            row.record.shown = "\n".join(shown_lines(row.record.line.encode("utf-8", "backslashreplace")))
