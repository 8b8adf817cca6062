"""Which regular expressions a descriptor may hold: only those Python's `re` cannot be made to backtrack on for long.

The rule is simple and on the safe side. Groups are `(...)` and `(?:...)` only, a group may be followed by `?` and by
no other quantifier, and the ways in which the quantifiers can share out one value are at most `MOST_WAYS`. A value
longer than `REACH` characters never gets as far as the pattern.
"""

import re
from dataclasses import dataclass

LENGTH = 200
REACH = 255
MOST_WAYS = 1 << 20

TOKEN = re.compile(
    r"""(?P<escape>\\.) | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*+\]) | (?P<open>\((?:\?:)?+) | (?P<close>\))
      | (?P<repeat>(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})[?+]?) | (?P<bar>\|) | (?P<one>[^\\\[\](){}*+?|])""",
    re.VERBOSE | re.DOTALL,
)
SAFE_ESCAPES = frozenset("dDsSwW.-/\\()[]{}*+?|^$@_:,;#&' ntbB")


class UnsafePattern(ValueError):
    """Says in one sentence why a pattern is refused."""


@dataclass(slots=True)
class _Scan:
    ways: int = 1
    before: str = ""
    depth: int = 0

    def take(self, kind: str, text: str) -> None:
        match kind:
            case "repeat":
                self.repeat(text)
            case "bar":
                self.ways *= 2
            case "open":
                self.depth += 1
                if self.depth > 5:
                    raise UnsafePattern("groups are nested more than five deep")
            case "close":
                self.depth -= 1
            case "escape" if text[1] not in SAFE_ESCAPES:
                raise UnsafePattern(f"`{text}` is not among the escapes that may be used (no back-references)")
        self.before = kind
        if self.ways > MOST_WAYS:
            raise UnsafePattern("its repeats can share out one value in too many ways")

    def repeat(self, text: str) -> None:
        if self.before == "close" and text != "?":
            raise UnsafePattern("a group may be followed by `?` and by no other repeat")
        if self.before not in ("close", "escape", "set", "one"):
            raise UnsafePattern("a repeat has nothing to repeat")
        if text[-1] in "?+" and len(text) > 1:
            raise UnsafePattern("lazy and possessive repeats are not used here")
        self.ways *= _choices(text)


def safe_pattern(text: str) -> str:
    """The pattern itself if it may be used with `fullmatch`; raises UnsafePattern if not."""
    if len(text) > LENGTH:
        raise UnsafePattern(f"it is longer than {LENGTH} characters")
    scan, at = _Scan(), 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None or not token.lastgroup:
            raise UnsafePattern(f"`{text[at : at + 4]}` is not among what a pattern may hold")
        scan.take(token.lastgroup, token.group())
        at = token.end()
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise UnsafePattern(f"it does not compile: {error}") from None
    return text


def _choices(text: str) -> int:
    if text == "?":
        return 2
    if text in ("*", "+"):
        return REACH
    low, _, high = text[1:-1].partition(",")
    if "," not in text:
        return 1
    return max(1, (int(high) if high else REACH) - int(low) + 1)
