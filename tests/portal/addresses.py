"""Every address of the portal, from the URLconf itself."""

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver, reverse


def patterns(resolver: URLResolver | None = None) -> Iterator[URLPattern]:
    """Every pattern, those of included apps too."""
    for one in (resolver or get_resolver()).url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one)
        else:
            yield one


NAMES = [one.name or str(one.pattern) for one in patterns()]


def address(name: str, kwargs: dict[str, object]) -> str:
    """The address of a page, filled with those of `kwargs` that it takes."""
    # With what the addresses take that it is included under.
    ((_, takes),) = get_resolver().reverse_dict[name][0]
    return reverse(name, kwargs={key: value for key, value in kwargs.items() if key in takes})
