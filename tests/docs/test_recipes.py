"""The recipes for Django, FastAPI with SQLAlchemy and psycopg are run as they stand.

Committed, followers are told; rolled back, nothing happened; however many follow, publishing is one statement.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import psycopg
import pytest
import sqlalchemy
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy.engine import make_url

from hark.catalogue import Frequency, Templates
from tests.docs.blocks import files_of, imported, written
from tests.world import World, reason, students

THREAD_REPLY = reason(
    "thread_reply",
    frequency=Frequency.IMMEDIATE,
    templates=Templates(subject="{{ actor }} replied", text="{{ actor }} replied: {{ payload.text }}"),
)


class UndoneError(Exception):
    """What makes a product roll back."""


@pytest.fixture
async def thread(world: World) -> World:
    """A world where bob and carol follow post 7, beside a product's table of comments."""
    await world.install(THREAD_REPLY)
    await world.know("alice", "bob", "carol")
    await world.follow("post:7", "bob", "carol")
    await world.execute(files_of("psycopg.md")["schema.sql"])
    return world


async def told(world: World) -> list[tuple[str, str, str]]:
    """Who got which mail, once all is done that is due."""
    world.clock.move_to(max(world.clock.now(), datetime.now(UTC) + timedelta(minutes=1)))
    await world.drain()
    return sorted(
        (mail.address.split("@")[0], mail.subject, mail.text.split("\n")[0]) for mail in world.recorder.accepted
    )


async def comments(world: World) -> int:
    return int((await world.rows("select count(*) from comment"))[0][0])


async def events(world: World) -> int:
    return int((await world.rows("select count(*) from hark.event"))[0][0])


async def replies_told(world: World) -> list[tuple[str, str]]:
    return [(who, subject) for who, subject, _ in await told(world)]


BOTH = [("bob", "alice replied"), ("carol", "alice replied")]

# psycopg -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def psycopg_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    folder = written("psycopg.md", tmp_path)
    return lambda name: imported(name, folder, monkeypatch)


async def test_psycopg_committed_the_followers_are_told(thread: World, psycopg_page: Callable[[str], Any]) -> None:
    with psycopg.connect(thread.dsn, autocommit=True) as connection:
        psycopg_page("comments").comment(connection, 7, "alice", "Same here!")
    assert await replies_told(thread) == BOTH
    assert "alice replied: Same here!" in thread.recorder.accepted[0].text


async def test_psycopg_rolled_back_nothing_happened(thread: World, psycopg_page: Callable[[str], Any]) -> None:
    comment = psycopg_page("comments").comment
    with (
        psycopg.connect(thread.dsn, autocommit=True) as connection,
        pytest.raises(UndoneError),
        connection.transaction(),
    ):
        comment(connection, 7, "alice", "Same here!")
        raise UndoneError
    assert (await comments(thread), await events(thread), await told(thread)) == (0, 0, [])


async def test_psycopg_from_a_pool(thread: World, psycopg_page: Callable[[str], Any]) -> None:
    module = psycopg_page("pooled")
    with ConnectionPool(thread.dsn, min_size=1, open=True) as pool:
        module.comment_from_pool(pool, 7, "alice", "Same here!")
        with pytest.raises(psycopg.errors.NotNullViolation):
            module.comment_from_pool(pool, 7, "alice", None)
    assert await comments(thread) == 1
    assert await replies_told(thread) == BOTH


async def test_psycopg_asynchronously(thread: World, psycopg_page: Callable[[str], Any]) -> None:
    acomment = psycopg_page("acomments").acomment
    async with AsyncConnectionPool(thread.dsn, min_size=1, open=False) as pool:
        await acomment(pool, 7, "alice", "Same here!")
        with pytest.raises(psycopg.errors.NotNullViolation):
            await acomment(pool, 7, "alice", None)
    assert await comments(thread) == await events(thread) == 1
    assert await replies_told(thread) == BOTH


async def test_psycopg_an_import_publishes_in_the_statement_that_inserts(
    thread: World, psycopg_page: Callable[[str], Any]
) -> None:
    rows = [(7, "alice", f"number {number}") for number in range(100)]
    with psycopg.connect(thread.dsn) as connection:
        assert psycopg_page("imported").import_comments(connection, rows) == 100
    assert await comments(thread) == await events(thread) == 100
    await told(thread)
    assert set((await thread.names_told()).values()) == {100}


async def test_psycopg_a_refused_event_may_cost_the_notification_and_not_the_comment(
    thread: World, psycopg_page: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(thread.dsn, autocommit=True) as connection:
        psycopg_page("lenient").comment_anyway(connection, 7, "alice", "Same here!", "thread_repl")
    assert (await comments(thread), await events(thread)) == (1, 0)
    assert "nobody is told of this comment" in caplog.text


# FastAPI and SQLAlchemy ----------------------------------------------------------------------------------------------


@pytest.fixture(params=[("app", "psycopg"), ("app", "psycopg2"), ("async_app", "psycopg"), ("async_app", "asyncpg")])
def web(request: pytest.FixtureRequest, thread: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's application, on the thread's database, by each driver."""
    name, driver = request.param
    url = make_url(thread.dsn).set(drivername=f"postgresql+{driver}")
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    return imported(name, written("fastapi-sqlalchemy.md", tmp_path), monkeypatch)


@pytest.fixture
async def client(web: Any) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=web.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://acme.example") as client:
        yield client
    disposed = web.engine.dispose()
    if disposed is not None:
        await disposed


async def reply(client: httpx2.AsyncClient, text: str = "Same here!") -> int:
    return (await client.post("/posts/7/comments", params={"author": "alice", "text": text})).status_code


async def test_fastapi_committed_the_followers_are_told(thread: World, client: httpx2.AsyncClient) -> None:
    assert await reply(client) == 201
    assert await replies_told(thread) == BOTH


async def test_fastapi_rolled_back_nothing_happened(thread: World, client: httpx2.AsyncClient) -> None:
    await thread.execute("alter table comment add check (text <> 'spam')")
    assert await reply(client, "spam") == 500
    assert (await comments(thread), await events(thread), await told(thread)) == (0, 0, [])


async def test_fastapi_a_commit_that_fails_is_no_success_to_the_user(thread: World, client: httpx2.AsyncClient) -> None:
    await thread.execute("create table author (id text primary key)")
    await thread.execute(
        "alter table comment add foreign key (author_id) references author deferrable initially deferred"
    )
    assert await reply(client) == 500
    assert (await comments(thread), await events(thread)) == (0, 0)


async def test_fastapi_publishing_is_one_statement_however_many_follow(
    thread: World, web: Any, client: httpx2.AsyncClient
) -> None:
    many = students(300)
    await thread.know(*many)
    await thread.follow("post:7", *(each.id for each in many))
    statements: list[str] = []
    engine = getattr(web.engine, "sync_engine", web.engine)
    await reply(client)  # the first one of a connection asks the server who it is
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    await reply(client)
    assert ["insert into comment" in each.lower() for each in statements] == [True, False]
    assert "hark.publish" in statements[1]


async def test_sqlalchemy_a_mapper_event_publishes_on_the_connection_of_the_flush(
    thread: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("fastapi-sqlalchemy.md", tmp_path)
    listening = imported("listening", tmp_path, monkeypatch)
    in_tests = imported("in_tests", tmp_path, monkeypatch)
    url = make_url(thread.dsn).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url)
    try:
        with sqlalchemy.orm.Session(engine) as session:
            session.add(listening.Comment(post_id=7, author_id="alice", text="Same here!"))
            session.flush()
            assert in_tests.published(session) == [("thread_reply", ["post:7"])]
            session.rollback()
        assert await events(thread) == 0
    finally:
        engine.dispose()


# Django --------------------------------------------------------------------------------------------------------------

SETTINGS = """
import os
from psycopg.conninfo import conninfo_to_dict

_where = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": _where["dbname"], "USER": _where["user"],
    "PASSWORD": _where.get("password") or "", "HOST": _where["host"], "PORT": str(_where.get("port") or ""),
    "TEST": {"NAME": _where["dbname"] + "_test"},
}}
INSTALLED_APPS = ["posts"]
USE_TZ = True
ALLOWED_HOSTS = ["testserver"]
TEST_RUNNER = "posts.runner.HarkRunner"
ROOT_URLCONF = "urls"
"""
URLS = """
from django.urls import path
from posts.views import comment

urlpatterns = [path("posts/<int:post>/comments", comment)]
"""
SET_UP = """
import django
django.setup()
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from posts.models import Comment
"""


@pytest.fixture
def django_page(thread: World, tmp_path: Path) -> Callable[..., str]:
    """Runs Python in a process of its own, where Django is set up with the page's application."""
    folder = written("django.md", tmp_path)
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "urls.py").write_text(URLS)
    (folder / "posts" / "__init__.py").touch()
    (folder / "hark.toml").write_text(files_of("psycopg.md")["hark.toml"])
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": paths,
        "DJANGO_SETTINGS_MODULE": "settings",
        "DATABASE_URL": thread.dsn,
    }

    def ran(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return ran


@pytest.fixture
def django_runs(django_page: Callable[..., str]) -> Callable[[str], str]:
    django_page("-c", SET_UP + "with connection.schema_editor() as editor: editor.create_model(Comment)")
    return lambda code: django_page("-c", SET_UP + code)


async def django_comments(world: World) -> int:
    return int((await world.rows("select count(*) from posts_comment"))[0][0])


async def test_django_committed_the_followers_are_told(thread: World, django_runs: Callable[[str], str]) -> None:
    said = django_runs(
        'print(Client().post("/posts/7/comments", {"author": "alice", "text": "Same here!"}).status_code)'
    )
    assert said.strip() == "201"
    assert await replies_told(thread) == BOTH


async def test_django_rolled_back_nothing_happened(thread: World, django_runs: Callable[[str], str]) -> None:
    django_runs("""
with transaction.atomic():
    Comment.objects.create(post_id=7, author="alice", text="Same here!")
    transaction.set_rollback(True)
""")
    assert (await django_comments(thread), await events(thread), await told(thread)) == (0, 0, [])


async def test_django_a_savepoint_that_failed_takes_its_events_along(
    thread: World, django_runs: Callable[[str], str]
) -> None:
    django_runs("""
with transaction.atomic():
    Comment.objects.create(post_id=7, author="alice", text="before")
    try:
        with transaction.atomic():
            Comment.objects.create(post_id=7, author="alice", text="within")
            raise KeyError
    except KeyError:
        pass
    Comment.objects.create(post_id=7, author="alice", text="after")
""")
    rows = await thread.rows("select payload ->> 'text' from hark.event order by id")
    assert [row[0] for row in rows] == ["before", "after"]


async def test_django_an_edit_is_not_published(thread: World, django_runs: Callable[[str], str]) -> None:
    django_runs("""
written = Comment.objects.create(post_id=7, author="alice", text="Same hear!")
written.text = "Same here!"
written.save()
""")
    assert await events(thread) == 1


async def test_django_a_save_costs_one_statement_more_however_many_follow(
    thread: World, django_runs: Callable[[str], str]
) -> None:
    many = students(300)
    await thread.know(*many)
    await thread.follow("post:7", *(each.id for each in many))
    said = django_runs("""
with transaction.atomic(), CaptureQueriesContext(connection) as seen:
    Comment.objects.create(post_id=7, author="alice", text="Same here!")
print(len(seen))
""")
    assert said.strip() == "2"


async def test_django_bulk_create_is_published_in_one_statement(
    thread: World, django_runs: Callable[[str], str]
) -> None:
    said = django_runs("""
from posts.bulk import import_comments
with CaptureQueriesContext(connection) as seen:
    import_comments([Comment(post_id=7, author="alice", text=f"number {n}") for n in range(50)])
print(len([each for each in seen.captured_queries if "posts_comment" in each["sql"]]))
""")
    assert said.strip() == "2"
    assert await events(thread) == 50


async def test_django_without_a_transaction_the_comment_stays_when_publishing_fails(
    thread: World, django_runs: Callable[[str], str]
) -> None:
    await thread.install(reason("another"))
    django_runs("""
import hark
try:
    Comment.objects.create(post_id=7, author="alice", text="Same here!")
except hark.UnknownReason:
    print("refused")
""")
    assert (await django_comments(thread), await events(thread)) == (1, 0)


async def test_django_its_own_tests_see_the_event_and_leave_nothing(
    thread: World, django_page: Callable[..., str]
) -> None:
    said = django_page("-m", "django", "test", "posts", "--noinput")
    assert "Ran 1 test" in said
    assert "OK" in said
    assert await events(thread) == 0
