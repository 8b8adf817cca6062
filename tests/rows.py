"""The whole database as one value, to tell whether anything was written."""

from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session

from accounts.models import User, WrongTries
from keys.models import AccountKey

# What a request by itself changes although nobody asked for anything: sessions, when somebody was last here, and that
# they got a password wrong. Or a nightly look: when it was.
NOT_A_WRITE = (Session, UserSession, WrongTries)


def everything() -> dict[str, list[dict[str, object]]]:
    """Every row of every table but sessions: equal before and after means that nothing was written."""
    models = [model for model in apps.get_models() if model not in NOT_A_WRITE]
    rows = {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}
    for model, name in ((User, "last_login"), (AccountKey, "judged")):
        for row in rows[model._meta.label]:
            row.pop(name)
    return rows
