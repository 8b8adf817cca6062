"""The forms in which people paste keys: one module each, one contract (``Form``), asked in this order.

A form is a function ``take(lines, at)``: it looks at the lines from index ``at`` on and returns None if they
are not its own, else what it took. ``quiet`` is the smallest; a new form is a copy and a name in ``FORMS``.
``unknown`` stands last and takes whatever is left, to say what it is. ``private`` is no form: it is asked
first, about the whole text, because nothing else may touch a private key.
"""

from keys.core.formats import openssh, pem, quiet, rfc4716, unknown
from keys.core.formats.contract import Form, Found, Taken

FORMS: tuple[Form, ...] = (quiet.take, rfc4716.take, pem.take, openssh.take, unknown.take)

__all__ = ["FORMS", "Form", "Found", "Taken"]
