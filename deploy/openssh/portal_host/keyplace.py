"""The directory of key files: the portal's to write, the key command's to read, and that stays so.

The portal cannot mend it itself, as it is not in the group that reads. What lies in it is the portal's affair.
"""

from __future__ import annotations

import os
import stat

from .places import Owned, directory_make, owned_of, root_directory
from .settings import Host

NAME = b"keys"
MODE = 0o2750  # each new file in it gets its group


def keys_mend(host: Host) -> bool:
    """Give the directory its owner, group and mode again, or make it if it is gone; whether anything was wrong."""
    owned = Owned(host.portal.uid, host.portal.keys_gid, MODE)
    with root_directory(host.places.tree) as tree:
        if _is_well(tree, owned):
            return False
        directory_make(tree, NAME, owned)
    return True


def _is_well(tree: int, owned: Owned) -> bool:
    try:
        status = os.lstat(NAME, dir_fd=tree)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and owned_of(status) == owned
