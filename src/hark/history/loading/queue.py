"""Steps driven through SQS: a message is a hint that a step of a run is to be worked at; whether it is, Postgres says.

So a message that comes twice, late or never changes nothing: what is done is not done again, and what is not is hinted
at again. Messages that are none of Hark's are left where they are.

Needs the extra `sqs`. The library's calls wait, so each is made in a thread.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hark.errors import BadInput, HarkError, Unreachable
from hark.history.fact import Kind

T = TypeVar("T")

AT_ONCE = 10
"""Messages of one call: as many as SQS takes."""
HIDDEN_S = 120
"""For how long a message that was received is hidden from others; then it comes again, unless it was deleted."""
LISTENERS = 4
"""Of one batch so many calls listen at once; a process works at three batches."""
WAIT_S = 1
"""How long an empty queue is listened to."""
_WORDS = {Kind.RECEIPT: "receipt", Kind.ORDER: "shop"}
_KINDS = {word: kind for kind, word in _WORDS.items()}
_REGION = re.compile(r"(?:^|\.)sqs[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.|^([a-z]{2}(?:-[a-z]+)+-\d)\.queue\.")
_ANY_REGION = "us-east-1"
"""For servers that are not Amazon's: they do not care, and requests must be signed for one."""


_CALLS = 3 * LISTENERS + 2


class QueueAway(Unreachable):
    """The queue does not answer, or cannot now."""


class QueueRefused(BadInput):
    """There is no such queue, or it is not to be used so."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A step of a run that is to be worked at. Its key is `receipt-<run>` or `shop-<run>`."""

    run: int
    user_id: str
    kind: Kind

    def to_text(self) -> str:
        """As a message's body."""
        return json.dumps({"user_id": self.user_id, "step": f"{_WORDS[self.kind]}-{self.run}"})

    @classmethod
    def from_text(cls, text: str) -> Hint | None:
        """A message's body; None: it is none of Hark's."""
        try:
            said = json.loads(text)
            word, _, run = said["step"].partition("-")
            return cls(int(run), str(said["user_id"]), _KINDS[word])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Received:
    """A message, and by what it is deleted."""

    hint: Hint | None
    receipt: str


@dataclass(frozen=True, slots=True)
class Depth:
    """About how many messages wait, and how many were received and are not deleted yet."""

    waiting: int
    in_flight: int

    def __str__(self) -> str:
        return f"{self.waiting:,} waiting, {self.in_flight:,} in flight"


@dataclass(frozen=True, slots=True)
class StepQueue:
    """One queue. All of its calls raise `QueueAway` or `QueueRefused`.

    Attributes:
        threads: its own: whoever listens to an empty queue keeps one.
    """

    url: str
    client: Any
    threads: ThreadPoolExecutor

    async def depth(self) -> Depth:
        """How full it is."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        said = await self._call(lambda: self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names))
        waiting, in_flight = (int(said["Attributes"][name]) for name in names)
        return Depth(waiting, in_flight)

    async def send(self, hints: Sequence[Hint]) -> None:
        """Put hints in; what SQS drops of them is hinted at again later."""
        for some in _cut(hints):
            entries = [{"Id": str(place), "MessageBody": hint.to_text()} for place, hint in enumerate(some)]
            await self._call(partial(self.client.send_message_batch, QueueUrl=self.url, Entries=entries))

    async def receive(self) -> list[Received]:
        """The next messages, as many as there are for one call; none, if none came in a second."""
        said = await self._call(
            lambda: self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=AT_ONCE, WaitTimeSeconds=WAIT_S, VisibilityTimeout=HIDDEN_S
            )
        )
        return [Received(Hint.from_text(each["Body"]), each["ReceiptHandle"]) for each in said.get("Messages", ())]

    async def delete(self, messages: Sequence[Received]) -> None:
        """They are not needed any more."""
        for some in _cut(messages):
            entries = [{"Id": str(place), "ReceiptHandle": each.receipt} for place, each in enumerate(some)]
            await self._call(partial(self.client.delete_message_batch, QueueUrl=self.url, Entries=entries))

    async def leave(self, messages: Sequence[Received], seconds: int) -> None:
        """They are for others, who shall see them again after so many seconds."""
        for some in _cut(messages):
            entries = [
                {"Id": str(place), "ReceiptHandle": each.receipt, "VisibilityTimeout": seconds}
                for place, each in enumerate(some)
            ]
            await self._call(partial(self.client.change_message_visibility_batch, QueueUrl=self.url, Entries=entries))

    async def _call(self, call: Callable[[], T]) -> T:
        def called() -> T:
            with _translated(self.url):
                return call()

        return await asyncio.get_running_loop().run_in_executor(self.threads, called)

    def close(self) -> None:
        """Listen no more; who listens just now hears of nothing within a second or two."""
        self.threads.shutdown(wait=False, cancel_futures=True)


def check_url(url: str) -> str:
    """A queue's URL, as its owner's console shows it.

    Raises:
        BadInput: it is none, or of a queue that hands out one message at a time.
    """
    said = f"--queue-url: {url[:200]!r}"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises, if it is no number)
    except ValueError:
        parts = urlsplit("")
    names = parts.path.strip("/").split("/")
    if (
        parts.scheme not in ("https", "http")
        or not parts.hostname
        or len(names) != 2
        or not all(names)
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise BadInput(f"{said} is no queue's URL; write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")
    if names[1].endswith(".fifo"):
        raise BadInput(f"{said} is a FIFO queue; make a standard one: the order of steps means nothing here")
    return url


def open_queue(url: str) -> StepQueue:
    """A queue by its URL; nothing is asked yet. Keys are found as AWS's own tools find them.

    Raises:
        BadInput: the URL is none; QueueRefused: the library is not installed.
    """
    parts = urlsplit(check_url(url))
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise QueueRefused("--queue-url: SQS needs its library: pip install 'hark[sqs]'") from None
    named = _REGION.search(parts.hostname or "")
    client = boto3.client(
        "sqs",
        endpoint_url=f"{parts.scheme}://{parts.netloc}",
        region_name=next(filter(None, named.groups())) if named else boto3.Session().region_name or _ANY_REGION,
        config=Config(
            connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2}, max_pool_connections=_CALLS
        ),
    )
    return StepQueue(url, client, ThreadPoolExecutor(_CALLS, "queue"))


async def check_queue(url: str) -> Depth:
    """Whether a queue is there and may be used, before anything begins.

    Raises:
        QueueRefused: there is none, or it may not be read.
        QueueAway: it does not answer.
    """
    queue = open_queue(url)
    try:
        return await queue.depth()
    finally:
        queue.close()


@contextmanager
def _translated(url: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise QueueRefused("--queue-url: no keys for SQS; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
    except ClientError as error:
        raise _refused(url, error.response) from None
    except BotoCoreError as error:
        raise QueueAway(f"the queue {url} does not answer: {type(error).__name__}") from None


def _refused(url: str, response: Mapping[str, Any]) -> HarkError:
    code = str(response.get("Error", {}).get("Code", "no code"))
    if "NonExistentQueue" in code or "QueueDoesNotExist" in code:
        return QueueRefused(f"--queue-url: there is no queue {url}; make it, or name another one")
    if response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (401, 403):
        return QueueRefused(f"--queue-url: {url} is not to be used with these keys: {code}")
    return QueueAway(f"the queue {url} cannot now: {code}")


def _cut(each: Sequence[T]) -> Iterator[Sequence[T]]:
    return (each[begin : begin + AT_ONCE] for begin in range(0, len(each), AT_ONCE))
