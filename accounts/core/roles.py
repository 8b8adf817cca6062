"""Who may do what, as a table: a role has, for each tool, some of the rights read, write, add and delete.

The four rights per tool follow the RWAD tool rights of the systems this portal replaces (domain.md B4, IC9).
"""

from collections.abc import Mapping
from enum import Enum, StrEnum


class Tool(StrEnum):
    """A place in the portal that rights are given for."""

    TECHNICAL_SETTINGS = "technical settings"
    UPLOADS = "uploads"
    FILE_SETTINGS = "file settings"
    TRIALS = "check before sending"
    DOWNLOADS = "downloads"
    INGEST_HISTORY = "ingest history"
    KEYS = "keys"
    PROPAGATION = "propagation"
    DISTRICTS = "districts"
    SIGN_IN = "sign-in"
    SECOND_FACTORS = "second factors"
    OUTBOX = "outbox"
    AUDIT_LOG = "audit log"


class Right(Enum):
    """What may be done with a tool; the value is its letter in the table."""

    READ = "R"
    WRITE = "W"
    ADD = "A"
    DELETE = "D"


class Role(StrEnum):
    """A person's part: the first two belong to one district each time they are given, the others to the vendor."""

    DISTRICT_ADMINISTRATOR = "district administrator"
    DISTRICT_VIEWER = "district viewer"
    SUPPORT = "support"
    OPS = "ops"
    SYSTEM_ADMINISTRATOR = "system administrator"


DISTRICT_ROLES = (Role.DISTRICT_ADMINISTRATOR, Role.DISTRICT_VIEWER)
STAFF_ROLES = (Role.SUPPORT, Role.OPS, Role.SYSTEM_ADMINISTRATOR)

RIGHTS: Mapping[Role, Mapping[Tool, str]] = {
    Role.DISTRICT_ADMINISTRATOR: {
        Tool.TECHNICAL_SETTINGS: "RWAD",
        # Adding is answering what staff ask about a held night.
        Tool.UPLOADS: "RA",
        Tool.FILE_SETTINGS: "RW",
        Tool.TRIALS: "RAD",
        # Writing is fetching a file in the browser, which is written down.
        Tool.DOWNLOADS: "RW",
        Tool.SIGN_IN: "RW",
    },
    Role.DISTRICT_VIEWER: {
        Tool.TECHNICAL_SETTINGS: "R",
        Tool.UPLOADS: "R",
        Tool.FILE_SETTINGS: "R",
        Tool.TRIALS: "R",
        Tool.DOWNLOADS: "R",
        Tool.SIGN_IN: "R",
    },
    Role.SUPPORT: {
        Tool.TECHNICAL_SETTINGS: "RAD",
        Tool.UPLOADS: "RW",
        Tool.DOWNLOADS: "R",
        Tool.FILE_SETTINGS: "RW",
        Tool.INGEST_HISTORY: "RW",
        Tool.KEYS: "RW",
        Tool.DISTRICTS: "R",
        Tool.SIGN_IN: "R",
        # Adding is asking that a lost second factor is taken off, writing is deciding: never the same person's.
        Tool.SECOND_FACTORS: "RA",
    },
    Role.OPS: {
        Tool.TECHNICAL_SETTINGS: "RAD",
        Tool.UPLOADS: "R",
        Tool.DOWNLOADS: "R",
        Tool.FILE_SETTINGS: "R",
        Tool.INGEST_HISTORY: "R",
        Tool.KEYS: "R",
        Tool.PROPAGATION: "RW",
        Tool.DISTRICTS: "R",
        Tool.SIGN_IN: "R",
        Tool.SECOND_FACTORS: "RWA",
    },
    Role.SYSTEM_ADMINISTRATOR: {
        Tool.TECHNICAL_SETTINGS: "RAD",
        Tool.UPLOADS: "RW",
        Tool.DOWNLOADS: "R",
        Tool.FILE_SETTINGS: "RW",
        Tool.INGEST_HISTORY: "RW",
        Tool.KEYS: "RW",
        Tool.PROPAGATION: "RW",
        Tool.DISTRICTS: "RWAD",
        Tool.SIGN_IN: "RW",
        Tool.SECOND_FACTORS: "RWA",
        Tool.OUTBOX: "R",
        Tool.AUDIT_LOG: "R",
    },
}


def may(role: Role, tool: Tool, right: Right) -> bool:
    """Whether a person in `role` has `right` on `tool`; what the table does not say is not allowed."""
    return right.value in RIGHTS.get(role, {}).get(tool, "")
