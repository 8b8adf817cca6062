"""The portal reads the connection log of a real host over SFTP, as its service account."""

from pathlib import Path

import pytest
from django.utils import timezone

from hosts import signins, vault
from hosts.connect import files_for
from hosts.core.events import Event, Kind, event_line
from hosts.models import Host, SignIn
from tests.hosts.clients import sftp

from .host import OpensshHost
from .journaling import Journaled


@pytest.fixture
def row(openssh_host: OpensshHost, db: None) -> Host:
    """The host as the portal knows it."""
    sealed = vault.sealed(openssh_host.portal_key.read_bytes()).decode("ascii")
    return Host.objects.create(
        name="upload-9",
        kind=Host.Kind.OPENSSH,
        address="127.0.0.1",
        port=openssh_host.port,
        host_key=openssh_host.host_key,
        client_key_sealed=sealed,
    )


def _collect_all(row: Host) -> None:
    while signins.collect(row.pk):
        pass


def test_a_sign_in_on_the_host_is_a_row_of_the_portals(row: Host, shipped: Journaled, ours: str, keys: Path) -> None:
    assert sftp(shipped.door(ours, keys / "ours"), "pwd").code == 0
    assert sftp(shipped.door(ours, keys / "stranger"), "pwd").code != 0
    events = shipped.wait(ours, lambda found: len(found) == 2)
    _collect_all(row)
    rows = SignIn.objects.filter(username=ours).order_by("at")
    assert [(one.accepted, one.reason, one.mark) for one in rows] == [
        (True, "", events[0].mark),
        (False, "unknown-key", events[1].mark),
    ]
    assert signins.collect(row.pk) == 0


def test_reading_on_in_a_long_log_fetches_little_more_than_what_is_new(
    row: Host, shipped: Journaled, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped.ship_no_more()
    event = Event(Kind.REFUSED, timezone.now(), ours, "192.0.2.7", 22, "", "SHA256:" + "a" * 43, "unknown-key")
    log = shipped.host.root / "log/connections.jsonl"
    with log.open("ab") as file:
        file.write(event_line(event) * 5000)
    _collect_all(row)
    with log.open("ab") as file:
        file.write(event_line(event) * 3)
    fetched: list[int] = []
    plain = type(files_for(row)).open_read

    def counting(files: object, path: object) -> object:
        file = plain(files, path)
        ranged = file.raw._ranged
        file.raw._ranged = lambda offset, length: (found := ranged(offset, length), fetched.append(len(found)))[0]
        return file

    monkeypatch.setattr(type(files_for(row)), "open_read", counting)
    assert signins.collect(row.pk) == 3
    assert sum(fetched) < 10_000 < log.stat().st_size
