"""The first people: a demonstration vendor with districts, or one system administrator; passwords made at random.

The passwords are kept in the data directory, readable by its owner only, because the start screen shows them again.
"""

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import services
from accounts.core.roles import Role
from accounts.models import District, User
from hosts import provision
from hosts.connect import files_for
from hosts.core import paths
from ingest.catalogue import formats
from ingest.core import sampling

# No look-alikes: these are read off a screen and typed.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Person:
    """One person of the demonstration; `district` is a domain, or "" for the vendor's staff."""

    name: str
    email: str
    role: str
    district: str
    password: str


DISTRICTS = (
    ("Smithville Local Schools", "smithville.k12.oh.us", "America/New_York"),
    ("Maple Grove School District", "maplegrove.k12.mn.us", "America/Chicago"),
    ("Harbor Unified", "harbor.k12.ca.us", "America/Los_Angeles"),
)
CAST = (
    ("Dana Ruiz", "dana@smithville.example", Role.DISTRICT_ADMINISTRATOR, "smithville.k12.oh.us"),
    ("Vic Olsen", "vic@smithville.example", Role.DISTRICT_VIEWER, "smithville.k12.oh.us"),
    ("Mo Larsen", "mo@maplegrove.example", Role.DISTRICT_ADMINISTRATOR, "maplegrove.k12.mn.us"),
    ("Sam Support", "support@vendor.example", Role.SUPPORT, ""),
    ("Olu Ops", "ops@vendor.example", Role.OPS, ""),
    ("Ada Admin", "admin@vendor.example", Role.SYSTEM_ADMINISTRATOR, ""),
)
FIRST_ADMINISTRATOR = (("First administrator", "admin@localhost.localdomain", Role.SYSTEM_ADMINISTRATOR, ""),)


def people_file() -> Path:
    """Where the first people's passwords are kept."""
    return settings.DATA_DIR / "first-people.json"


def first_people() -> tuple[Person, ...]:
    """The people made at first start with the passwords they had then; empty if there were people already."""
    if people_file().exists():
        return tuple(Person(**one) for one in json.loads(people_file().read_text("utf-8")))
    if User.objects.exists():
        return ()
    cast = CAST if settings.DEMO else FIRST_ADMINISTRATOR
    people = tuple(Person(*told, password=_password()) for told in cast)
    fresh = people_file().with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps([asdict(person) for person in people], indent=1), encoding="utf-8")
    fresh.rename(people_file())
    return people


def _password() -> str:
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(3))


@transaction.atomic
def people_make(people: tuple[Person, ...]) -> bool:
    """Makes the first people (and the demonstration's districts) if nobody is there yet. True if it did."""
    if not people or User.objects.exists():
        return False
    for person in people:
        staff_role = None if person.district else Role(person.role)
        services.person_make(person.email, person.name, person.password, staff_role=staff_role)
    if settings.DEMO:
        _districts_make(people)
    return True


def _districts_make(people: tuple[Person, ...]) -> None:
    made = {
        domain: services.district_open(name, domain, time_zone=zone, actor=None) for name, domain, zone in DISTRICTS
    }
    for person in people:
        if person.district:
            user = User.objects.get(email=person.email)
            services.membership_give(user, made[person.district], Role(person.role), actor=None)


def epochs_put() -> None:
    """Uploads two invented nights, as two districts' jobs would: one that loads, one that nobody recognises."""
    largest = max(formats(), key=lambda known: len(known.tables))
    last_night = timezone.now() - timedelta(days=1)
    name = f"{last_night:%Y%m%d}-020000"
    _put("smithville.k12.oh.us", name, sampling.epoch(largest, size=400, seed=1))
    _put("maplegrove.k12.mn.us", name, {"export_final_v2.csv": b"col1,col2\r\n1,2\r\n"})


def _put(domain: str, name: str, content: dict[str, bytes]) -> None:
    district = District.objects.get(domain=domain)
    files, username = files_for(district.sftp_account.host), paths.username(domain)
    provision.home_make(files, username)
    place = paths.upload(username).child(name)
    files.make_directory(place)
    for file, data in {**content, "COMPLETE": b""}.items():
        files.write(place.child(file), data)
