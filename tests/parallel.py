"""How the tests are shared out among the processes of pytest-xdist, and what comes back from them."""

from typing import Any

import pytest

# The stacks whose servers were started, in this process or (in the one that shares out) in any.
STACKS_RAN: set[str] = set()
# What tests want said at the end.
TOLD: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Flow tests come first: they are the longest, and what is long should not be left for the end."""
    items.sort(key=lambda item: "/flows/" not in item.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The process that shares out hears what the others ran."""
    STACKS_RAN.update(getattr(node, "workeroutput", {}).get("stacks", ()))
    TOLD.extend(getattr(node, "workeroutput", {}).get("told", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist tells what it ran."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["stacks"] = sorted(STACKS_RAN)
        session.config.workeroutput["told"] = TOLD


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which stacks were started for real, and what else is to be seen at the end."""
    for text in TOLD:
        terminalreporter.write_line(text)
    if STACKS_RAN:
        terminalreporter.write_line(f"Flow tests ran on: {', '.join(sorted(STACKS_RAN))}")
