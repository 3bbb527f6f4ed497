"""The sink's side of one SMTP conversation (RFC 5321, 2920, 1870, 3207, 4954), as far as a rehearsal needs it."""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from typing import cast

from hark.channels.rehearsal import Abilities, HangUp, Moment, Received, Say, Script, Stall, Step, Wish

_PATH = re.compile(r"(?i:MAIL FROM|RCPT TO):\s*<([^<>\s]*)>(.*)")
_SIZE = re.compile(r"\bSIZE=(\d+)", re.IGNORECASE)


class Conversation(asyncio.Protocol):
    """One connection, from greeting to QUIT. Answers to what came together go out together."""

    def __init__(
        self,
        abilities: Abilities,
        script: Script,
        on_mail: Callable[[Received], object],
        number: int,
        all_open: set[Conversation],
    ) -> None:
        self._abilities = abilities
        self._script = script
        self._on_mail = on_mail
        self._number = number
        self._all_open = all_open
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the connection is closed."""
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._output: list[bytes] = []
        self._busy = False
        """Nothing is read: the script stalls, or TLS is being set up."""
        self._content_from: int | None = None
        """While content comes: up to where it was searched for its end."""
        self._login: list[str] | None = None
        """While AUTH LOGIN goes on: what was given so far."""
        self._logged_in = abilities.login is None
        self._encrypted = abilities.tls_from_start
        self._message = 1
        self._line = ""
        self._sender: str | None = None
        self._recipients: list[str] = []

    def hang_up(self) -> None:
        self._busy = True
        if self._transport is not None:
            self._flush()
            self._transport.close()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._all_open.add(self)
        self._step(Step.GREETING, "220 sink.hark ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all_open.discard(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._input += data
        while not self._busy and (self._read_line() if self._content_from is None else self._read_content()):
            pass
        self._flush()

    # Reading.

    def _read_line(self) -> bool:
        end = self._input.find(b"\n")
        if end < 0:
            return False
        line = self._input[:end].rstrip(b"\r").decode("utf-8", "replace")
        del self._input[: end + 1]
        if self._login is not None:
            self._continue_login(line)
        else:
            self._command(line)
        return True

    def _read_content(self) -> bool:
        wish = self._act(Step.CONTENT, self._recipient) if self._content_from == 0 and self._input else None
        if wish is not None:
            self._stop_reading()
            if isinstance(wish, Say):
                self.hang_up()
            return False
        empty = self._input.startswith(b".\r\n")
        end = 0 if empty else self._input.find(b"\r\n.\r\n", max(0, (self._content_from or 0) - 4)) + 2
        if not empty and end < 2:
            self._content_from = len(self._input)
            return False
        content = bytes(self._input[:end])
        del self._input[: end + 3]
        self._content_from = None
        self._end(content)
        return True

    def _stop_reading(self) -> None:
        self._busy = True
        if self._transport is not None:
            self._transport.pause_reading()

    def _command(self, line: str) -> None:
        self._line = line
        verb = line.split(" ", 1)[0].upper()
        if verb == "QUIT":
            self._say("221 2.0.0 Bye")
            self.hang_up()
        elif verb in ("EHLO", "HELO"):
            self._greet(verb)
        elif verb == "STARTTLS" and self._abilities.tls is not None and not self._encrypted:
            self._start_tls(self._abilities.tls)
        elif verb == "AUTH" and self._abilities.login is not None:
            self._authenticate(line.split(" "))
        elif verb in ("MAIL", "RCPT", "DATA"):
            self._transact(verb, line)
        elif verb in ("RSET", "NOOP"):
            self._step(Step.RSET, "250 2.0.0 Ok")
            self._forget()
        else:
            self._say("500 5.5.2 Not a command here")

    # Answering.

    def _say(self, *lines: str) -> None:
        for line in lines[:-1]:
            self._output.append(f"{line[:3]}-{line[4:]}\r\n".encode())
        self._output.append(f"{lines[-1]}\r\n".encode())

    def _flush(self) -> None:
        if self._output and self._transport is not None:
            self._transport.write(b"".join(self._output))
            self._output.clear()

    def _step(self, step: Step, *lines: str, recipient: str = "") -> bool:
        """Ask the script; say the lines where it has no wish. True: go on."""
        wish = self._act(step, recipient)
        if wish is None:
            self._say(*lines)
        return wish is None or (isinstance(wish, Say) and wish.ok)

    def _act(self, step: Step, recipient: str = "") -> Wish | None:
        """Do what the script wants at this step."""
        moment = Moment(step, self._number, self._message, self._sender or "", recipient, self._line)
        wish = self._script(moment)
        if isinstance(wish, Say):
            self._output.append(wish.raw)
        if isinstance(wish, HangUp) or (isinstance(wish, Say) and wish.then_close):
            self.hang_up()
        if isinstance(wish, Stall):
            self._busy = True
        return wish

    # The conversation.

    def _greet(self, verb: str) -> None:
        if verb == "EHLO" and not self._abilities.ehlo:
            self._say("502 5.5.1 Not implemented")
            return
        offers = list(self._offers()) if verb == "EHLO" else []
        self._step(Step.EHLO, "250 sink.hark", *offers)

    def _offers(self) -> Iterator[str]:
        if self._abilities.pipelining:
            yield "250 PIPELINING"
        if self._abilities.size is not None:
            yield f"250 SIZE {self._abilities.size}"
        if self._abilities.tls is not None and not self._encrypted:
            yield "250 STARTTLS"
        if self._abilities.login is not None and (self._encrypted or self._abilities.tls is None):
            yield f"250 AUTH {' '.join(self._abilities.mechanisms)}"
        yield "250 ENHANCEDSTATUSCODES"

    def _start_tls(self, context: ssl.SSLContext) -> None:
        if not self._step(Step.STARTTLS, "220 2.0.0 Ready"):
            return
        self._stop_reading()  # what comes behind the 220 is for the TLS layer, and has to wait until that is there
        self._flush()
        self._input.clear()
        self._handshake = asyncio.get_running_loop().create_task(self._go_over(context))

    async def _go_over(self, context: ssl.SSLContext) -> None:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(self._transport, self, context, server_side=True)
        except OSError:
            self._transport.abort()
            return
        if secured is not None:
            self._transport, self._encrypted, self._busy = secured, True, False
            self.data_received(b"")  # what the client said before this task was woken

    def _authenticate(self, words: list[str]) -> None:
        if self._act(Step.AUTH):
            return
        if len(words) == 3 and words[1].upper() == "PLAIN":
            self._check_login(_decoded(words[2]).split("\0")[1:])
        elif len(words) == 2 and words[1].upper() == "LOGIN":
            self._login = []
            self._say("334 VXNlcm5hbWU6")
        else:
            self._say("504 5.5.4 No such mechanism here")

    def _continue_login(self, line: str) -> None:
        assert self._login is not None
        self._login.append(_decoded(line))
        if len(self._login) == 1:
            self._say("334 UGFzc3dvcmQ6")
            return
        given, self._login = self._login, None
        self._check_login(given)

    def _check_login(self, given: list[str]) -> None:
        self._logged_in = given == list(self._abilities.login or ())
        self._say("235 2.7.0 Welcome" if self._logged_in else "535 5.7.8 User or password is wrong")

    def _transact(self, verb: str, line: str) -> None:
        if not self._logged_in:
            self._say("530 5.7.0 Authentication required")
        elif verb == "MAIL":
            self._mail(line)
        elif verb == "RCPT":
            self._rcpt(line)
        else:
            self._data()

    def _mail(self, line: str) -> None:
        match = _PATH.fullmatch(line)
        size = _SIZE.search(line)
        if not match:
            self._say("501 5.1.7 Bad sender address syntax")
        elif self._sender is not None:
            self._say("503 5.5.1 Nested MAIL command")
        elif size and self._abilities.size is not None and int(size[1]) > self._abilities.size:
            self._say("552 5.3.4 Message size exceeds fixed limit")
        elif self._step(Step.MAIL, "250 2.1.0 Ok"):
            self._sender = match[1]

    def _rcpt(self, line: str) -> None:
        match = _PATH.fullmatch(line)
        if self._sender is None:
            self._say("503 5.5.1 MAIL first")
        elif not match or "@" not in match[1]:
            self._say("501 5.1.3 Bad recipient address syntax")
        elif self._step(Step.RCPT, "250 2.1.5 Ok", recipient=match[1]):
            self._recipients.append(match[1])

    def _data(self) -> None:
        wish = self._act(Step.DATA, self._recipient)
        if wish is not None:
            # 354 where nobody is to get anything: RFC 2920 says what a client does then.
            self._content_from = 0 if isinstance(wish, Say) and wish.raw.startswith(b"354") else None
        elif not self._recipients:
            self._say("554 5.5.1 No valid recipients")
        else:
            self._say("354 End data with <CR><LF>.<CR><LF>")
            self._content_from = 0

    def _end(self, content: bytes) -> None:
        wish = self._act(Step.END, self._recipient)
        if wish is None and not self._recipients:
            self._say("554 5.5.1 No valid recipients")
        elif wish is None or (isinstance(wish, HangUp) and wish.stored) or (isinstance(wish, Say) and wish.ok):
            self._take(content)
        if wish is None and self._recipients:
            self._say(f"250 2.0.0 Ok: queued as {self._number}-{self._message}")
        self._message += 1
        self._forget()

    def _take(self, content: bytes) -> None:
        plain = content[1:] if content.startswith(b".") else content
        self._on_mail(Received(self._sender or "", tuple(self._recipients), plain.replace(b"\r\n.", b"\r\n")))

    @property
    def _recipient(self) -> str:
        return self._recipients[0] if self._recipients else ""

    def _forget(self) -> None:
        self._sender = None
        self._recipients = []


def _decoded(word: str) -> str:
    try:
        return b64decode(word, validate=True).decode("utf-8", "replace")
    except (Base64Error, ValueError):
        return ""
