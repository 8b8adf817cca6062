"""How passwords are kept."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    """Argon2id with 46 MiB and two passes a try: more than OWASP's Password Storage Cheat Sheet asks for at least.

    Django's own 100 MiB, in each thread of the web process, would be memory that many tries at once could take.
    """

    memory_cost = 47_104  # KiB
    time_cost = 2
    parallelism = 1
