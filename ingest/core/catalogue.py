"""The formats that are known: every descriptor of a folder."""

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
    return tuple(formats.values())


def _read(path: Path) -> Format:
    try:
        return parse_format(path.read_bytes())
    except DescriptorError as error:
        raise DescriptorError(error.code, error.place, f"in `{path.name}`: {error.detail}", error.hint) from None
