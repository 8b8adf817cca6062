"""The whole database as one value, to tell whether anything was written."""

from django.apps import apps
from django.contrib.sessions.models import Session

from accounts.models import User

# What a request by itself changes although nobody asked for anything: sessions, and when somebody was last here.
NOT_A_WRITE = (Session,)


def everything() -> dict[str, list[dict[str, object]]]:
    """Every row of every table but sessions: equal before and after means that nothing was written."""
    models = [model for model in apps.get_models() if model not in NOT_A_WRITE]
    rows = {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}
    for person in rows[User._meta.label]:
        person.pop("last_login")
    return rows
