"""Quotas: `setquota` for every account, where the file system has them on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from .registry import registry_read
from .settings import Host, Quota

BLOCKS_PER_MEBIBYTE = 1024


def quota_lines(uids: Iterable[int], quota: Quota) -> str:
    """What `setquota -b` reads: user, soft and hard limit of blocks of 1 KiB, soft and hard limit of files.

    Users by number: each name would be looked up in a file of 13,000 lines.
    """
    blocks = quota.mebibytes * BLOCKS_PER_MEBIBYTE
    return "".join(f"{uid} {blocks} {blocks} {quota.files} {quota.files}\n" for uid in sorted(uids))


def quotas_set(host: Host) -> str:
    """Set every active account's quota; a sentence of what was done. Raises CalledProcessError."""
    quota, uids = host.settings.quota, list(registry_read(host.places).active.values())
    if quota == Quota():
        return "No quota is set in helper.toml; nothing was done."
    program = shutil.which("setquota", path="/usr/sbin:/sbin")
    if program is None:
        return "setquota is not installed (package quota); nothing was done."
    mount = _mount_point(str(host.places.tree))
    subprocess.run([program, "-u", "-b", mount], input=quota_lines(uids, quota), text=True, check=True)
    return f"Quotas of {len(uids)} accounts were set on {mount}."


def _mount_point(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
