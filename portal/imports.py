"""Districts by the list: a short one at once, all or none; a long one in parts, behind the pages."""

import zoneinfo

from django.conf import settings
from django.db import transaction

from accounts import audit, services
from accounts.core import roster
from accounts.models import DistrictImport, SftpAccount, User
from accounts.nudge import nudge

from .opening import row_open
from .tasks import import_districts

# More take longer than anybody should wait for a page, and would keep all others from writing meanwhile.
MOST_AT_ONCE = 50


def roster_of(text: str) -> roster.Roster:
    """What a file would do, held against the districts there are."""
    taken = {
        *SftpAccount.objects.values_list("username", flat=True),
        *services.names_kept_back().values_list("username", flat=True),
    }
    return roster.read_roster(text, taken=taken, zones=zoneinfo.available_timezones(), default_zone=settings.TIME_ZONE)


@transaction.atomic
def open_all(preview: roster.Roster, person: User) -> None:
    """Opens all districts of a short list, or none. Raises Refused."""
    for row in preview.rows:
        row_open(row, person)


@transaction.atomic
def import_want(text: str, preview: roster.Roster, person: User) -> DistrictImport:
    """Writes down that a long list is to be opened; a worker does it."""
    asked = DistrictImport.objects.create(text=text, asked_by=person, total=len(preview.rows))
    audit.record("district import asked", actor=person, subject=str(asked.pk), details={"districts": asked.total})
    nudge(import_districts)
    return asked
