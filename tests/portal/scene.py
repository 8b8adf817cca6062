"""A vendor with four districts, the people around them, and one of everything a page can show."""

from dataclasses import dataclass

from django.test import Client

from accounts import services
from accounts.core.roles import Role
from accounts.models import District, OutboxMessage, User
from accounts.notices import message_queue
from ingest.models import Epoch
from keys.models import PropagationRun
from portal.schedules import schedules_sync
from tests.factories import DistrictFactory, EpochFactory, MembershipFactory, PersonFactory, StaffFactory

ADMINISTRATOR, VIEWER, STRANGER = "administrator", "viewer", "stranger"
SUPPORT, OPS, SYSTEM = "support", "ops", "system"
PEOPLE = (ADMINISTRATOR, VIEWER, STRANGER, SUPPORT, OPS, SYSTEM)
STAFF = {SUPPORT: Role.SUPPORT, OPS: Role.OPS, SYSTEM: Role.SYSTEM_ADMINISTRATOR}
STATES = ("active", "suspended", "closed")


@dataclass(frozen=True, slots=True)
class Scene:
    """`districts` by state, each with an epoch that waits for staff; `theirs` is the stranger's."""

    districts: dict[str, District]
    epochs: dict[str, Epoch]
    theirs: District
    their_epoch: Epoch
    people: dict[str, User]
    run: PropagationRun
    mail: OutboxMessage

    def client(self, person: str, *, enforce_csrf_checks: bool = False) -> Client:
        """A browser in which this person is signed in."""
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(self.people[person])
        return client

    def kwargs(self, name: str, state: str = "active") -> dict[str, object]:
        """What an address of ours is filled with: the district in that state, and what belongs to it."""
        slug, epoch = self.districts[state].slug, self.epochs[state].pk
        own = {
            "outbox_message": {"pk": self.mail.pk},
            "propagation_run": {"pk": self.run.pk},
            "invitation": {"token": "no-such-token"},
            "account_confirm_email": {"key": "no-such-key"},
            "account_reset_password_from_key": {"uidb36": "1", "key": "no-such-key"},
        }
        return own.get(name, {"slug": slug, "pk": epoch})


def make_scene() -> Scene:
    """Rows for a `Scene`."""
    schedules_sync()
    districts = {state: DistrictFactory(name=f"Cedar {state}") for state in STATES}
    theirs = DistrictFactory(name="Elm")
    people = {name: StaffFactory(staff_role=role) for name, role in STAFF.items()}
    people |= {name: PersonFactory() for name in (ADMINISTRATOR, VIEWER, STRANGER)}
    MembershipFactory(user=people[STRANGER], district=theirs)
    for state, district in districts.items():
        MembershipFactory(user=people[ADMINISTRATOR], district=district)
        MembershipFactory(user=people[VIEWER], district=district, role=Role.DISTRICT_VIEWER)
        services.district_state_set(district, District.State(state), reason="a test", actor=None)
    message_queue("test", "somebody@district.example", "A subject", "A text", about="1")
    return Scene(
        districts,
        {state: _epoch(district) for state, district in districts.items()},
        theirs,
        _epoch(theirs),
        people,
        PropagationRun.objects.create(cause=PropagationRun.Cause.NOW, state=PropagationRun.State.DONE),
        OutboxMessage.objects.get(kind="test"),
    )


def _epoch(district: District) -> Epoch:
    return EpochFactory(
        district=district,
        state=Epoch.State.WAITING_STAFF,
        errors=2,
        log="FAILED: 2 errors\n",
        archive_name="20261101-000000",
    )
