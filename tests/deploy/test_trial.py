"""“Try to connect” on the page of a host, against a whole OpenSSH host."""

import shutil

import pytest

from hosts import vault
from hosts.connect import fingerprint
from hosts.keyplace import KeysShut
from hosts.models import Host
from keys.propagation import outlook
from keys.trial import Step, host_try

from .host import SERVICE, OpensshHost

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(openssh_host: OpensshHost) -> Host:
    return Host.objects.create(
        name="whole",
        kind=Host.Kind.OPENSSH,
        address="127.0.0.1",
        port=openssh_host.port,
        username=SERVICE,
        host_key=openssh_host.host_key,
        fingerprint=fingerprint(openssh_host.host_key),
        client_key_sealed=vault.sealed(openssh_host.portal_key.read_bytes()).decode("ascii"),
        tries=3,
        reason="It was away.",
    )


def test_a_host_that_is_set_up_works_at_every_step_and_says_what_it_is(host: Host) -> None:
    trial = host_try(host)
    assert (trial.failed, trial.reason, trial.done) == (None, "", tuple(Step))
    assert trial.about is not None
    assert "OpenSSH" in trial.about.openssh
    assert (trial.about.clock_off, trial.clock) == (0, "")
    host.refresh_from_db()
    assert (host.tries, host.reason) == (0, "")
    assert host.last_ok is not None


def test_a_try_waits_for_the_helper_to_make_the_directory_of_keys(openssh_host: OpensshHost, host: Host) -> None:
    shutil.rmtree(openssh_host.root / "keys")
    trial = host_try(host)
    assert (trial.failed, trial.reason) == (None, "")
    assert (openssh_host.root / "keys").is_dir()


def test_a_preview_without_the_directory_of_keys_writes_nothing(openssh_host: OpensshHost, host: Host) -> None:
    openssh_host.helper_stop()
    try:
        shutil.rmtree(openssh_host.root / "keys")
        before = [path.name for path in (openssh_host.root / "requests").iterdir()]
        with pytest.raises(KeysShut):
            outlook(host)
        assert [path.name for path in (openssh_host.root / "requests").iterdir()] == before
    finally:
        openssh_host.helper_start()
