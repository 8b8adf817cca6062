"""What people want of hosts: a key of the portal's own for one, its host key confirmed, one removed."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from . import vault
from .connect import fingerprint
from .core.errors import HostError
from .models import Host


class NotTheOfferedKey(HostError):
    """The fingerprint is not of the key that the host showed last."""

    code = "not-the-offered-key"


class HostInUse(HostError):
    """Accounts stand on the host."""

    code = "host-in-use"


class HostKeyTaken(HostError):
    """Another host has this host key: they are one machine, or copies of one."""

    code = "host-key-taken"


def host_key_confirm(host: Host, shown_fingerprint: str) -> None:
    """Take the key that the host showed for its own, because a person has compared the fingerprint.

    Raises NotTheOfferedKey, HostKeyTaken; then nothing has changed.
    """
    with transaction.atomic():
        # All of them: two hosts that show one key, confirmed at one moment, must see each other.
        list(Host.objects.select_for_update().order_by("pk").values_list("pk"))
        row = Host.objects.get(pk=host.pk)
        if not row.offered_key or fingerprint(row.offered_key) != shown_fingerprint.strip():
            raise NotTheOfferedKey(
                "The host has shown another key than that, or none yet. Try to connect again, and compare once more."
            )
        # An embedded host that has not been started since it tells its whole key has a fingerprint only.
        same = Q(host_key=row.offered_key) | Q(fingerprint=shown_fingerprint.strip())
        other = Host.objects.filter(same).exclude(pk=row.pk).first()
        if other is not None:
            raise HostKeyTaken(
                f"The SFTP host “{other.name}” has the same host key. Give each machine a key of its own "
                "(ssh-keygen -A, after removing the copied ones)."
            )
        row.host_key, row.fingerprint, row.offered_key, row.offered_at = row.offered_key, shown_fingerprint, "", None
        row.state, row.reason, row.tries, row.next_try = Host.State.READY, "", 0, None
        # A machine that was set up anew has none of the accounts the old one was told of.
        row.accounts_digest = ""
        row.save()
    host.refresh_from_db()


def host_client_key_make(host: Host) -> str:
    """Make the portal's own key for a host, in place of any it had; returns the public line to install there."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    host.client_key_sealed = vault.sealed(private).decode("ascii")
    host.client_key_public = f"{public} sftp-portal"
    host.client_key_made = timezone.now()
    host.save(update_fields=["client_key_sealed", "client_key_public", "client_key_made"])
    return host.client_key_public


def host_forget(host: Host) -> None:
    """Remove a host without accounts: its row stays for what history tells, the portal's key for it does not.

    Raises HostInUse; then nothing has changed.
    """
    with transaction.atomic():
        row = Host.objects.select_for_update().get(pk=host.pk)
        if row.accounts.exists():
            raise HostInUse(f"Accounts stand on the SFTP host “{row.name}”. Move them first.")
        ending = f" (removed, {row.pk})"
        # Its name may be given again.
        row.name = row.name[: 60 - len(ending)] + ending
        row.state, row.reason, row.removed = Host.State.STOPPED, "It was removed.", timezone.now()
        row.host_key = row.offered_key = row.fingerprint = row.client_key_sealed = row.client_key_public = ""
        row.save()
