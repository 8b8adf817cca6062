"""From a host's row to its files."""

from django.conf import settings

from .files import HostFiles
from .local import LocalFiles
from .models import Host


def files_for(host: Host) -> HostFiles:
    """The files of a host. Every host is the embedded one today; it shares the portal's disk."""
    return LocalFiles(settings.SFTP_ROOT)
