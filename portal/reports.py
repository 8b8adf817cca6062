"""What a report of an unexpected error may hold, by mail or on the page that DEBUG shows: nothing anybody sent."""

from collections.abc import ItemsView
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class Filter(SafeExceptionReporterFilter):
    """Named in settings as DEFAULT_EXCEPTION_REPORTER_FILTER.

    A private key that was pasted by mistake, or a student's row, must not go out with a report. Which variable holds
    it is not to be guessed, so none is shown, with DEBUG neither.
    """

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, str]:
        """The names of the fields only."""
        return dict.fromkeys(getattr(request, "POST", ()), self.cleansed_substitute)

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> ItemsView[str, Any]:
        """The names of the variables only."""
        return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()
