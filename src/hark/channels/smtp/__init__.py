"""E-mail over SMTP (RFC 5321): pooled, kept-alive connections, pipelined (RFC 2920), one certain outcome a message.

server ─▶ opening ─▶ session ─▶ exchange ─▶ replies
the URL   EHLO, TLS,  one        messages    what the
          AUTH        connection over it     server said
"""

from __future__ import annotations

from hark.channels.smtp.channel import SmtpChannel
from hark.channels.smtp.server import Security, Server, Timeouts, parse_server

__all__ = ["Security", "Server", "SmtpChannel", "Timeouts", "parse_server"]
