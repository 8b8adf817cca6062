"""Tables and their filters; both live in the address, so a filtered list can be sent to a colleague."""

import json
from collections.abc import Iterable
from functools import reduce
from operator import or_

import django_filters
import django_tables2 as tables
from django import forms
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from .exporting import Columns
from .models import AuditEntry, District, Membership, OutboxMessage, User

DATE = forms.DateInput(attrs={"type": "date"})
PER_PAGE = 30
# Nobody turns so many pages: further back a filter leads, and counting millions is not worth anybody's waiting.
MOST = 10_000


class NewestPaginator(Paginator):
    """Pages of the first MOST rows; `has_more` says that there are others behind."""

    @cached_property
    def counted(self) -> int:
        """How many rows there are, up to one more than MOST."""
        rows = self.object_list
        # Rows of a table stand around its data, and these around what was asked of the database.
        while not isinstance(rows, QuerySet) and hasattr(rows, "data"):
            rows = rows.data
        return rows.order_by()[: MOST + 1].count() if isinstance(rows, QuerySet) else len(rows)

    @cached_property
    def count(self) -> int:
        """How many rows can be turned to."""
        return min(self.counted, MOST)

    @property
    def has_more(self) -> bool:
        """Whether there are rows that only a filter leads to."""
        return self.counted > MOST


def table_page(table: tables.Table, request: HttpRequest) -> None:
    """Sorts the table and picks its page as the address says; how many rows a page holds, the address cannot say."""
    tables.RequestConfig(request, paginate=False).configure(table)
    table.paginate(per_page=PER_PAGE, paginator_class=NewestPaginator)
    table.page = table.paginator.get_page(request.GET.get("page"))


class DistrictFilter(django_filters.FilterSet):
    """By words in name or domain, and by state."""

    name = django_filters.CharFilter(label="Name contains", lookup_expr="icontains")
    domain = django_filters.CharFilter(label="Domain contains", lookup_expr="icontains")
    state = django_filters.ChoiceFilter(label="State", choices=District.State, empty_label="Any")

    class Meta:
        model = District
        fields = ["name", "domain", "state"]


class DistrictTable(tables.Table):
    """All districts."""

    name = tables.Column(linkify=("district_manage", {"slug": tables.A("slug")}))
    state = tables.TemplateColumn(template_name="accounts/_district_state.html")
    people = tables.Column(verbose_name="People", attrs={"td": {"class": "number"}, "th": {"class": "number"}})

    created = tables.TemplateColumn("{% load moments %}{% moment value %}", verbose_name="Opened")

    class Meta:
        model = District
        fields = ["name", "domain", "state", "people", "created"]
        empty_text = "No district matches. Open one, or clear the filters."


DISTRICT_COLUMNS: Columns = (
    ("Name", lambda district: district.name),
    ("Domain", lambda district: district.domain),
    ("State", lambda district: district.get_state_display()),
    ("Time zone", lambda district: district.time_zone),
    ("SFTP user name", lambda district: district.sftp_account.username),
    ("Host", lambda district: district.sftp_account.host.name),
    ("People", lambda district: district.people),
    ("Opened", lambda district: district.created),
)


class PeopleFilter(django_filters.FilterSet):
    """By words in name or address, by what they are, and by whether they can sign in."""

    STAFF, DISTRICTS = "staff", "district"

    name = django_filters.CharFilter(label="Name contains", lookup_expr="icontains")
    email = django_filters.CharFilter(label="E-mail address contains", lookup_expr="icontains")
    whose = django_filters.ChoiceFilter(
        label="Whose",
        method="by_whose",
        choices=[(STAFF, "Staff"), (DISTRICTS, "Of a district")],
        empty_label="Any",
    )
    active = django_filters.ChoiceFilter(
        label="State",
        field_name="is_active",
        choices=[("True", "Can sign in"), ("False", "Ended")],
        empty_label="Any",
    )

    class Meta:
        model = User
        fields: tuple[str, ...] = ()

    def by_whose(self, queryset: QuerySet[User], name: str, value: str) -> QuerySet[User]:
        """The vendor's people, or all others."""
        staff = Q(staff_role="")
        return queryset.exclude(staff) if value == self.STAFF else queryset.filter(staff)


class PeopleTable(tables.Table):
    """Everybody who has a sign-in."""

    name = tables.TemplateColumn("{{ record }}")
    email = tables.Column(verbose_name="E-mail address", attrs={"td": {"class": "unbroken"}})
    part = tables.TemplateColumn(
        template_name="accounts/_person_part.html", verbose_name="What they are", empty_values=(), orderable=False
    )
    state = tables.TemplateColumn(template_name="accounts/_person_state.html", empty_values=(), order_by="is_active")
    last_login = tables.TemplateColumn(
        "{% load moments %}{% moment value %}", verbose_name="Last sign-in", default="never"
    )

    class Meta:
        model = User
        fields = ["name", "email", "part", "state", "last_login"]
        empty_text = "Nobody matches. Clear the filters."


def _roles(person: User) -> Iterable[Membership]:
    return person.memberships.all()  # the list has these prefetched


PEOPLE_COLUMNS: Columns = (
    ("Name", lambda person: person.name),
    ("E-mail address", lambda person: person.email),
    ("Staff role", lambda person: person.staff_role),
    ("Roles in districts", lambda person: "; ".join(f"{one.role} of {one.district}" for one in _roles(person))),
    ("State", lambda person: "Can sign in" if person.is_active else "Ended"),
    ("Second factor", lambda person: "yes" if person.has_second_factor else "no"),
    ("Last sign-in", lambda person: person.last_login),
    ("Added", lambda person: person.created),
)


class OutboxFilter(django_filters.FilterSet):
    """By recipient, kind and state."""

    to = django_filters.CharFilter(label="To contains", lookup_expr="icontains")
    kind = django_filters.CharFilter(label="Kind", method="by_kind")
    state = django_filters.ChoiceFilter(label="State", choices=OutboxMessage.State, empty_label="Any")

    class Meta:
        model = OutboxMessage
        fields = ["to", "kind", "state"]

    def by_kind(self, queryset: QuerySet[OutboxMessage], name: str, value: str) -> QuerySet[OutboxMessage]:
        """As it is shown or as it is kept: ours have hyphens between words, allauth's have low lines."""
        spellings = (value, value.replace(" ", "-"), value.replace(" ", "_"))
        return queryset.filter(reduce(or_, (Q(kind__icontains=spelling) for spelling in spellings)))


class OutboxTable(tables.Table):
    """Every mail."""

    subject = tables.Column(linkify=("outbox_message", {"pk": tables.A("pk")}))
    to = tables.Column(attrs={"td": {"class": "unbroken"}})
    state = tables.TemplateColumn(template_name="accounts/_mail_state.html")
    created = tables.TemplateColumn("{% load moments %}{% moment value %}", verbose_name="Written")

    class Meta:
        model = OutboxMessage
        fields = ["subject", "to", "kind", "state", "created"]
        empty_text = "Nothing has been written yet. Notices appear here as soon as something happens."

    def render_kind(self, value: str) -> str:
        """In words."""
        return value.replace("-", " ").replace("_", " ").capitalize()


class AuditFilter(django_filters.FilterSet):
    """By person, action and district."""

    actor = django_filters.CharFilter(label="Who", lookup_expr="icontains")
    action = django_filters.CharFilter(label="What", lookup_expr="icontains")
    district = django_filters.CharFilter(label="District", lookup_expr="icontains")
    since = django_filters.DateFilter(label="From", field_name="at", lookup_expr="date__gte", widget=DATE)

    class Meta:
        model = AuditEntry
        fields = ["actor", "action", "district"]


class AuditTable(tables.Table):
    """Who did what."""

    number = tables.Column(verbose_name="No.", attrs={"td": {"class": "number"}, "th": {"class": "number"}})
    at = tables.TemplateColumn("{% load moments %}{% moment value %}", verbose_name="When")
    details = tables.TemplateColumn(
        template_name="accounts/_audit_details.html", orderable=False, attrs={"td": {"class": "wide"}}
    )

    class Meta:
        model = AuditEntry
        fields = ["number", "at", "actor", "action", "district", "subject", "details"]
        empty_text = "Nothing matches."


AUDIT_COLUMNS: Columns = (
    ("No.", lambda entry: entry.number),
    ("When", lambda entry: entry.at),
    ("Who", lambda entry: entry.actor),
    ("What", lambda entry: entry.action),
    ("District", lambda entry: entry.district),
    ("On what", lambda entry: entry.subject),
    ("Details", lambda entry: json.dumps(entry.details, ensure_ascii=False) if entry.details else ""),
    ("Digest", lambda entry: entry.digest),
)
