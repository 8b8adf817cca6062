"""Brings key files to their hosts from the command line, or shows what that would do."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import SftpAccount
from hosts.core.errors import HostError
from hosts.core.paths import shown
from hosts.models import Host

from ... import propagation
from ...models import HostRun, PropagationRun
from ...preview import Preview, previews
from ...services import run_want_by_command

_AHEAD = {
    "stranger": "belongs to no account and would be removed.",
    "unsound": "would be replaced: its owner, its group or its permissions are not right.",
    "left": "is no key file and would be left there.",
    "not-readable": "belongs to no account, cannot be read by the portal, and would be left there.",
}


class Command(BaseCommand):
    """Exit status 1 if anything failed or waits for a decision."""

    help = (
        "Brings every account's key file to its host, and checks that it is there. Nothing is written with --preview."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", help="only this host, by its name")
        parser.add_argument("--account", help="only this account, by its SFTP user name")
        parser.add_argument("--preview", action="store_true", help="write nothing; print a unified diff per account")
        parser.add_argument("--thorough", action="store_true", help="read every file, also where the listing is right")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *, host: str | None, account: str | None, **options: Any) -> None:
        hosts = self._hosts(host, account)
        if options["preview"]:
            is_right = self._preview(hosts, account, as_json=options["json"])
        elif account:
            is_right = self._push_account(account, as_json=options["json"])
        else:
            is_right = self._push(hosts, thorough=options["thorough"], as_json=options["json"])
        if not is_right:
            sys.exit(1)

    def _hosts(self, host: str | None, account: str | None) -> list[Host]:
        hosts = Host.objects.filter(accounts__isnull=False).distinct().order_by("name")
        if account is not None:
            if not SftpAccount.objects.filter(username=account).exists():
                raise CommandError(f"There is no SFTP account “{account}”. Give its user name, the district's domain.")
            hosts = hosts.filter(accounts__username=account)
        if host is not None:
            hosts = hosts.filter(name=host)
        found = list(hosts)
        if not found:
            raise CommandError("There is no such host with accounts. The page Propagation lists the hosts.")
        return found

    def _preview(self, hosts: list[Host], account: str | None, *, as_json: bool) -> bool:
        is_right = True
        for host in hosts:
            try:
                for preview in previews(host, account):
                    is_right &= not preview.code
                    self._preview_show(host, preview, as_json=as_json)
                if account is None:
                    is_right &= self._outlook_show(host, as_json=as_json)
            except HostError as error:
                is_right = False
                told = {"host": host.name, "state": "failed", "code": error.code, "reason": error.message}
                if as_json:
                    self.stdout.write(json.dumps(told))
                else:
                    self.stderr.write(f"{host.name}: {error.message} ({error.code})")
        return is_right

    def _outlook_show(self, host: Host, *, as_json: bool) -> bool:
        """What a run would do besides; False if it would stop."""
        ahead = propagation.outlook(host)
        found = {"stranger": ahead.strangers, "unsound": ahead.unsound, "left": ahead.odd, "not-readable": ahead.shut}
        for state, names in found.items():
            for name in names:
                told = {"host": host.name, "name": shown(name), "state": state}
                self.stdout.write(json.dumps(told) if as_json else f"{host.name}: {shown(name)} {_AHEAD[state]}")
        if ahead.would_stop:
            told = {"host": host.name, "state": "would-stop", "unasked": str(ahead.unasked)}
            plain = (
                f"{host.name}: the run would stop and ask: {ahead.unasked} keys would go that nobody asked to remove."
            )
            self.stdout.write(json.dumps(told) if as_json else plain)
        return not ahead.would_stop

    def _preview_show(self, host: Host, preview: Preview, *, as_json: bool) -> None:
        if as_json:
            state = "failed" if preview.code else "differs" if preview.diff else "right"
            told = {"host": host.name, "account": preview.username, "state": state}
            told |= {"diff": preview.diff, "code": preview.code, "reason": preview.reason}
            self.stdout.write(json.dumps(told))
        elif preview.code:
            self.stderr.write(f"{host.name}: {preview.username}: {preview.reason} ({preview.code})")
        if preview.diff and not as_json:
            self.stdout.write(preview.diff)

    def _push_account(self, account: str, *, as_json: bool) -> bool:
        run = propagation.push_by_command(SftpAccount.objects.get(username=account))
        if run is None:
            raise CommandError("Another worker is at this account just now. Try again in a moment.")
        return self._show(run, as_json=as_json)

    def _push(self, hosts: list[Host], *, thorough: bool, as_json: bool) -> bool:
        run = run_want_by_command(hosts, thorough=thorough)
        propagation.run_do(run.pk)
        run.refresh_from_db()
        return self._show(run, as_json=as_json)

    def _show(self, run: PropagationRun, *, as_json: bool) -> bool:
        for part in run.hosts.select_related("host"):
            counts = {name: getattr(part, name) for name in ("total", *propagation.COUNTERS)}
            told = {"host": part.host.name, "state": part.state, **counts, "code": part.code, "reason": part.reason}
            self.stdout.write(json.dumps(told) if as_json else _part_line(part, counts))
        for failure in run.failures.select_related("account__host"):
            told = {"host": failure.account.host.name, "account": failure.account.username}
            told |= {"state": "failed", "code": failure.code, "reason": failure.reason}
            plain = f"{told['host']}: {told['account']}: {failure.reason} ({failure.code})"
            self.stdout.write(json.dumps(told) if as_json else plain)
        ended_well = not run.hosts.exclude(state=HostRun.State.DONE).exists()
        return ended_well and not run.failed and not run.held


def _part_line(part: HostRun, counts: dict[str, int]) -> str:
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name in ("total", "written"))
    why = f" {part.reason} ({part.code})" if part.code else ""
    return f"{part.host.name}: {part.get_state_display().lower()}: {told}.{why}"
