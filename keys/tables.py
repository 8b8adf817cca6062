"""The tables of runs and of lines that were found on hosts, and their filters, which live in the address."""

import django_filters
import django_tables2 as tables
from django.db.models import Q, QuerySet

from hosts.models import Host

from .core.drift import shown_lines
from .models import FoundLine, PropagationRun
from .overview import FULL_CAUSES


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


ALL_ACCOUNTS, SOME_ACCOUNTS, TROUBLE = "all", "some", "trouble"


class RunFilter(django_filters.FilterSet):
    """By what it went over, and by whether something went wrong."""

    over = django_filters.ChoiceFilter(
        label="Over",
        method="over_filter",
        choices=[(ALL_ACCOUNTS, "All accounts"), (SOME_ACCOUNTS, "Some: saved, swept, or by command")],
        empty_label="Any",
    )
    ended = django_filters.ChoiceFilter(
        label="State",
        method="ended_filter",
        choices=[(TROUBLE, "Failures, held or stopped")],
        empty_label="Any",
    )

    class Meta:
        model = PropagationRun
        fields: tuple[str, ...] = ()

    def over_filter(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Runs over all accounts, or the others."""
        full = Q(cause__in=FULL_CAUSES)
        return rows.filter(full if value == ALL_ACCOUNTS else ~full)

    def ended_filter(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Runs that did not go as they should."""
        return rows.filter(Q(failed__gt=0) | Q(held__gt=0) | Q(has_stopped=True) | Q(has_failed=True))


def _count(**told: str) -> tables.Column:
    number = {"class": "number"}
    return tables.Column(**told, attrs={"td": number, "th": number}, orderable=False)


class RunTable(tables.Table):
    """Runs, newest first."""

    asked = tables.TemplateColumn(template_name="keys/_run_when.html", verbose_name="Started")
    state = tables.TemplateColumn('{% include "keys/_run_state.html" with run=record %}', orderable=False)
    cause = tables.TemplateColumn(template_name="keys/_run_cause.html", verbose_name="Because of", orderable=False)
    looked_at, written, removed = _count(), _count(), _count(verbose_name="Keys removed")
    drifted, held, failed = _count(verbose_name="Changed there"), _count(), _count()

    class Meta:
        model = PropagationRun
        fields = ["asked", "state", "cause", "looked_at", "written", "removed", "drifted", "held", "failed"]
        empty_text = "Nothing matches."
