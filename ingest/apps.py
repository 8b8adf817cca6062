"""Hears from the accounts floor when a district was closed."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """The ingest package."""

    name = "ingest"

    def ready(self) -> None:
        """Connects the receiver; Django asks for the import to happen only now, when models exist."""
        from . import receivers  # noqa: F401, PLC0415
