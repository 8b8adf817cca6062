"""How a host's machine is: its versions, free space and accounts, asked now and then and kept in the host's row."""

import logging
import shutil

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from . import helper
from .connect import files_for
from .core.errors import HostError
from .models import Host
from .provision import accounts_counted, helper_heard

logger = logging.getLogger(__name__)
# Seconds.
MOST_CLOCK_OFF = 60


def hosts_to_ask() -> list[int]:
    """The hosts that may be spoken to, without those that have a pause because they did not answer."""
    hosts = Host.objects.exclude(state=Host.State.STOPPED)
    hosts = hosts.filter(Q(kind=Host.Kind.EMBEDDED) | ~Q(host_key=""))
    hosts = hosts.filter(Q(next_try=None) | Q(next_try__lte=timezone.now()))
    return list(hosts.values_list("pk", flat=True))


def condition_ask(host_pk: int) -> None:
    """Asks one host, and notes what it told. One that does not answer is for the runs to note: nothing is kept."""
    host = Host.objects.get(pk=host_pk)
    if host.kind == Host.Kind.EMBEDDED:
        free = shutil.disk_usage(settings.SFTP_ROOT).free
        Host.objects.filter(pk=host_pk).update(asked=timezone.now(), free_bytes=free)
        return
    try:
        condition_note(host_pk, helper.about(files_for(host)))
    except HostError as error:
        logger.warning("Host %s did not tell how it is (%s)", host_pk, error.code)


def is_clock_off(told: helper.About) -> bool:
    """Whether a machine's clock is so far away from ours that what it tells of sign-ins is taken wrongly."""
    return abs(told.clock_off or 0) > MOST_CLOCK_OFF


def condition_note(host_pk: int, told: helper.About) -> None:
    """Keeps what a machine's helper told of it."""
    helper_heard(host_pk)
    if is_clock_off(told):
        logger.warning("The clock of host %s is %s s away from ours: let it keep time by NTP", host_pk, told.clock_off)
    accounts_counted(host_pk, told.accounts)
    Host.objects.filter(pk=host_pk).update(
        asked=timezone.now(),
        free_bytes=told.free_bytes,
        accounts_there=told.accounts,
        system=told.system,
        openssh=told.openssh,
        helper=told.helper,
        keys_group=told.keys_group,
    )
