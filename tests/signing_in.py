"""Browsers of tests in which somebody has just signed in: a session made by `force_login` has no record of that."""

import time

from django.test import Client


def fresh(client: Client, seconds_ago: float = 0) -> Client:
    """The same browser; whoever is signed in there gave their password so many seconds ago."""
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - seconds_ago}]
    session["account_authentication_methods_user"] = session["_auth_user_id"]
    session.save()
    return client
