"""What people want of keys, written down: one transaction each, a nudge on commit. `propagation` does it."""

from .found import NotKept, OnlyTheDistrict, found_key_adopt, found_line_dismiss
from .guards import KeyElsewhere, ReasonMissing, is_staff, refusal, today_in
from .hosting import HostNameTaken, NotStopped, host_add, host_confirm, host_move, host_restart
from .openings import ShutOut, opening_without, shut_out
from .running import (
    HOURLY_CHOICES,
    NothingToSettle,
    hourly_set,
    older_set_keep,
    propagation_want,
    run_want,
    run_want_by_command,
    unasked_allow,
)
from .saving import Difference, PasteRefused, StaleSet, keys_read, keys_save
from .sharing import AlreadyDecided, reopened_keys_check, shared_key_decide
from .single import (
    RETIRE_CHOICES,
    Edited,
    FieldsRefused,
    KeyGone,
    OneKeyWanted,
    account_networks_set,
    key_edit,
    key_lost,
    key_remove,
    key_replace,
)

__all__ = [
    "HOURLY_CHOICES",
    "RETIRE_CHOICES",
    "AlreadyDecided",
    "Difference",
    "Edited",
    "FieldsRefused",
    "HostNameTaken",
    "KeyElsewhere",
    "KeyGone",
    "NotKept",
    "NotStopped",
    "NothingToSettle",
    "OneKeyWanted",
    "OnlyTheDistrict",
    "PasteRefused",
    "ReasonMissing",
    "ShutOut",
    "StaleSet",
    "account_networks_set",
    "found_key_adopt",
    "found_line_dismiss",
    "host_add",
    "host_confirm",
    "host_move",
    "host_restart",
    "hourly_set",
    "is_staff",
    "key_edit",
    "key_lost",
    "key_remove",
    "key_replace",
    "keys_read",
    "keys_save",
    "older_set_keep",
    "opening_without",
    "propagation_want",
    "refusal",
    "reopened_keys_check",
    "run_want",
    "run_want_by_command",
    "shared_key_decide",
    "shut_out",
    "today_in",
    "unasked_allow",
]
