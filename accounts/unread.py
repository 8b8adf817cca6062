"""What a browser still sends when its answer is known already."""

from contextlib import suppress

from django.http import HttpRequest, UnreadablePostError

# 64 MiB: whoever sends more is not somebody who chose the wrong file.
BLOCK, MOST_BLOCKS = 64 * 1024, 1024


def read_to_the_end(request: HttpRequest) -> None:
    """Reads it and forgets it: a browser that is cut off shows no answer at all."""
    with suppress(UnreadablePostError):  # it went away itself
        for _ in range(MOST_BLOCKS):
            if not request.read(BLOCK):
                return
