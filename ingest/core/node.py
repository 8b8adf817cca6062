"""One value of a descriptor's JSON and its place in it, so that whatever is refused can be found."""

import re
from collections.abc import Iterator, Mapping

from ingest.core.errors import DescriptorError
from ingest.core.nearest import did_you_mean, nearest

OURS = "sftpPortal"


class Node:
    """One JSON value and its place, read by typed steps that each name the place when they fail."""

    __slots__ = ("place", "value")

    def __init__(self, value: object, place: str = "") -> None:
        self.value = value
        self.place = place

    def fail(self, code: str, message: str, hint: str = "") -> DescriptorError:
        return DescriptorError(code, self.place, message, hint)

    def members(self) -> Mapping[str, object]:
        if not isinstance(self.value, Mapping):
            raise self.fail("not-an-object", "an object is needed here")
        return self.value

    def only(self, allowed: set[str]) -> "Node":
        for key in self.members():
            if key not in allowed:
                hint = did_you_mean(nearest(str(key), allowed))
                raise self.at(str(key)).fail("unknown-key", "this key is not known here", hint)
        return self

    def at(self, key: str) -> "Node":
        step = key.replace("~", "~0").replace("/", "~1")
        return Node(self.members().get(key), f"{self.place}/{step}")

    def ours(self, allowed: set[str]) -> "Node":
        node = self.at(OURS)
        return Node({} if node.value is None else node.value, node.place).only(allowed)

    def has(self, key: str) -> bool:
        return self.members().get(key) is not None

    def each(self, key: str) -> "Iterator[Node]":
        node = self.at(key)
        if node.value is None:
            return
        if not isinstance(node.value, list):
            raise node.fail("not-a-list", "a list is needed here")
        for position, value in enumerate(node.value):
            yield Node(value, f"{node.place}/{position}")

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value or not self.value.isprintable():
            raise self.fail("not-a-text", "a text of printable characters is needed here")
        return self.value

    def word(self, key: str, default: str = "") -> str:
        return self.at(key).text() if self.has(key) else default

    def words(self, key: str) -> tuple[str, ...]:
        found = tuple(node.text() for node in self.each(key))
        if len(set(found)) != len(found):
            raise self.at(key).fail("twice", "the same text stands here twice")
        return found

    def flag(self, key: str) -> bool:
        node = self.at(key)
        if node.value is not None and not isinstance(node.value, bool):
            raise node.fail("not-a-flag", "true or false is needed here")
        return node.value is True

    def number(self, key: str) -> int | None:
        node = self.at(key)
        if node.value is None:
            return None
        if not isinstance(node.value, int) or isinstance(node.value, bool) or node.value < 0:
            raise node.fail("not-a-number", "a whole number is needed here")
        return node.value

    def matching(self, rule: re.Pattern[str], code: str, message: str) -> str:
        if not rule.fullmatch(self.text()):
            raise self.fail(code, message)
        return self.text()
