"""What ops want of SFTP hosts, written down with who wanted it: a new one, another address, its key confirmed."""

from django.db import IntegrityError, transaction

from accounts import audit
from hosts.models import Host
from hosts.services import host_client_key_make, host_key_confirm

from ..sets import By


class HostNameTaken(Exception):
    """Another host has this name. Nothing was stored."""


class NotStopped(Exception):
    """The host is not stopped, or has no confirmed key to go on with. Nothing was changed."""


def host_add(name: str, address: str, port: int, *, by: By) -> Host:
    """A new OpenSSH host with a key pair for the portal. Nothing is sent to it before its host key is confirmed.

    Raises HostNameTaken.
    """
    try:
        with transaction.atomic():
            told = {"name": name, "address": address, "port": port}
            host = Host.objects.create(**told, kind=Host.Kind.OPENSSH, state=Host.State.NEW)
            host_client_key_make(host)
            _audit("host added", host, by)
    except IntegrityError as error:
        raise HostNameTaken from error
    return host


@transaction.atomic
def host_move(host: Host, address: str, port: int, *, by: By) -> None:
    """Another address for an OpenSSH host. Its confirmed key stays: the machine there must have the same."""
    host.address, host.port, host.tries, host.next_try = address, port, 0, None
    host.save(update_fields=["address", "port", "tries", "next_try"])
    _audit("host address set", host, by)


@transaction.atomic
def host_confirm(host: Host, fingerprint: str, *, by: By) -> None:
    """Takes the key that the host showed for its own. Raises what `hosts.services.host_key_confirm` raises."""
    before = host.fingerprint
    host_key_confirm(host, fingerprint)
    _audit("host key confirmed", host, by, before=before)


@transaction.atomic
def host_restart(host: Host, *, by: By) -> None:
    """Lets a stopped host be tried again with the key that was confirmed before; any other key stops it again.

    Raises NotStopped.
    """
    stopped = Host.objects.filter(pk=host.pk, state=Host.State.STOPPED).exclude(host_key="")
    told = {"reason": "", "tries": 0, "next_try": None, "offered_key": "", "offered_at": None}
    if not stopped.update(state=Host.State.READY, **told):
        raise NotStopped
    host.refresh_from_db()
    _audit("stopped host tried again", host, by)


def _audit(action: str, host: Host, by: By, *, before: str = "") -> None:
    details = {"address": f"{host.address}:{host.port}", "from": by.address}
    if host.fingerprint:
        details["fingerprint"] = host.fingerprint
    if before and before != host.fingerprint:
        details["before"] = before
    audit.record(action, actor=by.actor, subject=host.name, details=details)
