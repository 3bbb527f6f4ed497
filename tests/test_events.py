"""Publishing stands or falls with the product's own transaction, whichever library holds it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

import hark
from hark import preferences
from hark.errors import BadInput, KeyReused, UnknownReason
from hark.postgres.database import open_database
from tests import libraries
from tests.libraries import Product
from tests.servers import Postgres, eventually
from tests.world import COMMENT, MENTION, catalogue, students

BOB = ("bob",)
ZONELESS = datetime(2026, 3, 2, tzinfo=UTC).replace(tzinfo=None)


class UndoneError(Exception):
    """What makes a product roll back."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A product's database, with Hark's tables and a catalogue in it."""

    dsn: str

    def events(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute("select * from hark.event order by id").fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
async def shop_dsn(postgres: Postgres, template: str) -> AsyncIterator[str]:
    name = postgres.create_database(template)
    async with open_database(postgres.dsn(name), size=1) as database:
        await preferences.install(database, catalogue(COMMENT, MENTION))
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.fixture
def shop(shop_dsn: str) -> Iterator[Shop]:
    """One database for all tests here, since a fresh one each takes longer than they do; emptied after each."""
    shop = Shop(shop_dsn)
    yield shop
    shop.execute("truncate hark.event, hark.subscription; update hark.reason set retired = false where retired")


@pytest.fixture(params=libraries.ALL)
def product(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Product]:
    with libraries.ALL[request.param](shop.dsn) as opened:
        yield opened


@contextmanager
def undone() -> Iterator[ExitStack]:
    """A block at whose end the product changes its mind."""
    with pytest.raises(UndoneError), ExitStack() as stack:
        yield stack
        raise UndoneError


# In the product's transaction ----------------------------------------------------------------------------------------


def test_committed_there_is_one_event_with_all_that_was_said(product: Product, shop: Shop) -> None:
    half_past = datetime(2026, 3, 2, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    with product.transaction():
        event = product.publish(
            "comment",
            to=["bob", "Zoë"],
            entities=["post:7"],
            actor="alice",
            about="app:42",
            payload={"app": "GitHub", "stars": 5, "of": [1.5, None, True], "quote": "50 % \\u0000 $1 :x 'y' 😀"},
            key="share:981",
            occurred_at=half_past,
        )
    (row,) = shop.events()
    assert row["id"] == event
    assert (row["reason"], row["actor"], row["about"], row["key"]) == ("comment", "alice", "app:42", "share:981")
    assert (row["recipients"], row["entities"]) == (["bob", "Zoë"], ["post:7"])
    assert row["payload"] == {
        "app": "GitHub",
        "stars": 5,
        "of": [1.5, None, True],
        "quote": "50 % \\u0000 $1 :x 'y' 😀",
    }
    assert row["occurred_at"] == half_past


def test_what_is_left_out_is_empty_and_it_happened_now(product: Product, shop: Shop) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    with product.transaction():
        product.publish("comment", to=BOB)
    (row,) = shop.events()
    assert (row["actor"], row["about"], row["key"], row["payload"], row["entities"]) == (None, None, None, {}, [])
    assert before < row["occurred_at"] == row["published_at"]


def test_rolled_back_there_is_none(product: Product, shop: Shop) -> None:
    with undone() as block:
        block.enter_context(product.transaction())
        product.publish("comment", to=BOB)
    assert shop.events() == []


def test_rolled_back_to_a_savepoint_there_is_only_what_was_before_and_after(product: Product, shop: Shop) -> None:
    with product.transaction():
        product.publish("comment", to=BOB, about="before")
        with undone() as block:
            block.enter_context(product.savepoint())
            product.publish("comment", to=BOB, about="within")
        product.publish("comment", to=BOB, about="after")
    assert [row["about"] for row in shop.events()] == ["before", "after"]


def test_nobody_else_sees_it_before_the_commit(product: Product, shop: Shop) -> None:
    with product.transaction():
        product.publish("comment", to=BOB)
        assert shop.events() == []
    assert len(shop.events()) == 1


def test_an_error_within_a_savepoint_leaves_the_transaction_usable(product: Product, shop: Shop) -> None:
    with product.transaction():
        product.publish("comment", to=BOB, about="before")
        with pytest.raises(UnknownReason), product.savepoint():
            product.publish("comet", to=BOB)
        product.publish("comment", to=BOB, about="after")
    assert [row["about"] for row in shop.events()] == ["before", "after"]


def test_bad_input_is_refused_without_asking_so_the_transaction_stays_usable(product: Product, shop: Shop) -> None:
    with product.transaction():
        with pytest.raises(BadInput, match=r"write to=\['bob'\]"):
            product.publish("comment", to="bob")
        product.publish("comment", to=BOB)
    assert len(shop.events()) == 1


# What the database refuses -------------------------------------------------------------------------------------------


def test_an_unknown_reason_is_refused_with_the_known_ones(product: Product) -> None:
    with (
        pytest.raises(UnknownReason, match=r'^the catalogue has no reason "comet"\. Known reasons: comment, mention$'),
        product.transaction(),
    ):
        product.publish("comet", to=BOB)


def test_a_retired_reason_is_refused(product: Product, shop: Shop) -> None:
    shop.execute("update hark.reason set retired = true where name = 'mention'")
    with pytest.raises(UnknownReason, match=r"Known reasons: comment$"), product.transaction():
        product.publish("mention", to=BOB)


def test_the_same_key_with_the_same_content_is_the_same_event(product: Product, shop: Shop) -> None:
    ids = []
    for _ in range(3):
        with product.transaction():
            ids.append(product.publish("comment", to=["bob", "eve"], payload={"n": 1}, key="share:981"))
    with product.transaction():
        ids.append(product.publish("comment", to=["eve", "bob", "eve"], payload={"n": 1.0}, key="share:981"))
    assert len(set(ids)) == 1
    assert len(shop.events()) == 1


def test_the_same_key_with_other_content_is_refused_by_name(product: Product, shop: Shop) -> None:
    with product.transaction():
        event = product.publish("comment", to=BOB, key="share:981")
    refusal = rf'^key "share:981" already names event {event}, whose content is other\. Use a new key'
    with pytest.raises(KeyReused, match=refusal), product.transaction():
        product.publish("comment", to=BOB, about="something else", key="share:981")
    assert len(shop.events()) == 1


def test_more_recipients_than_one_event_may_name_are_refused(product: Product) -> None:
    with (
        pytest.raises(BadInput, match=r"10001 recipients named in one event; at most 10000\. Subscribe them"),
        product.transaction(),
    ):
        product.publish("comment", to=[str(n) for n in range(10_001)])


def test_the_drivers_own_error_is_the_cause(product: Product) -> None:
    with pytest.raises(UnknownReason) as caught, product.transaction():
        product.publish("comet", to=BOB)
    assert type(caught.value.__cause__).__module__.split(".")[0] in {
        "psycopg",
        "psycopg2",
        "pg8000",
        "asyncpg",
        "sqlalchemy",
        "django",
    }


def test_an_error_that_is_not_ours_is_left_as_it_is(product: Product) -> None:
    with pytest.raises(Exception, match="aborted") as caught, product.transaction():
        with pytest.raises(UnknownReason):
            product.publish("comet", to=BOB)
        product.publish("comment", to=BOB)
    assert not isinstance(caught.value, hark.HarkError)


@pytest.mark.parametrize("name", ["psycopg_sync", "psycopg_2", "pg_8000", "sqlalchemy_session", "asyncpg_connection"])
def test_a_database_without_hark_says_so(name: str, postgres: Postgres) -> None:
    bare = postgres.create_database()
    with (
        libraries.ALL[name](postgres.dsn(bare)) as product,
        pytest.raises(BadInput, match="run hark migrate"),
        product.transaction(),
    ):
        product.publish("comment", to=BOB)
    postgres.drop_database(bare)


# What is refused without asking --------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Mapping[str, Any], str]] = {
    "a text in place of a list": ({"to": "bob"}, r"^to is the text 'bob', expected a list; write to=\['bob'\]$"),
    "entities too": ({"entities": "post:7"}, r"write entities=\['post:7'\]"),
    "bytes in place of a list": ({"to": b"bob"}, r"to is b'bob', a bytes, expected a list of texts"),
    "a dict in place of a list": ({"to": {"bob": 1}}, r"a dict, expected a list of texts"),
    "a number in place of a list": ({"to": 7}, r"to is 7, a int, expected a list of texts"),
    "a number as id": ({"to": ["bob", 7]}, r"^to has 7, a int, expected a text; write '7'$"),
    "nothing as id": ({"to": [None]}, r"to has None"),
    "an empty id": ({"to": [""]}, r"to has an empty text"),
    "nobody": ({"to": []}, r"nobody would hear of it"),
    "a number as actor": ({"actor": 7}, r"actor has 7, a int, expected a text; write '7'"),
    "an empty key": ({"key": ""}, r"key has an empty text"),
    "a NUL": ({"about": "a\0b"}, r"about has 'a\\x00b', which Postgres cannot store"),
    "half a surrogate pair": ({"about": "\ud800"}, r"which Postgres cannot store"),
    "a list as payload": ({"payload": [1]}, r"^payload is a list, expected a dict$"),
    "a text as payload": ({"payload": "{}"}, r"payload is a str, expected a dict"),
    "a time in the payload": ({"payload": {"at": date(2026, 3, 2)}}, r"cannot be written as JSON: .*date"),
    "a decimal in the payload": ({"payload": {"price": Decimal("1.5")}}, r"cannot be written as JSON: .*Decimal"),
    "no number in the payload": ({"payload": {"price": float("nan")}}, r"cannot be written as JSON"),
    "a NUL in the payload": ({"payload": {"a": ["x\0"]}}, r"payload has a text which Postgres cannot store"),
    "a NUL in a payload's key": ({"payload": {"\0": 1}}, r"payload has a text which Postgres cannot store"),
    "half a pair in the payload": ({"payload": {"a": "\udc00"}}, r"payload has a text which Postgres cannot store"),
    "a time without a zone": ({"occurred_at": ZONELESS}, r"which has no zone"),
    "no time at all": ({"occurred_at": "2026-03-02"}, r"occurred_at is '2026-03-02', expected a datetime"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named_with_what_to_write(case: str) -> None:
    wrong, message = WRONG[case]
    with psycopg_untouched() as connection, pytest.raises(BadInput, match=message):
        hark.publish(connection, "comment", **{"to": ["bob"], **wrong})


def test_all_faults_are_told_at_once() -> None:
    with psycopg_untouched() as connection, pytest.raises(BadInput) as caught:
        hark.publish(connection, None, to="bob", payload=[], occurred_at=ZONELESS)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 4


def test_a_payload_that_contains_itself_is_refused() -> None:
    payload: dict[str, Any] = {}
    payload["me"] = payload
    with psycopg_untouched() as connection, pytest.raises(BadInput, match="cannot be written as JSON: Circular"):
        hark.publish(connection, "comment", to=BOB, payload=payload)


@contextmanager
def psycopg_untouched() -> Iterator[Any]:
    """Something that looks like a connection and must not be used."""

    class Untouched:
        def cursor(self) -> Any:
            raise AssertionError("the database was asked")

        def commit(self) -> None:
            raise AssertionError("something was committed")

    yield Untouched()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payload=st.dictionaries(st.text(), JSON, max_size=4), texts=st.lists(st.text(), min_size=1, max_size=3))
def test_any_payload_is_stored_as_it_is_or_refused_without_asking(
    shop: Shop, payload: dict[str, Any], texts: list[str]
) -> None:
    with psycopg.connect(shop.dsn) as connection:
        try:
            event = hark.publish(connection, "comment", to=texts, payload=payload)
        except BadInput as error:
            assert "Postgres cannot store" in str(error) or "empty text" in str(error)
            return
        row = connection.execute("select payload, recipients from hark.event where id = %s", [event]).fetchone()
        connection.rollback()
    assert row == (payload, texts)


def test_any_iterable_of_ids_will_do(shop: Shop) -> None:
    with psycopg.connect(shop.dsn) as connection:
        hark.publish(connection, "comment", to=(f"u{n}" for n in range(3)), entities={"post:7"})
    assert [(row["recipients"], row["entities"]) for row in shop.events()] == [(["u0", "u1", "u2"], ["post:7"])]


# Whose connection it is ----------------------------------------------------------------------------------------------


async def test_an_asynchronous_connection_is_refused_by_publish(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database) as connection:
        with pytest.raises(BadInput, match=r"AsyncConnection is asynchronous; write: await hark\.apublish"):
            hark.publish(connection, "comment", to=BOB)


async def test_a_synchronous_connection_is_refused_by_apublish(database: str) -> None:
    with psycopg.connect(database) as connection, pytest.raises(BadInput, match=r"write: hark\.publish\(\.\.\.\)"):
        await hark.apublish(connection, "comment", to=BOB)


async def test_a_pool_or_an_engine_is_refused_as_it_has_no_transaction(database: str) -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database))
    with pytest.raises(BadInput, match=r"Engine is no connection; give the one that your transaction is open on"):
        hark.publish(engine, "comment", to=BOB)
    pool = asyncpg.create_pool(**libraries._asyncpg_address(database), min_size=0)
    with pytest.raises(BadInput, match=r"Pool is no connection"):
        await hark.apublish(pool, "comment", to=BOB)


def test_no_library_is_imported_that_the_caller_does_not_use() -> None:
    code = "import hark, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "hark" in loaded
    assert not loaded & {"psycopg", "psycopg2", "pg8000", "asyncpg", "sqlalchemy", "django"}


# Several at once -----------------------------------------------------------------------------------------------------


@contextmanager
def waiting_publisher(shop: Shop, **event: Any) -> Iterator[Callable[[], Future[int]]]:
    """Someone else who publishes at the same time, in a transaction of their own; started once they wait for a lock."""
    with ThreadPoolExecutor(1) as pool, psycopg.connect(shop.dsn, autocommit=True) as other:

        def publish() -> int:
            with other.transaction():
                return hark.publish(other, "comment", **event)

        def start() -> Future[int]:
            future = pool.submit(publish)
            eventually(lambda: _waits_for_a_lock(shop, other.info.backend_pid), "the second publisher waits")
            return future

        yield start


def _waits_for_a_lock(shop: Shop, pid: int) -> bool:
    with psycopg.connect(shop.dsn, autocommit=True) as connection:
        query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        return connection.execute(query, [pid]).fetchone() == (True,)


def test_the_second_with_the_same_key_waits_and_gets_the_same_id(shop: Shop) -> None:
    with psycopg.connect(shop.dsn) as first, waiting_publisher(shop, to=BOB, key="k") as other:
        event = hark.publish(first, "comment", to=BOB, key="k")
        second = other()
        first.commit()
        assert second.result() == event
    assert len(shop.events()) == 1


def test_the_second_with_the_same_key_publishes_it_when_the_first_rolls_back(shop: Shop) -> None:
    with psycopg.connect(shop.dsn) as first, waiting_publisher(shop, to=BOB, key="k") as other:
        event = hark.publish(first, "comment", to=BOB, key="k")
        second = other()
        first.rollback()
        assert second.result() != event
    assert len(shop.events()) == 1


def test_the_second_with_the_same_key_and_other_content_is_refused_when_the_first_commits(shop: Shop) -> None:
    with psycopg.connect(shop.dsn) as first, waiting_publisher(shop, to=["eve"], key="k") as other:
        hark.publish(first, "comment", to=BOB, key="k")
        second = other()
        first.commit()
        with pytest.raises(KeyReused):
            second.result()
    assert [row["recipients"] for row in shop.events()] == [["bob"]]


def test_publishers_without_a_common_key_do_not_wait_for_each_other(shop: Shop) -> None:
    with psycopg.connect(shop.dsn) as first, psycopg.connect(shop.dsn) as second:
        second.execute("set lock_timeout = '1ms'")
        hark.publish(first, "comment", to=BOB, entities=["post:7"], key="a")
        hark.publish(second, "comment", to=BOB, entities=["post:7"], key="b")
    assert len(shop.events()) == 2


def test_eight_threads_publish_each_key_once(shop: Shop) -> None:
    barrier = threading.Barrier(8)

    def publish_all() -> list[int]:
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            barrier.wait()
            return [hark.publish(connection, "comment", to=BOB, key=f"key:{n}") for n in range(25)]

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for future in [pool.submit(publish_all) for _ in range(8)]]
    assert len(shop.events()) == 25
    assert all(answer == answers[0] for answer in answers)


# What it costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subscribers", [0, 5_000])
def test_one_row_is_written_however_many_will_hear_of_it(shop: Shop, subscribers: int) -> None:
    everyone = [each.id for each in students(subscribers)]
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(
            "insert into hark.subscription select who, 'post:7', false, now() from unnest(%s::text[]) who", [everyone]
        )
    with psycopg.connect(shop.dsn) as connection:
        hark.publish(connection, "comment", entities=["post:7"], to=BOB)
        written = connection.execute(
            "select relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_xact_user_tables"
            " where schemaname = 'hark' and n_tup_ins + n_tup_upd + n_tup_del > 0"
        ).fetchall()
        read = connection.execute(
            "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'subscription'"
        ).fetchone()
    assert written == [("event", 1, 0, 0)]
    assert read == (0,)


def test_nobody_is_notified_on_the_commit_path(shop: Shop) -> None:
    """NOTIFY takes a lock that lets one transaction of the whole server commit at a time."""
    with psycopg.connect(shop.dsn) as connection:
        body = connection.execute("select prosrc from pg_proc where proname = 'publish'").fetchone()
    assert body is not None
    assert "notify" not in body[0].lower()
