"""Looks at a host elsewhere: whom it names is looked at, others by the clock and in turn, and nobody is forgotten."""

import json
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from accounts import services as district_services
from accounts.models import District, SftpAccount, User
from hosts import changes, provision
from hosts.core import paths
from hosts.core.errors import HostDown, HostError, HostFault, NotSafe
from hosts.helper import HelperSilent
from hosts.local import LocalFiles
from hosts.models import Host, UploadsSeen
from ingest import looking, rota, services
from ingest.models import Epoch
from tests.factories import DistrictFactory

from . import epochs
from .conftest import Clock
from .uploading import NEXT_NIGHT, NIGHT, Crash, home, process, put, use

pytestmark = pytest.mark.django_db
UNKNOWN = {"export.csv": b"col1,col2\r\n1,2\r\n"}


class Recorded:
    """The host's files on this disk; `asked` counts what is asked of them, `before` may object to it."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.ahead: list[list[str]] = []
        self.before: Callable[[str, tuple[Any, ...]], None] = lambda name, args: None
        self._files = LocalFiles(settings.SFTP_ROOT)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)

        def recorded(*args: Any) -> object:
            self.asked[name] += 1
            if name == "look_ahead":
                self.ahead.append(list(args[0]))
            self.before(name, args)
            return call(*args)

        return recorded

    def seen(self) -> set[str]:
        """Who was looked at since the last call."""
        names = {name for some in self.ahead for name in some}
        self.asked.clear()
        self.ahead.clear()
        return names


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    use(monkeypatch, made)
    return made


@pytest.fixture
def turn(clock: Clock) -> float:
    """How many seconds a turn takes; one has just begun."""
    length = settings.INGEST_ROTA_HOURS * 3600 / rota.TURNS
    clock.move(seconds=length - timezone.now().timestamp() % length + 1)
    return length


@pytest.fixture
def elsewhere(district: District, files: Recorded, turn: float) -> Host:
    """A host of its own with the district's account, looked at once."""
    host = Host.objects.create(name="elsewhere", kind="openssh", address="sftp.example", host_key="ssh-ed25519 AAAA")
    _move(district, host)
    begin()
    looking.look_at_host(host.pk)
    files.seen()
    return host


def _move(district: District, host: Host) -> None:
    SftpAccount.objects.filter(district=district).update(host=host)


def begin() -> None:
    """A new log of changes."""
    place = settings.SFTP_ROOT / "log"
    place.mkdir(exist_ok=True)
    (place / "changes.jsonl").write_text(json.dumps({"generation": secrets.token_hex(16)}) + "\n")


def tell(*names: str) -> None:
    """What the host's helper does when uploads changed."""
    with (settings.SFTP_ROOT / "log/changes.jsonl").open("a") as file:
        file.writelines(json.dumps({"at": "", "account": name}) + "\n" for name in names)


def another(host: Host, domain: str) -> District:
    made = DistrictFactory(domain=domain)
    _move(made, host)
    provision.home_make(LocalFiles(settings.SFTP_ROOT), paths.username(domain))
    return made


def many(host: Host, count: int) -> None:
    """Accounts that have no home on the host yet."""
    names = [f"many{number}.k12.oh.us" for number in range(count)]
    made = District.objects.bulk_create(District(name=name, slug=f"many-{name[4:-10]}", domain=name) for name in names)
    SftpAccount.objects.bulk_create(SftpAccount(district=one, host=host, username=one.domain) for one in made)


@pytest.mark.parametrize("count", [10, 300])
def test_a_quiet_look_opens_the_log_and_asks_nothing_else_however_many_accounts_there_are(
    elsewhere: Host, files: Recorded, count: int, django_assert_max_num_queries: Any
) -> None:
    many(elsewhere, count)
    with django_assert_max_num_queries(20):
        assert looking.look_at_host(elsewhere.pk) == []
    assert files.asked == {"open_read": 1}


def test_who_is_named_is_looked_at_and_nobody_else(elsewhere: Host, files: Recorded, district: District) -> None:
    another(elsewhere, "other.k12.oh.us")
    put(district, NIGHT, epochs.students(), complete=False)
    tell(district.domain, "unknown.k12.oh.us")
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == {district.domain}
    assert Epoch.objects.get().state == "arriving"


def test_an_upload_that_is_told_of_once_is_queued_by_the_clock(
    elsewhere: Host, files: Recorded, district: District, clock: Clock
) -> None:
    put(district, NIGHT, epochs.students())
    tell(district.domain)
    looking.look_at_host(elsewhere.pk)
    clock.move(seconds=settings.INGEST_QUIET_SECONDS)
    assert looking.look_at_host(elsewhere.pk) == [district.pk]
    files.seen()
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == set()
    process(district)
    assert Epoch.objects.get().state == "loaded"


def test_what_waits_for_its_district_or_for_staff_is_looked_at_when_something_changes(
    elsewhere: Host, files: Recorded, district: District, clock: Clock
) -> None:
    waiting = another(elsewhere, "waiting.k12.oh.us")
    put(district, NIGHT, epochs.students(), complete=False)
    put(waiting, NIGHT, UNKNOWN)
    tell(district.domain, waiting.domain)
    looking.look_at_host(elsewhere.pk)
    clock.move(minutes=2 * settings.INGEST_STRANGER_QUIET_MINUTES + 1)
    looking.look_at_host(elsewhere.pk)
    states = dict(Epoch.objects.values_list("district__domain", "state"))
    assert states == {district.domain: "arriving", waiting.domain: "waiting_staff"}
    looking.look_at_host(elsewhere.pk)
    UploadsSeen.objects.update(looked=timezone.now())
    files.seen()
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == set()
    services.epoch_hurry(Epoch.objects.get(district=waiting), actor=User.objects.get(email="support@vendor.example"))
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == {waiting.domain}


def test_everybody_has_a_turn_though_the_host_says_nothing(
    elsewhere: Host, files: Recorded, turn: float, clock: Clock
) -> None:
    many(elsewhere, rota.TURNS + 3)
    names = set(SftpAccount.objects.filter(host=elsewhere).values_list("username", flat=True))
    seen: Counter[str] = Counter()
    for _ in range(rota.TURNS):
        clock.move(seconds=turn)
        looking.look_at_host(elsewhere.pk)
        some = files.seen()
        assert len(some) <= 2
        seen.update(some)
    assert seen == dict.fromkeys(names, 1)
    clock.move(hours=settings.INGEST_ROTA_HOURS + 1)
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == names


@pytest.mark.parametrize("hours", [0, 1, 3, 1000])
def test_turns_that_were_missed_come_together(hours: int, settings: Any) -> None:
    now = timezone.now()
    missed = rota.turns_between(now - timedelta(hours=hours), now)
    assert len(missed) == min(rota.TURNS, hours * rota.TURNS // settings.INGEST_ROTA_HOURS)


def test_a_log_that_cannot_be_read_on_has_everybody_looked_at(
    elsewhere: Host, files: Recorded, district: District
) -> None:
    other = another(elsewhere, "other.k12.oh.us")
    begin()
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == {district.domain, other.domain}


def test_many_are_asked_for_together(elsewhere: Host, files: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    many(elsewhere, 25)
    monkeypatch.setattr(looking, "LOOKED_AT_ONCE", 10)
    begin()
    looking.look_at_host(elsewhere.pk)
    assert [len(some) for some in files.ahead] == [10, 10, 6]


@pytest.mark.parametrize("name", ["open_read", "look_ahead", "listing", "open_writes"])
def test_a_worker_that_is_killed_in_a_look_leaves_it_to_the_next(
    elsewhere: Host, files: Recorded, district: District, clock: Clock, name: str
) -> None:
    put(district, NIGHT, epochs.students(), complete=False)
    tell(district.domain)

    def kill(call: str, args: tuple[Any, ...]) -> None:
        if call == name:
            raise Crash

    files.before = kill
    with pytest.raises(Crash):
        looking.look_at_host(elsewhere.pk)
    files.before = lambda call, args: None
    looking.look_at_host(elsewhere.pk)
    assert district.domain in files.seen()
    assert Epoch.objects.get().state == "arriving"


@pytest.mark.parametrize("error", [HostDown, HelperSilent])
def test_a_host_that_does_not_answer_costs_one_try_and_has_ever_longer_pauses(
    elsewhere: Host, files: Recorded, district: District, clock: Clock, error: type[HostError]
) -> None:
    other = another(elsewhere, "other.k12.oh.us")
    put(district, NIGHT, epochs.students(), complete=False)
    tell(district.domain, other.domain)

    def refuse(name: str, args: tuple[Any, ...]) -> None:
        if name == "look_ahead":
            raise error("It does not answer.")

    files.before = refuse
    pauses = []
    for _ in range(8):
        looking.look_everywhere()
        assert files.asked == {"open_read": 1, "look_ahead": 1}
        files.asked.clear()
        looking.look_everywhere()
        assert not files.asked
        pause = UploadsSeen.objects.get().next_try - timezone.now()
        pauses.append(round(pause.total_seconds()))
        clock.move(seconds=pause.total_seconds() + 1)
    assert pauses == [15, 30, 60, 120, 240, 480, 600, 600]
    files.before = lambda name, args: None
    looking.look_everywhere()
    assert Epoch.objects.get().state == "arriving"
    assert (UploadsSeen.objects.get().tries, UploadsSeen.objects.get().next_try) == (0, None)


def test_a_host_that_is_away_keeps_no_other_host_waiting(elsewhere: Host, files: Recorded, district: District) -> None:
    here = another(Host.objects.get(kind="embedded"), "here.k12.oh.us")
    put(here, NIGHT, epochs.students(), complete=False)

    def refuse(name: str, args: tuple[Any, ...]) -> None:
        if name == "open_read" and args[0] == changes.LOG:
            raise HostDown("It does not answer.")

    files.before = refuse
    looking.look_everywhere()
    assert Epoch.objects.get().district == here


@pytest.mark.parametrize(("error", "again"), [(HostFault, True), (ValueError, True), (NotSafe, False)])
def test_one_accounts_trouble_is_its_own_and_it_is_looked_at_again_if_that_may_help(
    elsewhere: Host, files: Recorded, district: District, error: type[Exception], again: bool
) -> None:
    other = another(elsewhere, "other.k12.oh.us")
    put(other, NIGHT, epochs.students(), complete=False)
    tell(district.domain, other.domain)

    def refuse(name: str, args: tuple[Any, ...]) -> None:
        if name == "listing" and district.domain in args[0].parts:
            raise error("It is odd.")

    files.before = refuse
    looking.look_at_host(elsewhere.pk)
    assert Epoch.objects.get().district == other
    Epoch.objects.update(state="waiting_staff")
    files.seen()
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == ({district.domain} if again else set())
    files.before = lambda name, args: None
    looking.look_at_host(elsewhere.pk)
    files.seen()
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == set()


def test_what_came_while_a_district_was_suspended_is_taken_when_it_is_back(
    elsewhere: Host, files: Recorded, district: District
) -> None:
    district_services.district_state_set(district, District.State.SUSPENDED, reason="x", actor=None)
    put(district, NIGHT, epochs.students(), complete=False)
    tell(district.domain)
    for _ in range(2):
        looking.look_at_host(elsewhere.pk)
    assert files.seen() == set()
    district_services.district_state_set(district, District.State.ACTIVE, reason="x", actor=None)
    looking.look_at_host(elsewhere.pk)
    assert Epoch.objects.get().state == "arriving"


def test_what_was_told_under_a_name_that_was_given_up_is_looked_at_under_the_new_one(
    elsewhere: Host, files: Recorded, district: District
) -> None:
    tell(district.domain)
    district_services.district_rename(district, name="Renamed", domain="renamed.k12.oh.us", actor=None)
    looking.look_at_host(elsewhere.pk)
    assert files.seen() == {"renamed.k12.oh.us"}


def test_two_looks_at_a_host_are_not_under_way_together(elsewhere: Host, files: Recorded, district: District) -> None:
    put(district, NIGHT, epochs.students(), complete=False)
    put(district, NEXT_NIGHT, epochs.students(), complete=False)
    tell(district.domain)
    inner: list[list[int]] = []

    def look_too(name: str, args: tuple[Any, ...]) -> None:
        if name == "look_ahead":
            inner.append(looking.look_at_host(elsewhere.pk))

    files.before = look_too
    looking.look_at_host(elsewhere.pk)
    assert inner == [[]]
    assert Epoch.objects.count() == 2


@pytest.mark.parametrize("values", [{"state": "stopped"}, {"host_key": ""}])
def test_a_host_that_is_stopped_or_not_confirmed_is_not_asked(
    elsewhere: Host, files: Recorded, values: dict[str, str]
) -> None:
    Host.objects.filter(pk=elsewhere.pk).update(**values)
    looking.look_everywhere()
    assert not files.asked


def test_an_upload_that_is_taken_back_is_gone(elsewhere: Host, district: District) -> None:
    place = put(district, NIGHT, epochs.students(), complete=False)
    tell(district.domain)
    looking.look_at_host(elsewhere.pk)
    place.rename(home(district) / "taken-back")
    looking.look_at_host(elsewhere.pk)
    assert Epoch.objects.get().state == "gone"
