"""“Try to connect” on the page of a host, against a whole OpenSSH host."""

import pytest

from hosts import vault
from hosts.connect import fingerprint
from hosts.models import Host
from keys.trial import Step, host_try

from .host import SERVICE, OpensshHost

pytestmark = pytest.mark.django_db


def test_a_host_that_is_set_up_works_at_every_step_and_says_what_it_is(openssh_host: OpensshHost) -> None:
    host = Host.objects.create(
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
    trial = host_try(host)
    assert (trial.failed, trial.reason, trial.done) == (None, "", tuple(Step))
    assert trial.about is not None
    assert "OpenSSH" in trial.about.openssh
    host.refresh_from_db()
    assert (host.tries, host.reason) == (0, "")
    assert host.last_ok is not None
