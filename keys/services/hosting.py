"""What ops want of SFTP hosts, written down with who wanted it: a new one, another address, keys, one removed."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from hosts.models import Host
from hosts.services import host_client_key_make, host_forget, host_key_confirm

from ..models import KeyFile
from ..sets import By
from .guards import ReasonMissing

# Until an answer takes it away: nobody knows yet whether the right machine is back.
NOT_TRIED_YET = "It may be tried again, but nothing was tried yet. Try to connect now."


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
def host_move(host: Host, address: str, port: int, username: str, *, by: By) -> None:
    """Another address of an OpenSSH host, or another account of the portal's own there.

    Its confirmed key stays: the machine there must have the same.
    """
    host.address, host.port, host.username, host.tries, host.next_try = address, port, username, 0, None
    host.accounts_digest = ""  # another machine may stand there, with another's accounts
    host.save(update_fields=["address", "port", "username", "tries", "next_try", "accounts_digest"])
    _doubt(host)
    _audit("host address set", host, by)


@transaction.atomic
def host_confirm(host: Host, fingerprint: str, *, by: By) -> None:
    """Takes the key that the host showed for its own. Raises what `hosts.services.host_key_confirm` raises."""
    before = host.fingerprint
    host_key_confirm(host, fingerprint)
    if host.fingerprint != before:
        _doubt(host)
    _audit("host key confirmed", host, by, before=before)


def _doubt(host: Host) -> None:
    """Of another machine nothing is known before it was looked at: neither homes nor which keys are there."""
    files = KeyFile.objects.filter(account__host=host)
    files.update(has_home=False, is_doubted=True)
    files.filter(state=KeyFile.State.ON_HOST).update(state=KeyFile.State.WAITING, wanted=timezone.now())


@transaction.atomic
def host_take_new(host: Host, *, by: By) -> None:
    """New districts go to this host from now on, if nobody says otherwise; as soon as it is ready."""
    Host.every.filter(takes_new=True).exclude(pk=host.pk).update(takes_new=False)
    Host.objects.filter(pk=host.pk).update(takes_new=True)
    _audit("new districts sent to host", host, by)


@transaction.atomic
def host_restart(host: Host, *, by: By) -> None:
    """Lets a stopped host be tried again with the key that was confirmed before; any other key stops it again.

    Raises NotStopped.
    """
    stopped = Host.objects.filter(pk=host.pk, state=Host.State.STOPPED).exclude(host_key="")
    told = {"reason": NOT_TRIED_YET, "tries": 0, "next_try": None, "offered_key": "", "offered_at": None}
    if not stopped.update(state=Host.State.READY, **told):
        raise NotStopped
    host.refresh_from_db()
    _audit("stopped host tried again", host, by)


@transaction.atomic
def host_portal_key_renew(host: Host, *, by: By) -> None:
    """Makes the portal a new key for a host in place of its old one: nothing is brought there until it is installed.

    Raises ReasonMissing.
    """
    if not by.reason.strip():
        raise ReasonMissing
    host_client_key_make(host)
    _audit("portal key for host made", host, by)


@transaction.atomic
def host_remove(host: Host, *, by: By) -> None:
    """Takes a host without accounts out of the portal. Raises HostInUse, ReasonMissing."""
    if not by.reason.strip():
        raise ReasonMissing
    host_forget(host)
    _audit("host removed", host, by)


def _audit(action: str, host: Host, by: By, *, before: str = "") -> None:
    details = {"address": f"{host.address}:{host.port}", "user name": host.username, "from": by.address}
    if by.reason:
        details["reason"] = by.reason
    if host.fingerprint:
        details["fingerprint"] = host.fingerprint
    if before and before != host.fingerprint:
        details["before"] = before
    audit.record(action, actor=by.actor, subject=host.name, details=details)
