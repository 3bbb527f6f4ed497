"""Asking a source of the product's, a callable or an endpoint: how. What is asked, feeds and rechecks say."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache, partial, reduce
from typing import Annotated, Any, Protocol, TypeVar

from httpx2 import URL
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError

from hark import questions
from hark.catalogue import CypherSource, PythonSource, Source, SqlSource, UrlSource
from hark.errors import GraphRefused, GraphTooSlow, HarkError, SourceFailed
from hark.guarded.client import Guarded, place
from hark.logs import Log
from hark.questions import Question, at_work, in_a_thread, raised_in

M = TypeVar("M", bound=BaseModel)

_log = Log(__name__)
_OF_WHAT_WAS_ASKED = (400, 422, 500)
"""Statuses of an endpoint that broke on what it was asked; those of a product that is away are others."""
_TOOK_TOO_LONG = 504
"""What a gateway answers that waited for it."""

_ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class GraphRows(Protocol):
    """A graph that feeds may ask."""

    async def rows(self, statement: str, given: Mapping[str, Any], patience: timedelta) -> list[dict[str, Any]]:
        """What a statement that only reads gives, by column.

        Raises:
            HarkError: it is away, refuses, or did not answer in time.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asking:
    """With what sources are asked: the way out, how long an answer may take, and the graph, if there is one."""

    client: Guarded = field(default_factory=Guarded)
    timeout: timedelta = timedelta(seconds=30)
    graph: GraphRows | None = None


def as_part(source: SqlSource) -> str:
    """A query as it stands between the parentheses of a common table expression that psycopg runs with parameters.

    On lines of its own, because its last line may end in a comment; each `%` doubled, because it is none of psycopg's.
    """
    return "\n" + source.sql.replace("%", "%%") + "\n"


def load(source: PythonSource) -> Callable[..., Any]:
    """The callable that a source names.

    Raises:
        SourceFailed: it cannot be imported, or is none; says why.
    """
    return _loaded(source.path)


Reading = Callable[[Any], object]
"""What is made of an answer; it runs a product's code, as an answer may be read lazily."""


async def call(source: PythonSource, about: object, asking: Asking, reading: Reading | None = None) -> object:
    """What a callable answers; one that is not async is called in a thread of its own, and any answer is read in one.

    One that is async is run in the loop of whoever asks, to which clients of the product's may belong.

    Args:
        reading: what is made of the answer, where it may raise whatever it may; None: what is no list is listed.

    Raises:
        SourceFailed: it raised whatever it may (what ends or cancels a task of its own, too), took too long (a thread
            cannot be stopped: it ends by itself, or with the process, and is not heard), or is still at
            `hark.questions.MOST_UNANSWERED` questions that it was to have answered.
    """
    question = Question(source.path, about, asking.timeout)
    asked = asyncio.create_task(_asked(question, load(source), reading or _listed))
    try:
        done, _ = await asyncio.wait({asked}, timeout=asking.timeout.total_seconds())
    finally:
        question.given_up = not asked.done()
        asked.cancel()
    if not done:
        raise SourceFailed(f"{source.path} did not answer within {_seconds(asking)}", too_slow=True)
    error = asyncio.CancelledError() if asked.cancelled() else asked.exception()
    if error is None:
        return asked.result()
    if isinstance(error, SourceFailed):
        raise error
    _log.warning("source_raised", source=source.path, error=type(error).__name__)
    # Not from the error: it may quote what was asked, and logs print what hangs on an exception.
    raise SourceFailed(f"{source.path} raised {raised_in(error)}", of_the_data=True)


def unanswered(source: PythonSource, within: timedelta) -> list[object]:
    """What a callable was asked about in vain, not longer ago than that, and still is at."""
    return questions.unanswered(source.path, within)


async def post(source: UrlSource, question: Mapping[str, object], answer: type[M], asking: Asking) -> M:
    """What an endpoint answers to a question in JSON, checked whole.

    Raises:
        SourceFailed: it cannot be reached, answers another status than 200, or not what it should.
    """
    try:
        # The client's own patience is longer: it does not say whether a server was slow, or is not there.
        async with asyncio.timeout(asking.timeout.total_seconds()):
            given = await asking.client.post(source.url, question, patience=2 * asking.timeout)
    except TimeoutError:
        raise SourceFailed(
            f"{place(URL(source.url))} gave no answer within {_seconds(asking)}", too_slow=True
        ) from None
    except HarkError as error:
        raise SourceFailed(str(error)) from None
    if given.status != 200:
        raise SourceFailed(
            f"the endpoint answered with status {given.status}, not 200",
            of_the_data=given.status in _OF_WHAT_WAS_ASKED,
            too_slow=given.status == _TOOK_TOO_LONG,
        )
    try:
        return answer.model_validate_json(given.body)
    except ValidationError as error:
        failure = SourceFailed(f"the endpoint's answer: {first_fault(error)}", of_the_data=_is_of_some(error))
    raise failure


async def ask_graph(source: CypherSource, given: Mapping[str, Any], asking: Asking) -> list[dict[str, Any]]:
    """What the graph answers to a query, by column.

    Raises:
        SourceFailed: there is no graph, it is away, refuses, or took too long.
    """
    if asking.graph is None:
        raise SourceFailed(f"{source.file or 'its query'} asks the graph, and none is set: set HARK_GRAPH_URL")
    try:
        return await asking.graph.rows(source.cypher, given, asking.timeout)
    except GraphRefused as error:
        raise SourceFailed(str(error), of_the_data=True) from None
    except HarkError as error:
        raise SourceFailed(str(error), too_slow=isinstance(error, GraphTooSlow)) from None


def kind_of(source: Source) -> str:
    """A source for people: its file or path; of an endpoint only that it is one, as its URL may hold a secret."""
    match source:
        case SqlSource(_, file):
            return file or "its query"
        case PythonSource(path):
            return path
    return "its endpoint"


# What answers are made of --------------------------------------------------------------------------------------------


def _sayable(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a zero byte, which Postgres cannot keep")
    return text


def _json(payload: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be written as JSON ({type(error).__name__})") from None
    if _ZERO.search(text):
        raise ValueError("has a zero byte, which Postgres cannot keep")
    return payload


Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_sayable)]
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_sayable)]
Moment = AwareDatetime
Payload = Annotated[dict[str, Any], AfterValidator(_json)]


class Answer(BaseModel):
    """The base of what sources answer: nothing is taken for something else, and no key is overlooked."""

    model_config = ConfigDict(strict=True, extra="forbid")


def validated(answer: type[M], content: object) -> M:
    """What a callable gave, checked as an endpoint's answer is.

    Raises:
        SourceFailed: names the first field that is wrong, never its value.
    """
    try:
        return answer.model_validate(content)
    except ValidationError as error:
        failure = SourceFailed(f"its answer: {first_fault(error)}", of_the_data=_is_of_some(error))
    raise failure


def first_fault(error: ValidationError) -> str:
    """`items[3].at: Input should have timezone info, and 2 more faults`; never a value."""
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    more = f", and {len(others)} more {'fault' if len(others) == 1 else 'faults'}" if others else ""
    return f"{_place(first['loc'])}: {first['msg'].removeprefix('Value error, ')}{more}"


def _is_of_some(error: ValidationError) -> bool:
    """Whether what is wrong is within single items: the answer about others may be as it should."""
    return all(any(isinstance(part, int) for part in each["loc"]) for each in error.errors())


def _place(loc: Iterable[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}"[:80] for part in loc)
    return "".join(parts).removeprefix(".") or "it"


# Callables -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _loaded(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    try:
        found: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    except Exception as error:
        raise SourceFailed(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise SourceFailed(f"{path} is no function")
    return found  # type: ignore[no-any-return]


async def _asked(question: Question, function: Callable[..., Any], reading: Reading) -> Any:
    """In a task of its own: what it raises, were it that it is canceled or that all is to end, is said of it alone."""
    try:
        with at_work(question):
            if inspect.iscoroutinefunction(function):
                answered = await function(question.about)
            else:
                answered = await in_a_thread(question, partial(_whole, function, question.about, reading))
                if not inspect.isawaitable(answered):
                    return answered
                answered = await answered
            return await in_a_thread(question, partial(reading, answered))
    except (SystemExit, KeyboardInterrupt) as error:
        failure = SourceFailed(f"{question.of} raised {raised_in(error)}", of_the_data=True)
    raise failure


def _whole(function: Callable[[object], Any], about: object, reading: Reading) -> Any:
    """What is made of what a function gives; what is to be awaited is given as it is."""
    answered = function(about)
    return answered if inspect.isawaitable(answered) else reading(answered)


def _listed(answered: object) -> object:
    """Whatever can be gone through as a list: a generator, or a query that is sent only then, runs here to its end."""
    return list(answered) if isinstance(answered, Iterable) and type(answered) not in (list, tuple) else answered


def _seconds(asking: Asking) -> str:
    return f"{asking.timeout.total_seconds():g} s"
