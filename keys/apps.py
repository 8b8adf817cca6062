"""Hears from the accounts floor when what an account's host should hold has changed."""

from django.apps import AppConfig


class KeysConfig(AppConfig):
    """The keys package."""

    name = "keys"

    def ready(self) -> None:
        """Connects the receiver; Django asks for the import to happen only now, when models exist."""
        from . import receivers  # noqa: F401, PLC0415
