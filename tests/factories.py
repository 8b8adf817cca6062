"""Invented districts, people and what belongs to them."""

import factory

from accounts import services
from accounts.core.roles import Role
from accounts.models import District, Membership, User
from hosts.models import Host
from ingest.models import Epoch, EpochFile

PASSWORD = "five-odd-words-for-tests"


class HostFactory(factory.django.DjangoModelFactory):
    """The embedded host."""

    class Meta:
        model = Host
        django_get_or_create = ("name",)

    name = "upload-1"
    address = "localhost"
    port = 2222


class DistrictFactory(factory.Factory):
    """A district opened as staff would open it, so with its SFTP account and key file."""

    class Meta:
        model = District

    name = factory.Sequence(lambda n: f"Cedar Creek Schools {n}")
    domain = factory.Sequence(lambda n: f"cedarcreek{n}.k12.oh.us")
    time_zone = "America/New_York"

    @classmethod
    def _create(cls, model_class: type[District], *args: object, **told: str) -> District:
        HostFactory()
        return services.district_open(**told, actor=None)


class PersonFactory(factory.Factory):
    """A person who can sign in with PASSWORD."""

    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"person{n}@district.example")
    name = factory.Sequence(lambda n: f"Person {n}")
    staff_role = None
    password = PASSWORD

    @classmethod
    def _create(cls, model_class: type[User], *args: object, **told: object) -> User:
        return services.person_make(**told)


class StaffFactory(PersonFactory):
    """One of the vendor's people."""

    email = factory.Sequence(lambda n: f"staff{n}@vendor.example")
    staff_role = Role.SUPPORT


class MembershipFactory(factory.django.DjangoModelFactory):
    """A person's role in a district."""

    class Meta:
        model = Membership

    user = factory.SubFactory(PersonFactory)
    district = factory.SubFactory(DistrictFactory)
    role = Role.DISTRICT_ADMINISTRATOR


class EpochFactory(factory.django.DjangoModelFactory):
    """An epoch that was seen in a district's /upload/ and is still arriving."""

    class Meta:
        model = Epoch

    district = factory.SubFactory(DistrictFactory)
    account = factory.LazyAttribute(lambda epoch: epoch.district.sftp_account)
    name = factory.Sequence(lambda n: f"20261101-{n % 1_000_000:06}")


class FileFactory(factory.django.DjangoModelFactory):
    """One copied file of an epoch, with counts as after a load."""

    class Meta:
        model = EpochFile

    epoch = factory.SubFactory(EpochFactory)
    position = 0
    name = "students.csv"
    size = 100
    sha256 = "0" * 64
    table = "students"
    added = 3
