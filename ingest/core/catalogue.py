"""The formats that are known: every descriptor of a folder."""

from collections.abc import Iterable
from pathlib import Path

from ingest.core.descriptor import parse_format
from ingest.core.errors import DescriptorError
from ingest.core.schema import Format

SHIPPED = Path(__file__).parents[1] / "formats"


def read_catalogue(folder: Path = SHIPPED) -> tuple[Format, ...]:
    """The formats of all `*.json` files in the folder, by name. Raises DescriptorError naming the file."""
    formats: dict[str, Format] = {}
    for path in sorted(folder.glob("*.json")):
        found = _read(path)
        if found.name in formats or path.stem != found.name:
            raise DescriptorError("name", "/name", f"`{path.name}` must be named after its format, once only")
        formats[found.name] = found
    _share_well(formats.values())
    return tuple(formats.values())


def _share_well(formats: Iterable[Format]) -> None:
    """Raises DescriptorError if two that speak of the same records do not know them by the same key."""
    keys: dict[tuple[str, str], tuple[str, ...]] = {}
    for known in formats:
        for table in known.tables:
            if keys.setdefault((known.records, table.name), table.key) != table.key:
                detail = f"in `{known.name}.json`: `{table.name}` has another key than in a format of the same records"
                raise DescriptorError("records", "/sftpPortal/records", detail)


def _read(path: Path) -> Format:
    try:
        return parse_format(path.read_bytes())
    except DescriptorError as error:
        raise DescriptorError(error.code, error.place, f"in `{path.name}`: {error.detail}", error.hint) from None
