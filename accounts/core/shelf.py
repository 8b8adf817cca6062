"""What lies in a district's /downloads/, folder by folder, as a page shows it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

# What is in a folder, in a sentence; "" stands for /downloads/ itself.
SAYS: Mapping[str, str] = MappingProxyType(
    {
        "backups": "Backups of your data, made by PostgreSQL. `pg_restore` reads them.",
        "docviewer": "What the document viewer of your student system reads, an epoch for each day.",
        "pdfs": "Documents that were extracted for you. Empty unless that was arranged.",
        "": "Archives with documents of the system that you had before.",
    }
)


@dataclass(frozen=True, slots=True)
class Lying:
    """One file: the parts of its path below /downloads/, bytes, and when it last changed, in seconds since 1970."""

    place: tuple[str, ...]
    size: int
    modified: int

    @property
    def folder(self) -> str:
        """The folder of /downloads/ that it lies in; empty if it lies in none."""
        return self.place[0] if len(self.place) > 1 else ""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of /downloads/ with all that lies in it and below it, the newest first."""

    name: str
    says: str
    files: tuple[Lying, ...]


def folders_of(names: Iterable[str], lying: Iterable[Lying]) -> tuple[Folder, ...]:
    """The folders of these names by name, those without files too; and /downloads/ itself, if a file lies in it."""
    files: dict[str, list[Lying]] = {name: [] for name in sorted(names)}
    for one in lying:
        files.setdefault(one.folder, []).append(one)
    ordered = sorted(files, key=lambda name: (name == "", name))
    return tuple(Folder(name, SAYS.get(name, ""), _newest_first(files[name])) for name in ordered)


def _newest_first(files: Iterable[Lying]) -> tuple[Lying, ...]:
    return tuple(sorted(files, key=lambda one: (-one.modified, one.place)))
