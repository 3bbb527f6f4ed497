"""Which value of a setting is in force, from where, and what is said when it cannot be."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.batching import ChunkSize
from hark.config import (
    SettingFaults,
    Settings,
    explain_settings,
    flag,
    load_settings,
    unknown_variables,
    variable,
)
from hark.config.graphs import GraphAddress
from hark.config.settings import NAMES, READ, SECRETS, in_words
from hark.delivery.attempt import Sender
from hark.delivery.backoff import Backoff
from hark.durations import Rate
from hark.errors import BadInput, CatalogueFaults
from hark.guarded.addresses import Allowed
from hark.worker import Pace

SECRET = "whsec_" + "c2VjcmV0" * 4
NO_GRAPH = "is not an address of Neo4j; write neo4j://USER:PASSWORD@HOST:7687/DATABASE, or neo4j+s:// for TLS"
NO_SECRET = "is not whsec_ and 24 to 64 bytes in Base64; openssl rand -base64 32 makes some"
ALLOWED = Allowed.parse(["10.1.0.0/16", "feeds.internal"])
REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"


def load(folder: Path, file: str = "", *, flags: dict[str, object] | None = None, **variables: str) -> Settings:
    """The settings in a folder with `file` as `[settings]` of its hark.toml."""
    if file:
        (folder / "hark.toml").write_text(f"[settings]\n{file}\n")
    return load_settings(flags or {}, variables, folder)


def refused(folder: Path, file: str = "", *, flags: dict[str, object] | None = None, **variables: str) -> list[str]:
    with pytest.raises(SettingFaults) as caught:
        load(folder, file, flags=flags, **variables)
    return re.sub(r" {2,}", "  ", str(caught.value).replace(f"{folder}/", "")).splitlines()


def origins(folder: Path, **variables: str) -> dict[str, tuple[str, str]]:
    said = explain_settings({"concurrency": 2, "lease": None}, variables, folder)
    return {each.name: (each.value, each.origin.replace(f"{folder}/", "")) for each in said}


class TestOrder:
    def test_a_flag_comes_before_a_variable_before_the_file_before_the_default(self, tmp_path: Path) -> None:
        assert load(tmp_path).send_chunk == 50
        assert load(tmp_path, "send_chunk = 10").send_chunk == 10
        assert load(tmp_path, HARK_SEND_CHUNK="20").send_chunk == 20
        assert load(tmp_path, flags={"send_chunk": 30}, HARK_SEND_CHUNK="20").send_chunk == 30
        assert load(tmp_path, flags={"send_chunk": None}).send_chunk == 10

    def test_an_empty_variable_is_none(self, tmp_path: Path) -> None:
        assert load(tmp_path, HARK_SEND_CHUNK="", HARK_DATABASE_URL="").send_chunk == 50

    def test_the_file_is_the_one_that_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "other.toml").write_text("[settings]\nsend_chunk = 5")
        named = load(tmp_path, "send_chunk = 10", HARK_CATALOGUE=str(tmp_path / "other.toml"))
        assert (named.send_chunk, named.catalogue) == (5, tmp_path / "other.toml")

    def test_the_file_is_else_the_one_in_the_working_directory_if_there_is_one(self, tmp_path: Path) -> None:
        assert load(tmp_path).catalogue is None
        assert load(tmp_path, "send_chunk = 10").catalogue == tmp_path / "hark.toml"

    def test_what_is_not_a_setting_cannot_be_a_flag(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="no such settings: send_chunks"):
            load(tmp_path, flags={"send_chunks": 1})

    def test_explained(self, tmp_path: Path) -> None:
        (tmp_path / "hark.toml").write_text("[settings]\n\npoll_period = '2s'\n")
        said = origins(
            tmp_path, HARK_LOG_LEVEL="DEBUG", HARK_DATABASE_URL="postgresql://me:hunter2@db:5432/hark?x=hunter2"
        )
        assert said["concurrency"] == ("2", "--concurrency")
        assert said["log_level"] == ("debug", "HARK_LOG_LEVEL")
        assert said["poll_period"] == ("2s", "hark.toml:3")
        assert said["lease"] == ("30s", "default")
        assert said["data_dir"] == ("none", "default")
        assert said["auto_migrate"] == ("true", "default")
        assert said["catalogue"][1] == "working directory"
        assert said["database_url"] == ("postgresql://***@db:5432/hark", "HARK_DATABASE_URL")
        assert tuple(said) == NAMES


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "texts", "value"),
        [
            ("claim_chunk", ["300", " 300 "], 300),
            ("lease", ["90s", "90000ms"], timedelta(seconds=90)),
            ("auto_migrate", ["false", "NO", "off", "0"], False),
            ("auto_migrate", ["true", "Yes", "on", "1"], True),
            ("log_level", ["warning", "WARNING"], "warning"),
            ("rate_limit", ["100/s"], Rate(100, timedelta(seconds=1))),
            ("worker_rate_limit", ["50/m"], Rate(50, timedelta(minutes=1))),
            ("recipient_cap", ["20/d"], Rate(20, timedelta(days=1))),
            ("data_dir", ["/srv/hark"], Path("/srv/hark")),
            ("database_url", ["postgresql://u@h/d"], "postgresql://u@h/d"),
            ("database_url", ["host=/run dbname=x"], "host=/run dbname=x"),
            ("smtp_url", ["smtps://u:p@h:465"], "smtps://u:p@h:465"),
            ("webhook_secret", [SECRET, f" {SECRET} "], SECRET),
            ("graph_url", ["neo4j+s://u:p@h:7687/d", " neo4j+s://u:p@h:7687/d "], "neo4j+s://u:p@h:7687/d"),
            ("http_allow_private", ["10.1.0.0/16,Feeds.internal", " 10.1.0.0/16 , feeds.internal"], ALLOWED),
        ],
    )
    def test_are_read_from_texts(self, tmp_path: Path, name: str, texts: list[str], value: object) -> None:
        for text in texts:
            assert getattr(load(tmp_path, **{variable(name): text}), name) == value

    def test_are_read_from_what_toml_has(self, tmp_path: Path) -> None:
        found = load(tmp_path, "claim_chunk = 300\nauto_migrate = false\nlease = '90s'\ndata_dir = 'data'")
        assert (found.claim_chunk, found.auto_migrate, found.lease) == (300, False, timedelta(seconds=90))
        assert found.data_dir == tmp_path / "data"

    def test_a_list_may_be_one_in_toml(self, tmp_path: Path) -> None:
        assert load(tmp_path, "http_allow_private = ['10.1.0.0/16', 'feeds.internal']").http_allow_private == ALLOWED

    def test_home_is_that_of_the_user(self, tmp_path: Path) -> None:
        assert load(tmp_path, "data_dir = '~/hark'").data_dir == Path.home() / "hark"

    @pytest.mark.parametrize(
        ("name", "text", "what"),
        [
            ("claim_chunk", "many", '"many" is not a whole number from 1 to 10000'),
            ("claim_chunk", "0", '"0" is not a whole number from 1 to 10000'),
            ("claim_chunk", "1.5", '"1.5" is not a whole number from 1 to 10000'),
            ("lease", "4 minutes", '"4 minutes" is not a duration; write 4m'),
            ("lease", "60", '"60" is not a duration; write 1m'),
            ("lease", "2h", '"2h" is not from 5s to 1h'),
            ("auto_migrate", "maybe", '"maybe" is neither true nor false; write true or false'),
            ("log_level", "warn", '"warn": no such level; did you mean warning?'),
            ("data_dir", "a\x1bb", '"a\\u001Bb" is not a path'),
            ("data_dir", "~nobody-here/x", '"~nobody-here/x" is of a user without a home; write the whole path'),
            ("catalogue", "~nobody-here/x", '"~nobody-here/x" is of a user without a home; write the whole path'),
            ("database_url", "mysql://hunter2", "is not an address of Postgres; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
            ("smtp_url", "hunter2", "is not the URL of a mail server; write smtp://HOST:PORT or smtps://HOST:PORT"),
            ("rate_limit", "100", '"100" is not a rate; write 100/s, 30/m, 2/h or 5/d'),
            ("worker_rate_limit", "2 per hour", '"2 per hour" is not a rate; write 2/h'),
            ("recipient_cap", "1001/h", '"1001/h" is more than 1000 at a time; write less, or a shorter period'),
            ("webhook_secret", "hunter2", NO_SECRET),
            ("graph_url", "http://u:hunter2@h", NO_GRAPH),
            ("graph_url", "neo4j://u:hunter2@h:many", NO_GRAPH),
            ("webhook_secret", "whsec_hunter2", NO_SECRET),
            ("http_allow_private", "10.0.0.1/8", '"10.0.0.1/8" is not a network; write 10.1.0.0/16 or fd00:1::/64'),
            ("poll_floor", "2s", "2s is more than poll_period, 1s; write less, or more for poll_period"),
            ("backoff_base", "3h", "3h is more than backoff_cap, 2h; write less, or more for backoff_cap"),
            ("send_chunk", "201", "201 is more than claim_chunk, 200; write less, or more for claim_chunk"),
        ],
    )  # fmt: skip
    def test_are_refused_with_their_variable(self, tmp_path: Path, name: str, text: str, what: str) -> None:
        assert refused(tmp_path, **{variable(name): text}) == [f"{variable(name)}  {name}: {what}"]

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("claim_chunk = true", "claim_chunk: true is not a whole number from 1 to 10000"),
            ("claim_chunk = 0", "claim_chunk: 0 is not a whole number from 1 to 10000"),
            ("lease = 60", 'lease: "60" is not a duration; write 1m'),
            ("data_dir = 5", "data_dir: 5 is not a path"),
            ("data_dir = ''", 'data_dir: "" is not a path'),
            ("auto_migrate = []", "auto_migrate: a list is neither true nor false; write true or false"),
            ("send_chunks = 5", "send_chunks: no such setting; did you mean send_chunk?"),
            (
                "database_url = 'hunter2'",
                "database_url: is a secret; secrets come from the environment: set HARK_DATABASE_URL",
            ),
            ("smtp_url = 'hunter2'", "smtp_url: is a secret; secrets come from the environment: set HARK_SMTP_URL"),
            ("catalogue = 'x'", "catalogue: is the file that this stands in; name it by --catalogue or HARK_CATALOGUE"),
        ],
    )  # fmt: skip
    def test_are_refused_with_their_line(self, tmp_path: Path, line: str, what: str) -> None:
        assert refused(tmp_path, line) == [f"hark.toml:2  {what}"]

    def test_a_rate_is_shown_as_it_is_written(self, tmp_path: Path) -> None:
        assert in_words("rate_limit", load(tmp_path, "rate_limit = '2/h'").rate_limit) == "2/h"

    def test_all_at_once(self, tmp_path: Path) -> None:
        found = refused(tmp_path, "lease = 1\nx = 2", flags={"concurrency": 0}, HARK_LOG_LEVEL="loud")
        assert [line.split()[0] for line in found] == ["hark.toml:3", "hark.toml:2", "HARK_LOG_LEVEL", "--concurrency"]

    def test_settings_must_be_a_table(self, tmp_path: Path) -> None:
        (tmp_path / "hark.toml").write_text("settings = 5")
        assert refused(tmp_path) == ["hark.toml:1  settings: is not a table; write [settings] and its keys below"]

    def test_a_file_that_is_no_toml_is_its_own_fault(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogueFaults, match=r"hark\.toml:2  syntax"):
            load(tmp_path, "send_chunk =")
        with pytest.raises(CatalogueFaults, match="no such file"):
            load(tmp_path, HARK_CATALOGUE=str(tmp_path / "none.toml"))

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.sampled_from(NAMES),
        st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=12) | st.integers() | st.booleans(),
    )
    def test_whatever_is_given_is_read_or_refused(self, tmp_path: Path, name: str, value: object) -> None:
        try:
            load(tmp_path, flags={name: value})
        except BadInput as refusal:
            assert str(refusal)


class TestSecrets:
    def test_are_not_in_the_repr(self, tmp_path: Path) -> None:
        found = load(tmp_path, HARK_DATABASE_URL="postgresql://u:hunter2@h/d", HARK_SMTP_URL="smtp://u:hunter2@h")
        assert "hunter2" not in repr(found)
        assert found.database_url == "postgresql://u:hunter2@h/d"

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("postgresql://u:p@h:5432/d?sslmode=require", "postgresql://***@h:5432/d"),
            ("postgresql://h/d?password=p", "postgresql://h/d"),
            ("host=h password=p", "***"),
            ("smtp://h:25", "smtp://h:25"),
            ("postgresql://u:p/q@h/d", "***"),
            ("postgresql://[u:p@h/d", "***"),
        ],
    )
    def test_are_masked_in_words(self, url: str, shown: str) -> None:
        assert in_words("database_url", url) == shown

    @given(st.text(alphabet="SECRT@/?#:[]%&= \\", min_size=1))
    def test_are_masked_whatever_they_look_like(self, secret: str) -> None:
        assert not set(in_words("database_url", f"postgresql://me:{secret}@db.acme.example/hark")) & set("SECRT")


def test_variables_that_are_nearly_settings_are_named() -> None:
    environment = {"HARK_SEND_CHUNK": "1", "HARK_SENDCHUNK": "1", "HARK_XYZZY": "1", "HOME": "/"}
    assert unknown_variables(environment) == ["HARK_SENDCHUNK  no such setting; did you mean HARK_SEND_CHUNK?"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().lease = timedelta(0)  # type: ignore[misc]


class TestTheDefaults:
    def test_can_be_read_back(self, tmp_path: Path) -> None:
        texts = {name: in_words(name, getattr(Settings(), name)) for name in NAMES}
        assert load(tmp_path, **{variable(name): text for name, text in texts.items() if text != "none"}) == Settings()
        assert READ.keys() == set(NAMES) >= SECRETS

    def test_are_those_of_the_parts_that_they_are_for(self) -> None:
        ours = Settings()
        senders = {each.name: each.default for each in fields(Sender)}
        assert Backoff(ours.backoff_base, ours.backoff_cap, ours.max_attempts) == Backoff()
        assert Pace(ours.poll_floor, ours.poll_period) == Pace()
        assert (ours.fanout_events, ours.fanout_chunk) == (ChunkSize().events, ChunkSize().begun)
        for name in ("lease", "claim_chunk", "send_chunk"):
            assert getattr(ours, name) == senders[name]


def described() -> dict[str, list[str]]:
    """What the reference says of each setting: the other columns of its row."""
    found = re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", REFERENCE.read_text(), re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in found}


class TestTheReference:
    def test_has_every_setting_and_no_other(self) -> None:
        assert described().keys() == set(NAMES)

    @pytest.mark.parametrize("name", NAMES)
    def test_tells_variable_unit_default_and_meaning(self, name: str) -> None:
        told_variable, unit, default, meaning = described()[name]
        assert told_variable == f"`{variable(name)}`"
        assert default == in_words(name, getattr(Settings(), name))
        assert len(meaning) > 20
        assert ("secret" in unit) == (name in SECRETS)

    def test_tells_the_bounds_that_are_kept(self) -> None:
        bounds = {
            name: match.groups()
            for name, row in described().items()
            if (match := re.search(r"(\w+) to (\w+)$", row[1]))
        }
        assert len(bounds) == 18
        for name, (low, high) in bounds.items():
            assert in_words(name, READ[name](low)) == low
            assert in_words(name, READ[name](high)) == high
            above, below = f"{int(high)}0" if high.isdigit() else f"2{high}", "0" if low.isdigit() else "0s"
            for beyond in {above, below} - {low}:
                with pytest.raises(BadInput):
                    READ[name](beyond)


def test_flags_are_named_after_settings() -> None:
    assert flag("send_chunk") == "--send-chunk"


def test_an_address_of_a_graph_is_taken_apart() -> None:
    address = GraphAddress.parse("bolt+s://me:p%40ss@[::1]:7687/people")
    assert address == GraphAddress("bolt+s://[::1]:7687", ("me", "p@ss"), "people")
    assert "p@ss" not in repr(address)
    assert GraphAddress.parse("neo4j://h") == GraphAddress("neo4j://h", None, None)
