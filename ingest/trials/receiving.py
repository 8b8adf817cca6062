"""Takes what a browser sends straight into a private directory, block by block, and stops at the limits."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopUpload
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from hosts.core import paths

FIELD = "files"
LONGEST_NAME = 255
NO_SPACE = "There is no room for these files on our side just now. Try again later, or tell our support."


@dataclass(frozen=True, slots=True)
class Received:
    """One file that came: the name it had there, made harmless, and its size in bytes."""

    name: str
    size: int


class Receiver(FileUploadHandler):
    """The files of one request, in `place` under their numbers. `refused` says why no more was taken.

    They are not in `request.FILES`, nor ever in memory or in the system's directory for temporary files.
    """

    def __init__(self, request: HttpRequest, place: Path) -> None:
        super().__init__(request)
        self.place = place
        self.taken: list[Received] = []
        self.refused = ""
        self._out: BinaryIO | None = None
        self._size = 0
        self._left = settings.TRIAL_MOST_MEGABYTES * 1024 * 1024

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """The next file begins."""
        super().new_file(*args, **kwargs)
        if self.field_name != FIELD:
            raise SkipFile
        if len(self.taken) >= settings.TRIAL_MOST_FILES:
            self._refuse(f"These are more than {settings.TRIAL_MOST_FILES} files, which is the most at once.")
        name = paths.shown(self.file_name or "", LONGEST_NAME)
        if any(one.name == name for one in self.taken):
            self._refuse(f"Two of the files are named {name}. Choose each file once.")
        self._out, self._size = (self.place / f"{len(self.taken):05}").open("xb"), 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Writes a block."""
        assert self._out is not None
        self._left -= len(raw_data)
        if self._left < 0:
            most = filesizeformat(settings.TRIAL_MOST_MEGABYTES * 1024 * 1024)
            self._refuse(f"These files are more than {most}, which is the most that can be checked here at once.")
        try:
            self._size += self._out.write(raw_data)
        except OSError:
            self._refuse(NO_SPACE)

    def file_complete(self, file_size: int) -> None:
        """The file has ended."""
        assert self._out is not None
        try:
            self._out.close()
        except OSError:
            self._refuse(NO_SPACE)
        self.taken.append(Received(paths.shown(self.file_name or "", LONGEST_NAME), self._size))

    def upload_interrupted(self) -> None:
        """The browser went away."""
        self._close()

    def _refuse(self, why: str) -> None:
        self._close()
        self.refused = why
        # What still comes is read and forgotten, so that the browser shows the answer.
        raise StopUpload(connection_reset=False)

    def _close(self) -> None:
        if self._out is not None:
            with suppress(OSError):
                self._out.close()
