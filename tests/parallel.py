"""How the tests are shared out among the processes of pytest-xdist, and what comes back from them."""

from typing import Any

import pytest

# The stacks whose servers were started, in this process or (in the one that shares out) in any.
STACKS_RAN: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One file's tests stay in one process, a stack's flow tests too: what they start is started once.

    Flow tests come first: they are the longest, and what is long should not be left for the end.
    """
    items.sort(key=lambda item: "/flows/" not in item.nodeid)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    file = item.nodeid.partition("::")[0]
    stack = getattr(item, "callspec", None) and item.callspec.params.get("stack")  # type: ignore[attr-defined]
    if not stack:
        return file
    # Those that start portals of their own gain nothing from sharing one.
    alone = next((name for name in ("kills", "runner") if name in file), "shared")
    return f"{stack}, {alone}"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The process that shares out hears what the others ran."""
    STACKS_RAN.update(getattr(node, "workeroutput", {}).get("stacks", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist tells what it ran."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["stacks"] = sorted(STACKS_RAN)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which stacks were started for real."""
    if STACKS_RAN:
        terminalreporter.write_line(f"Flow tests ran on: {', '.join(sorted(STACKS_RAN))}")
