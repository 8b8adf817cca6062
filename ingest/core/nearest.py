"""Which known name somebody meant, for "did you mean" hints only: nothing is ever accepted on a guess."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

# Spreadsheets and copy-paste leave these in names, where nobody can see them.
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))


def folded(name: str) -> str:
    """A name without what the eye does not see: case, outer and doubled blanks, invisible characters."""
    return " ".join(unicodedata.normalize("NFKC", name.translate(INVISIBLE)).casefold().split())


def nearest(name: str, known: Iterable[str], cutoff: float = 0.78) -> str | None:
    """The known name most like `name`, or None. Equal but for case, blanks, `_` and `-` always wins."""
    by_fold = {_bare(other): other for other in sorted(known, reverse=True)}
    same = by_fold.get(_bare(name))
    if same is not None:
        return same
    close = get_close_matches(_bare(name)[:100], list(by_fold), n=1, cutoff=cutoff)
    return by_fold[close[0]] if close else None


def did_you_mean(name: str | None) -> str:
    return f"Did you mean `{name}`?" if name else ""


def _bare(name: str) -> str:
    return folded(name).replace("_", "").replace("-", "").replace(" ", "")
