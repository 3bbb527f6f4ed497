"""The peer django-notifications-hq, on the same server: `python -m bench.django_hq DSN told|counts SIZE`.

In a process of its own, for Django is set up once a process. It prints one figure.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.contest import stopwatch
from bench.ground import REPOSITORY, drop_database, make_database, server

DATABASE = "bench_django"
UNREAD = 1_000
"""How many unread notifications each reader has."""


async def told_per_second(recipients: int) -> float:
    """Recipients a second of `notify.send(recipient=<so many users>)`."""
    return await _ask("told", recipients)


async def unread_ms(readers: int) -> float:
    """Milliseconds of `user.notifications.unread().count()`, for users with 1,000 unread notifications each."""
    return await _ask("counts", readers)


async def _ask(question: str, size: int) -> float:
    drop_database(DATABASE)
    make_database(DATABASE)
    command = [sys.executable, "-m", "bench.django_hq", server().dsn_of(DATABASE), question, str(size)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY)
    said, _ = await process.communicate()
    drop_database(DATABASE)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return float(said.decode().split()[-1])


def set_up(dsn: str) -> None:
    """Django with nothing but users and notifications, and its tables."""
    # Without this, django-notifications-hq 1.8.3 does not load on Django 5.1 and later, which dropped that option; its
    # migrations make the index of it all the same.
    import django.db.models.options as options
    from django.conf import settings

    options.DEFAULT_NAMES += ("index_together",)  # type: ignore[attr-defined]
    parts = urlsplit(dsn)
    host = parse_qs(parts.query)["host"][0]
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "notifications"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.path.lstrip("/"),
                "USER": parts.username,
                "HOST": host,
            }
        },
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def make_users(count: int) -> None:
    from django.contrib.auth.models import User

    User.objects.bulk_create([User(username=f"user-{n:08}") for n in range(count)], batch_size=5_000)


def tell(recipients: int) -> float:
    """Recipients a second."""
    from django.contrib.auth.models import User
    from notifications.signals import notify

    make_users(recipients)
    actor, *_ = User.objects.all()[:1]
    _vacuum()
    with stopwatch() as watch:
        notify.send(actor, recipient=User.objects.all(), verb="commented", target=actor)
    return recipients / watch.seconds


def count(readers: int) -> float:
    """Milliseconds a count."""
    from django.contrib.auth.models import User
    from notifications.signals import notify

    make_users(readers)
    users: list[Any] = list(User.objects.all())
    notify.send(users[0], recipient=users, verb="commented", target=users[0])
    _copy_each(UNREAD - 1)
    _vacuum()
    with stopwatch() as watch:
        for user in users:
            assert user.notifications.unread().count() == UNREAD
    return watch.seconds / readers * 1000


def _copy_each(times: int) -> None:
    """So many more rows of each notification; in SQL, as it is not what is measured."""
    from django.db import connection
    from notifications.models import Notification

    table = Notification._meta.db_table
    columns = ", ".join(field.column for field in Notification._meta.fields if not field.primary_key)
    with connection.cursor() as cursor:
        cursor.execute(f"insert into {table} ({columns}) select {columns} from {table}, generate_series(1, {times})")


def _vacuum() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("vacuum analyze")
        cursor.execute("checkpoint")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    set_up(sys.argv[1])
    print({"told": tell, "counts": count}[sys.argv[2]](int(sys.argv[3])))
