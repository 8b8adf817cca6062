"""The table of Ingest history and its filters, which live in the address."""

from collections.abc import Callable

import django_filters
import django_tables2 as tables
from django import forms
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from accounts.exporting import Columns
from accounts.models import District

from .catalogue import format_title
from .models import Epoch
from .wording import rows_of, sentence

# SQLite takes no more than a thousand or so in a list.
FEW = 900
DATE = forms.DateInput(attrs={"type": "date"})


class EpochFilter(django_filters.FilterSet):
    """By words in a district's name or domain, by state and date of arrival."""

    district = django_filters.CharFilter(label="District contains", method="of_districts")
    state = django_filters.ChoiceFilter(label="State", choices=Epoch.State, empty_label="Any")
    since = django_filters.DateFilter(label="From", field_name="first_seen", lookup_expr="date__gte", widget=DATE)
    until = django_filters.DateFilter(label="To", field_name="first_seen", lookup_expr="date__lte", widget=DATE)

    class Meta:
        model = Epoch
        fields = ["district", "state"]

    def of_districts(self, rows: QuerySet[Epoch], name: str, words: str) -> QuerySet[Epoch]:
        """Those of districts with these words in name or domain."""
        named = District.objects.filter(Q(name__icontains=words) | Q(domain__icontains=words)).order_by()
        few = list(named.values_list("pk", flat=True)[: FEW + 1])
        # A few are named: joined, the database would walk through all epochs to find theirs.
        return rows.filter(district__in=few if len(few) <= FEW else named.values("pk"))


class EpochTable(tables.Table):
    """Epochs of all districts."""

    name = tables.Column(
        verbose_name="Epoch", linkify=("epoch", {"slug": tables.A("district__slug"), "pk": tables.A("pk")})
    )
    district = tables.Column()
    state = tables.TemplateColumn(template_name="ingest/_state.html", extra_context={"in_table": True})
    sentence = tables.Column(
        verbose_name="What happened", orderable=False, empty_values=(), attrs={"td": {"class": "wide"}}
    )
    format = tables.Column()
    first_seen = tables.TemplateColumn("{% load moments %}{% moment value %}", verbose_name="Arrived")
    note_count = tables.TemplateColumn(
        "{% if value %}{{ value }}{% else %}<span class='soft'>none</span>{% endif %}",
        verbose_name="Notes",
        attrs={"td": {"class": "number"}, "th": {"class": "number"}},
    )

    class Meta:
        model = Epoch
        fields = ["name", "district", "state", "sentence", "format", "first_seen", "note_count"]
        empty_text = "No epoch matches. Clear the filters, or wait for tonight."

    def render_sentence(self, record: Epoch) -> SafeString:
        """What happened, in words."""
        return render_to_string("ingest/_sentence.html", {"sentence": sentence(record)})

    def render_format(self, value: str) -> str:
        """The format's title."""
        return format_title(value)


def _rows(what: str) -> Callable[[Epoch], int]:
    return lambda epoch: rows_of(epoch, what)


EPOCH_COLUMNS: Columns = (
    ("Epoch", lambda epoch: epoch.name),
    ("District", lambda epoch: epoch.district.name),
    ("Domain", lambda epoch: epoch.district.domain),
    ("State", lambda epoch: epoch.word),
    ("What happened", sentence),
    ("Format", lambda epoch: format_title(epoch.format)),
    ("Arrived", lambda epoch: epoch.first_seen),
    ("Ended", lambda epoch: epoch.finished),
    ("Files", lambda epoch: epoch.file_count),
    ("Bytes", lambda epoch: epoch.byte_count),
    ("Errors", lambda epoch: epoch.errors),
    ("Warnings", lambda epoch: epoch.warnings),
    *((f"Rows {what}", _rows(what)) for what in ("added", "changed", "removed")),
    ("Notes", lambda epoch: epoch.note_count),
    ("Number", lambda epoch: epoch.pk),
)
MATTER_COLUMNS: Columns = (
    ("Why", lambda matter: matter.kind.word),
    ("Since", lambda matter: matter.since),
    ("District", lambda matter: matter.district.name),
    ("Domain", lambda matter: matter.district.domain),
    ("Epoch", lambda matter: matter.epoch.name if matter.epoch else ""),
    ("What happened", lambda matter: matter.sentence),
)
