"""How long whoever gets a password or a code wrong has to wait before the next try."""

from datetime import datetime, timedelta

# Five slips of the pen are free; then each further one doubles the wait.
FREE_TRIES = 5
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
FORGOTTEN_AFTER = timedelta(days=1)


def pause(failures: int) -> timedelta:
    """The wait after so many tries that failed."""
    if failures < FREE_TRIES:
        return timedelta(0)
    # Beyond ten doublings it is the longest in any case.
    return min(FIRST_PAUSE * (1 << min(failures - FREE_TRIES, 10)), LONGEST_PAUSE)


def wait_left(failures: int, last: datetime, now: datetime) -> timedelta:
    """How much of that wait is left at `now`; zero if none is."""
    return max(last + pause(failures) - now, timedelta(0))


def waiting_words(wait: timedelta) -> str:
    """The wait as a person reads it, rounded up."""
    seconds = wait.total_seconds()
    if seconds <= 60:
        return "a minute"
    return f"{-int(-seconds // 60)} minutes"
