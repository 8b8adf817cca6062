"""Invented districts, people and what belongs to them."""

import base64
import hashlib

import factory
from django.utils import timezone

from accounts import services
from accounts.core.roles import Role
from accounts.models import District, Membership, User
from hosts.models import Host, SignIn
from ingest.models import Epoch, EpochFile
from keys.models import AccountKey

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


class KeyFactory(factory.django.DjangoModelFactory):
    """A stored key as an earlier portal may have taken it: of the text `line`, whatever is thought of it today."""

    class Meta:
        model = AccountKey

    class Params:
        line = "ssh-ed25519 AAAA"

    account = factory.LazyAttribute(lambda _: DistrictFactory().sftp_account)
    position = factory.LazyAttribute(lambda key: key.account.keys.count())
    algorithm = factory.LazyAttribute(lambda key: key.line.split(" ", 2)[0])
    blob = factory.LazyAttribute(lambda key: key.line.split(" ", 2)[1])
    comment = factory.LazyAttribute(lambda key: "".join(key.line.split(" ", 2)[2:]))

    @factory.lazy_attribute
    def fingerprint(self) -> str:
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class SignInFactory(factory.django.DjangoModelFactory):
    """A good sign-in, as the host's connection log told it."""

    class Meta:
        model = SignIn

    host = factory.SubFactory(HostFactory)
    at = factory.LazyFunction(timezone.now)
    accepted = True
    address = "198.51.100.7"
