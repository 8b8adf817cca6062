"""What day it is at a school: which school year, the weeks in which years change, days on which nothing is applied."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Blackout:
    """Days, first and last included, on which epochs are received and checked, but not applied."""

    first: date
    last: date
    why: str = ""


YEAR_BEGINS = (7, 1)


def school_year(day: date, begins: tuple[int, int] = YEAR_BEGINS) -> int:
    """The school year to which a day belongs, named after the calendar year in which it ends."""
    return day.year + (begins > (1, 1) and (day.month, day.day) >= begins)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The calendar of one district. Days of the year are (month, day).

    `begins`: first day of a school year. `rollover`: first and last day of the weeks in which a student system may
    stand in the old year or in the new one.
    """

    today: date
    begins: tuple[int, int] = YEAR_BEGINS
    rollover: tuple[tuple[int, int], tuple[int, int]] = ((6, 1), (9, 15))
    blackouts: tuple[Blackout, ...] = ()

    @property
    def year(self) -> int:
        """Today's school year."""
        return school_year(self.today, self.begins)

    @property
    def is_rollover(self) -> bool:
        first, last = self.rollover
        return first <= self._day <= last if first <= last else self._day >= first or self._day <= last

    @property
    def years(self) -> frozenset[int]:
        """The school years of which one at least should be in the files. While years change there are two."""
        if not self.is_rollover:
            return frozenset({self.year})
        return frozenset({self.year, self.year + (1 if self._day < self.begins else -1)})

    @property
    def blackout(self) -> Blackout | None:
        """The blackout of today that lasts longest, if there is one."""
        now = [one for one in self.blackouts if one.first <= self.today <= one.last]
        return max(now, key=lambda one: one.last, default=None)

    @property
    def _day(self) -> tuple[int, int]:
        return self.today.month, self.today.day
