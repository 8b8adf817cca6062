"""Django's line-wise dump with times to the microsecond.

Its own cuts them to milliseconds: the digests of the audit log would not fit after a dump was loaded elsewhere.
"""

from datetime import datetime, time

from django.core.serializers import jsonl
from django.core.serializers.json import DjangoJSONEncoder

Deserializer = jsonl.Deserializer


class _Encoder(DjangoJSONEncoder):
    def default(self, o: object) -> object:
        return o.isoformat() if isinstance(o, datetime | time) else super().default(o)


class Serializer(jsonl.Serializer):
    """What `dumpdata --format jsonl` writes with (SERIALIZATION_MODULES)."""

    def _init_options(self) -> None:
        super()._init_options()  # type: ignore[misc]  # not in the stubs
        self.json_kwargs["cls"] = _Encoder
