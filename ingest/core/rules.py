"""Every code a finding can carry, its usual severity, and whether a format may choose another."""

from dataclasses import dataclass

from ingest.core.findings import Severity

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


@dataclass(frozen=True, slots=True)
class Rule:
    """`severity` None: not reported unless a format asks for it. Only a `tunable` rule may be changed."""

    severity: Severity | None
    tunable: bool = True


FIXED = Rule(ERROR, tunable=False)

RULES: dict[str, Rule] = {
    # the epoch's name and its set of files
    "epoch-name": Rule(WARNING, tunable=False),
    "missing-file": FIXED,
    "file-twice": FIXED,
    "unknown-file": Rule(WARNING),
    "noise-file": Rule(NOTE),
    "late": Rule(WARNING, tunable=False),
    "unreadable": FIXED,
    "manifest-missing": FIXED,
    "manifest-value": FIXED,
    "manifest-mismatch": FIXED,
    "manifest-incomplete": Rule(WARNING),
    "manifest-unknown": Rule(WARNING),
    "manifest-mode": Rule(WARNING, tunable=False),
    "nothing-sent": Rule(NOTE, tunable=False),
    # what is in a folder, sent or to be sent
    "link": FIXED,
    "folder": FIXED,
    "not-a-file": FIXED,
    "second-name": FIXED,
    "odd-name": FIXED,
    "unfinished": FIXED,
    "complete-name": FIXED,
    "complete-not-empty": FIXED,
    "unrecognised": FIXED,
    # zips
    "zip-damaged": FIXED,
    "zip-too-many": FIXED,
    "zip-too-large": FIXED,
    "zip-bomb": FIXED,
    "zip-overlap": FIXED,
    "zip-duplicate": FIXED,
    "zip-name": FIXED,
    "zip-slip": FIXED,
    "zip-folder": FIXED,
    "zip-not-a-file": FIXED,
    "zip-encrypted": FIXED,
    "zip-method": FIXED,
    "zip-passed-over": Rule(NOTE, tunable=False),
    # text and lines
    "encoding": FIXED,
    "utf-16": Rule(WARNING),
    "windows-1252": Rule(WARNING, tunable=False),
    "nul": FIXED,
    "control-character": Rule(WARNING),
    "mixed-line-ends": Rule(NOTE),
    "line-too-long": FIXED,
    "quote-unclosed": FIXED,
    "quote-stray": FIXED,
    "line-break": Rule(None),
    "cut-off": FIXED,
    "row-short": FIXED,
    "row-long": FIXED,
    "trailing-commas": Rule(WARNING),
    "no-rows": FIXED,
    "no-rows-optional": Rule(WARNING, tunable=False),
    # the header
    "no-header": FIXED,
    "delimiter": FIXED,
    "header-glued": FIXED,
    "header-empty": FIXED,
    "header-trailing": Rule(WARNING),
    "header-duplicate": FIXED,
    "header-repeated": FIXED,
    "header-case": Rule(ERROR),
    "header-order": Rule(None),
    "header-alias": Rule(None),
    "missing-column": FIXED,
    "missing-optional-column": Rule(None),
    "unknown-column": Rule(WARNING),
    # values
    "required": Rule(ERROR),
    "type": Rule(ERROR),
    "date": Rule(ERROR),
    "enum": Rule(ERROR),
    "enum-case": Rule(ERROR),
    "pattern": Rule(ERROR),
    "too-long": Rule(ERROR),
    "scientific-notation": Rule(ERROR),
    "outer-blanks": Rule(WARNING),
    "marked-in-full": Rule(WARNING),
    # several columns, several rows
    "dates-order": Rule(ERROR),
    "condition": Rule(ERROR),
    "once": Rule(ERROR),
    "disagree": Rule(ERROR),
    "circle": Rule(ERROR),
    "parts": Rule(ERROR),
    # identity and references
    "key-empty": FIXED,
    "key-duplicate": FIXED,
    "key-repeated": Rule(NOTE),
    "not-unique": Rule(ERROR),
    "reference": Rule(ERROR),
    "reference-unchecked": Rule(NOTE),
}


def usual(code: str) -> Severity | None:
    """The severity a rule has where no format says otherwise."""
    return RULES[code].severity
