"""The top floor's start."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Connects the guards on schedules, and the checks of the settings."""

    name = "portal"

    def ready(self) -> None:
        """Django asks for these imports only now, when models exist."""
        from . import checks, schedules  # noqa: F401, PLC0415
