"""Hears from allauth when somebody's second factor changes."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The accounts package."""

    name = "accounts"

    def ready(self) -> None:
        """Connects the receivers; Django asks for the import to happen only now, when models exist."""
        from . import receivers  # noqa: F401, PLC0415
