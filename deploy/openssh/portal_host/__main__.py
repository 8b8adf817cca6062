"""portal-host: the helper's command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .operations import about
from .quotas import quotas_set
from .registry import allowance_give
from .requests import requests_serve
from .serving import alone, serve
from .settings import BadSettings, Host, Places, host_of


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="portal-host", description="The portal's helper on an OpenSSH host.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the host's files lie; for tests")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer requests and tell of changes until asked to end (the service does this)")
    commands.add_parser("once", help="answer the requests that wait now, and end; not beside the service")
    allow = commands.add_parser("allow-drop", help="let the next list of accounts drop this many, within an hour")
    allow.add_argument("count", type=int)
    commands.add_parser("about", help="what this host is")
    commands.add_parser("quotas", help="set the quotas of helper.toml for all accounts")
    return parser


def _once(host: Host, _: argparse.Namespace) -> None:
    # What can be read at any time: it does not wait for the service to end.
    with open(os.devnull) as now, alone(host, now.fileno()) as is_alone:
        if not is_alone:
            raise SystemExit("The service sftp-portal-helper is running and answers the requests. Stop it first.")
        print(f"{requests_serve(host)} requests answered")


def _allow_drop(host: Host, given: argparse.Namespace) -> None:
    if given.count < 1:
        raise BadSettings("Say how many accounts may be dropped: a number from 1 up.")
    allowance_give(host.places, given.count)
    print(f"For an hour, one list may drop up to {given.count} accounts.")


COMMANDS: dict[str, Callable[[Host, argparse.Namespace], None]] = {
    "serve": lambda host, _: serve(host),
    "once": _once,
    "allow-drop": _allow_drop,
    "about": lambda host, _: print(json.dumps(about(host), indent=2)),
    "quotas": lambda host, _: print(quotas_set(host)),
}


def main(words: Sequence[str] | None = None) -> int:
    """Exit status 2 when the host is not set up."""
    given = _parser().parse_args(words)
    if os.geteuid() != 0:
        print("portal-host must be run by root.", file=sys.stderr)
        return 2
    os.umask(0o077)
    try:
        COMMANDS[given.command](host_of(Places(given.root)), given)
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
