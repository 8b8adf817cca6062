"""The error tree of ingest's core. Data that is wrong makes findings; only what stops the work is an error."""


class IngestError(Exception):
    """Something ingest cannot go on with: a stable code, a sentence for a person, and a hint how to mend it."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class DescriptorError(IngestError):
    """A format descriptor that cannot be used. `place` is the JSON pointer (RFC 6901) of the trouble."""

    def __init__(self, code: str, place: str, message: str, hint: str = "") -> None:
        super().__init__(code, f"{place or '/'}: {message}", hint)
        self.place = place or "/"
        self.detail = message


class ArchiveError(IngestError):
    """A zip that is refused, or that turns out damaged or larger than it says while it is read."""


class RowsError(IngestError):
    """Rows were asked of a file that has not passed its check, or has changed since."""
