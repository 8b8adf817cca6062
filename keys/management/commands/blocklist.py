"""`manage.py blocklist`: whether the list of keys whose private half is known is there, and how to get it."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from keys.blocklist import NAMES_NAME, RECORDS_NAME, BlocklistState, blocklist_state

_HOW = """\
The list is not part of this program. To get it, on any machine that reaches the internet:
  pip install badkeys && badkeys --update-bl
That writes two files, {records} and {names}, to the directory ~/.cache/badkeys (or $XDG_CACHE_HOME/badkeys).
Copy both to this machine, into the directory
  {directory}
or into another one that the setting BADKEYS_BLOCKLIST_DIR names. No restart is needed. Get it again now and then."""


class Command(BaseCommand):
    """Without a list, all other checks for weak keys are made."""

    help = "Say whether badkeys' blocklist of known keys is there, how many keys it has, and how to get it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """`--check` is for monitoring."""
        parser.add_argument("--check", action="store_true", help="exit with status 1 if there is no list to be used")

    def handle(self, *args: Any, **options: Any) -> None:
        """One sentence if all is well; else also how to mend it."""
        state = blocklist_state()
        usable = state.is_there and not state.problem
        self.stdout.write(_sentence(state))
        if not usable:
            directory = settings.BADKEYS_BLOCKLIST_DIR
            self.stdout.write(_HOW.format(records=RECORDS_NAME, names=NAMES_NAME, directory=directory))
        if options["check"] and not usable:
            sys.exit(1)


def _sentence(state: BlocklistState) -> str:
    if not state.is_there:
        return "There is no blocklist: published keys, such as Debian's of 2008, are not recognised."
    if state.problem:
        return f"The blocklist cannot be used. {state.problem}"
    made = f", made on {state.made.isoformat()}" if state.made else ""
    return f"The blocklist is there: {state.records:,} keys{made}."
