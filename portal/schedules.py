"""Brings the table of schedules in `celery.py` into the database, where ops may change what may be changed."""

from datetime import timedelta

from celery.schedules import ParseException
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.signals import pre_delete, pre_save
from django.dispatch import receiver
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from keys.selectors import HOURLY_TASK

from .celery import SCHEDULES, Schedule

HOURLY_PROMISE = "The run over all accounts must come at least once an hour, every hour of every day."


@transaction.atomic
def schedules_sync() -> None:
    """Adds the schedules that are missing and brings our own to the table; what ops set for propagation stays.

    Whatever was changed behind the guards below (by SQL, say) is put right here, at every start.
    """
    known = [schedule.name for schedule in SCHEDULES]
    strangers = PeriodicTask.objects.exclude(name__in=known).exclude(task="celery.backend_cleanup")
    strangers.filter(task=HOURLY_TASK).update(task="")  # a second hourly run: its guard need not keep it
    strangers.delete()
    for schedule in SCHEDULES:
        row, is_new = PeriodicTask.objects.get_or_create(name=schedule.name, defaults=_row(schedule))
        if not is_new and not (schedule.task == row.task == HOURLY_TASK and _keeps_the_promise(row)):
            _bring(row, schedule)
    PeriodicTasks.update_changed()


def _bring(row: PeriodicTask, schedule: Schedule) -> None:
    wanted = _row(schedule)
    if schedule.task == HOURLY_TASK:
        wanted["last_run_at"] = None
    if any(getattr(row, name) != value for name, value in wanted.items()):
        PeriodicTask.objects.filter(pk=row.pk).update(**wanted)


def _row(schedule: Schedule) -> dict[str, object]:
    interval = crontab = None
    if schedule.seconds is not None:
        told = {"every": schedule.seconds, "period": IntervalSchedule.SECONDS}
        interval = IntervalSchedule.objects.filter(**told).first() or IntervalSchedule.objects.create(**told)
    else:
        days = dict.fromkeys(("day_of_month", "month_of_year", "day_of_week"), "*")
        clock = {"minute": schedule.minutes, "hour": schedule.hours, "timezone": "UTC", **days}
        crontab = CrontabSchedule.objects.filter(**clock).first() or CrontabSchedule.objects.create(**clock)
    return {
        "task": schedule.task,
        "interval": interval,
        "crontab": crontab,
        "expire_seconds": schedule.expires,
        "enabled": True,
        "one_off": False,
        "start_time": None,
        "expires": None,
        "queue": None,
        "exchange": None,
        "routing_key": None,
        "args": "[]",
        "kwargs": "{}",
        "headers": "{}",
        "solar": None,
        "clocked": None,
    }


@receiver(pre_save, sender=PeriodicTask)
def never_less_often_than_hourly(instance: PeriodicTask, **_: object) -> None:
    """Districts are promised an hour: the run over all accounts cannot be slowed below that, nor switched off."""
    if instance.task != HOURLY_TASK:
        if PeriodicTask.objects.filter(pk=instance.pk, task=HOURLY_TASK).exists():
            raise ValidationError(HOURLY_PROMISE)
        return
    if not _keeps_the_promise(instance):
        raise ValidationError(HOURLY_PROMISE)


@receiver(pre_save, sender=CrontabSchedule)
def its_clock_is_kept_too(instance: CrontabSchedule, **_: object) -> None:
    """The same promise, when the clock times that the hourly run goes by are edited instead of the run."""
    is_used = instance.pk and PeriodicTask.objects.filter(crontab_id=instance.pk, task=HOURLY_TASK).exists()
    if is_used and not _is_hourly(instance):
        raise ValidationError(HOURLY_PROMISE)


def _keeps_the_promise(row: PeriodicTask) -> bool:
    is_limited = row.one_off or row.expires or row.expire_seconds or row.start_time
    is_sent_away = row.queue or row.exchange or row.routing_key or row.args != "[]" or row.kwargs != "{}"
    is_sent_away = is_sent_away or row.headers != "{}" or row.interval_id or row.solar_id or row.clocked_id
    is_ahead = row.last_run_at is not None and row.last_run_at > timezone.now() + timedelta(minutes=1)
    is_ours = row.name in {schedule.name for schedule in SCHEDULES if schedule.task == HOURLY_TASK}
    is_plain = is_ours and not (is_limited or is_sent_away or is_ahead)
    return bool(row.enabled and is_plain and row.crontab is not None and _is_hourly(row.crontab))


def _is_hourly(crontab: CrontabSchedule) -> bool:
    is_every_hour = {crontab.hour, crontab.day_of_month, crontab.month_of_year, crontab.day_of_week} == {"*"}
    # Clock times are promised from the minutes alone, and some zones are half an hour beside the others.
    return is_every_hour and str(crontab.timezone) == "UTC" and _has_minutes(crontab)


def _has_minutes(crontab: CrontabSchedule) -> bool:
    try:
        return bool(crontab.schedule.minute)
    except (ParseException, ValueError):
        return False


@receiver(pre_delete, sender=PeriodicTask)
def never_deleted(instance: PeriodicTask, **_: object) -> None:
    """The same promise: the hourly run cannot be deleted while it is in the table."""
    if instance.task == HOURLY_TASK:
        raise ValidationError("The run over all accounts cannot be deleted.")
