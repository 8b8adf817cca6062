"""The tables of runs and of lines that were found on hosts, and their filters, which live in the address."""

import django_filters
import django_tables2 as tables
from django.db.models import Q, QuerySet

from accounts.exporting import Columns
from hosts.models import Host

from .core.drift import shown_lines
from .models import FoundLine, KeySet, PropagationFailure, PropagationRun
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


# Not the line itself: whoever wrote it to the host may have written anything.
FOUND_COLUMNS: Columns = (
    ("Account", lambda found: found.username),
    ("District", lambda found: found.account.district.name if found.account else ""),
    ("Host", lambda found: found.host.name),
    ("State", lambda found: found.get_state_display()),
    ("Found", lambda found: found.found),
    ("Key", lambda found: found.label),
    ("Fingerprint", lambda found: found.fingerprint),
    ("Decided", lambda found: found.decided),
    ("Decided by", lambda found: found.decided_by.email if found.decided_by else ""),
)
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


RUN_COLUMNS: Columns = (
    ("Run", lambda run: run.pk),
    ("Asked for", lambda run: run.asked),
    ("Started", lambda run: run.started),
    ("Finished", lambda run: run.finished),
    ("State", lambda run: run.get_state_display()),
    ("A host stopped", lambda run: _yes(run.has_stopped)),
    ("A host failed", lambda run: _yes(run.has_failed)),
    ("Because of", lambda run: run.get_cause_display()),
    ("Asked by", lambda run: run.asked_by.email if run.asked_by else ""),
    ("Accounts", lambda run: run.total),
    ("Written", lambda run: run.written),
    ("Right already", lambda run: run.unchanged),
    ("Keys removed", lambda run: run.removed),
    ("Changed there", lambda run: run.drifted),
    ("Held", lambda run: run.held),
    ("Failed", lambda run: run.failed),
)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


RUN_ACCOUNT_COLUMNS: Columns = (
    ("Account", lambda one: one.account.username),
    ("District", lambda one: one.account.district.name),
    ("Host", lambda one: one.account.host.name),
    ("Outcome", lambda one: "failed" if isinstance(one, PropagationFailure) else "on the host"),
    ("Code", lambda one: getattr(one, "code", "")),
    ("Why", lambda one: one.reason if isinstance(one, PropagationFailure) else ""),
    ("What", lambda one: one.get_cause_display() if isinstance(one, KeySet) else ""),
    ("Saved", lambda one: one.at if isinstance(one, KeySet) else None),
    ("On the host", lambda one: one.on_host if isinstance(one, KeySet) else None),
)
