"""A mail's plain text as HTML: the same words, so that there is one template a mail, with its links to be clicked."""

import re
from dataclasses import dataclass

URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text, or a link if `address` is set."""

    text: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, or the points of a list; each line is a row of pieces."""

    lines: tuple[tuple[Piece, ...], ...]
    is_list: bool


def blocks_of(text: str) -> tuple[Block, ...]:
    """The text's paragraphs and lists, in order. Nothing of it is taken for markup."""
    return tuple(block for part in re.split(r"\n\s*\n", text.strip()) for block in _blocks(part.splitlines()))


def _blocks(lines: list[str]) -> list[Block]:
    found: list[tuple[bool, list[str]]] = []
    for line in filter(str.strip, lines):
        is_point = line.startswith("- ")
        is_more = line.startswith("  ") and bool(found) and found[-1][0]
        if is_more:
            found[-1][1][-1] += f" {line.strip()}"
        elif found and found[-1][0] is is_point:
            found[-1][1].append(line)
        else:
            found.append((is_point, [line]))
    return [
        Block(tuple(_pieces(one.removeprefix("- ") if is_list else one) for one in rows), is_list)
        for is_list, rows in found
    ]


def _pieces(line: str) -> tuple[Piece, ...]:
    told, place = [], 0
    for link in URL.finditer(line):
        if link.start() > place:
            told.append(Piece(line[place : link.start()]))
        told.append(Piece(link[0], link[0]))
        place = link.end()
    return (*told, Piece(line[place:])) if place < len(line) else tuple(told)


def first_link(text: str) -> str:
    """The first address in a text; empty if there is none."""
    found = URL.search(text)
    return found[0] if found else ""
