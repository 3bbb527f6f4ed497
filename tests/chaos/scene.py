"""Hark as a chaos test sees it from outside: what is published, what the tables say, and whether that adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from hark.catalogue import Calendar, Catalogue, Category, Channel, Frequency, Reason, Templates, Windows
from tests.servers import eventually

POST = "post:1"
STUCK_AFTER_S = 45.0
"""Nothing may be left to do this long after a kill."""


def _reason(
    name: str, frequency: Frequency, templates: Templates | None = None, *, at_least_once: bool = False
) -> Reason:
    return Reason(
        name=name,
        title=name.replace("_", " ").capitalize(),
        channels={"Students": (Channel.EMAIL, Channel.IN_APP)},
        frequency=frequency,
        windows=Windows(timedelta(minutes=4), timedelta(hours=1)),
        group=name,
        category=Category.ACTIVITY,
        templates=templates or Templates(),
        at_least_once=at_least_once,
    )


_REASONS = (
    _reason("comment", Frequency.BATCHED),
    _reason("mention", Frequency.IMMEDIATE),
    _reason("receipt", Frequency.IMMEDIATE, at_least_once=True),
    _reason("ratio", Frequency.IMMEDIATE, Templates(text="{{ payload.won / payload.played }} won")),
)
CATALOGUE = Catalogue(
    user_types={"Students": "People who look for a job"},
    reasons={reason.name: reason for reason in _REASONS},
    email=None,
    calendar=Calendar(),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How deliveries ended: `unknown_taken` the sink has, `unknown_lost` it never saw."""

    accepted: int = 0
    unknown_taken: int = 0
    unknown_lost: int = 0
    canceled: int = 0

    @property
    def unknown(self) -> int:
        return self.unknown_taken + self.unknown_lost

    @property
    def total(self) -> int:
        return self.accepted + self.unknown + self.canceled


@dataclass(frozen=True, slots=True)
class Scene:
    """One database with the catalogue in it. Every look is on a connection of its own, so that servers may die."""

    dsn: str

    def rows(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(sql, params).fetchall()

    def one(self, sql: str, *params: object) -> Any:
        """The only value that the database says."""
        ((value,),) = self.rows(sql, *params)
        return value

    def enrol(self, count: int, entity: str = POST) -> None:
        """So many students that e-mail reaches, all subscribed to an entity."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "insert into hark.recipient (id, user_type, address, confirmed, updated_at)"
                " select 's' || n, 'Students', 's' || n || '@school.example', true, now()"
                "   from generate_series(1, %s) n on conflict do nothing",
                [count],
            )
            connection.execute(
                "insert into hark.subscription (recipient_id, entity, since)"
                " select 's' || n, %s, now() from generate_series(1, %s) n",
                [entity, count],
            )
            connection.execute("analyze hark.recipient, hark.subscription")

    def enrol_as(self, *names: str) -> None:
        """Students by these names, who subscribe to nothing; their addresses begin with their names."""
        self.rows(
            "insert into hark.recipient (id, user_type, address, confirmed, updated_at)"
            " select name, 'Students', name || '@school.example', true, now()"
            "   from unnest(%s::text[]) name returning id",
            list(names),
        )

    def publish(self, reason: str, *keys: str, entity: str = POST) -> None:
        """Events of two hours ago, so that their messages are due at once; all in one transaction."""
        with psycopg.connect(self.dsn) as connection:
            for key in keys:
                connection.execute(
                    "select hark.publish(%s, entities => array[%s], key => %s,"
                    " published_at => now() - interval '2 hours')",
                    [reason, entity, key],
                )

    def publish_to(self, reason: str, recipients: Sequence[str], payload: Mapping[str, object] | None = None) -> None:
        """One event for named recipients."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "select hark.publish(%s, recipients => %s, payload => %s, published_at => now() - interval '2 hours')",
                [reason, list(recipients), Jsonb(dict(payload or {}))],
            )

    def unfinished(self) -> int:
        """How many events and deliveries are not through yet."""
        return int(
            self.one(
                "select (select count(*) from hark.event where fanned_out_at is null)"
                "     + (select count(*) from hark.delivery where state in ('PENDING', 'SENDING'))"
            )
        )

    def is_settled(self) -> bool:
        """Whether nothing is left to do; also False while the database cannot be asked."""
        try:
            return self.unfinished() == 0
        except psycopg.OperationalError:
            return False

    def settles(self, patience_s: float = STUCK_AFTER_S) -> None:
        """Wait until nothing is left to do."""
        eventually(self.is_settled, "every event is fanned out, and every delivery SENT or CANCELED", patience_s)

    def holds(self, worker: str) -> int:
        """How many deliveries a worker has claimed and not marked."""
        return int(self.one("select count(*) from hark.delivery where state = 'SENDING' and worker = %s", worker))

    def record(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """All that is written down of deliveries, to be compared."""
        return (
            self.rows("select * from hark.delivery order by recipient_id, id"),
            self.rows("select * from hark.delivery_history order by id"),
        )


def audit(scene: Scene, taken: Mapping[int, int]) -> Tally:
    """Hold what the tables say against what the sink took, by delivery; how deliveries ended.

    Raises:
        AssertionError: something was sent twice, lost, made up, or written down otherwise than it happened.
    """
    ends = {
        each: (state, outcome) for each, state, outcome in scene.rows("select id, state, outcome from hark.delivery")
    }
    twice = {each: count for each, count in taken.items() if count > 1}
    assert not twice, f"sent more than once: {twice}"
    assert taken.keys() <= ends.keys(), "the sink took what the database does not know"
    accepted = {each for each, end in ends.items() if end == ("SENT", "accepted")}
    unknown = {each for each, end in ends.items() if end == ("SENT", "unknown")}
    canceled = {each for each, (state, _) in ends.items() if state == "CANCELED"}
    assert accepted | unknown | canceled == ends.keys(), f"unfinished: {Counter(ends.values())}"
    assert accepted <= taken.keys(), "written down as accepted, and the sink never took it"
    assert not canceled & taken.keys(), "written down as not sent, and the sink took it"
    _audit_fan_out(scene)
    _audit_history(scene)
    return Tally(len(accepted), len(unknown & taken.keys()), len(unknown - taken.keys()), len(canceled))


def _audit_fan_out(scene: Scene) -> None:
    """Each recipient of each event was told once, in a delivery that counts it."""
    wrong_events = scene.rows(
        "select e.id, e.matched, count(n.event_id) from hark.event e left join hark.notification n on n.event_id = e.id"
        " group by e.id having e.matched <> count(n.event_id) or e.fanned_out_at is null"
    )
    assert not wrong_events, f"events whose fan-out does not add up: {wrong_events}"
    wrong_deliveries = scene.rows(
        "select d.id, d.items, count(n.event_id) from hark.delivery d left join hark.notification n"
        "    on n.recipient_id = d.recipient_id and n.email_delivery = d.id"
        " group by d.recipient_id, d.id having d.items <> count(n.event_id)"
    )
    assert not wrong_deliveries, f"deliveries whose items do not add up: {wrong_deliveries[:10]}"


def _audit_history(scene: Scene) -> None:
    """Each step begins where the one before ended, the last one ends where the delivery is; marked once a hand-over."""
    broken = scene.rows(
        "select recipient_id, delivery_id, id from ("
        "  select h.*, lag(row(to_state, to_outcome), 1, row('PENDING'::hark.delivery_state, 'none'::hark.outcome))"
        "                over (partition by recipient_id, delivery_id order by id) as before"
        "    from hark.delivery_history h) steps where before <> row(from_state, from_outcome)"
    )
    assert not broken, f"history with a gap: {broken[:10]}"
    marked = scene.rows(
        "select delivery_id from hark.delivery_history group by recipient_id, delivery_id"
        " having count(*) filter (where to_state = 'SENT' and to_outcome = 'unknown')"
        "      - count(*) filter (where from_state = 'SENT' and to_state = 'PENDING') > 1"
    )
    assert not marked, f"marked again without having been given back: {marked[:10]}"
