"""A URL says where mail goes and how safely; what is wrong with it is said at once, without the password."""

from __future__ import annotations

from pathlib import Path

import pytest

from hark.channels.smtp.server import Security, Server, parse_server
from hark.errors import BadInput

CA = str(Path(__file__).parent / "tls" / "ca.pem")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.acme.example", Server("mail.acme.example", 587, Security.REQUIRED)),
        ("smtp://mail.acme.example:25", Server("mail.acme.example", 25, Security.REQUIRED)),
        ("smtp://mail.acme.example?starttls=optional", Server("mail.acme.example", 587, Security.OPTIONAL)),
        ("smtp://mail.acme.example?starttls=never", Server("mail.acme.example", 587, Security.NEVER)),
        ("smtps://mail.acme.example", Server("mail.acme.example", 465, Security.TLS)),
        ("smtps://127.0.0.1", Server("127.0.0.1", 465, Security.TLS)),
        ("smtp://localhost:1025", Server("localhost", 1025, Security.NEVER)),
        ("smtp://127.0.0.1:1025", Server("127.0.0.1", 1025, Security.NEVER)),
        ("smtp://[::1]:1025", Server("::1", 1025, Security.NEVER)),
        ("smtp://localhost?starttls=required", Server("localhost", 587, Security.REQUIRED)),
        (
            "smtp://bob%40acme.example:p%3Aw%2F@mail.acme.example",
            Server("mail.acme.example", 587, Security.REQUIRED, "bob@acme.example", "p:w/"),
        ),
        (
            f"smtps://mail.acme.example?verify={CA}&helo=app.acme.example",
            Server("mail.acme.example", 465, Security.TLS, authorities=CA, helo="app.acme.example"),
        ),
    ],
)
def test_what_a_url_says(url: str, server: Server) -> None:
    assert parse_server(url) == server


@pytest.mark.parametrize(
    ("url", "faults"),
    [
        ("http://mail.acme.example", ["scheme"]),
        ("mail.acme.example:25", ["scheme"]),
        ("smtp://", ["host"]),
        ("smtp://host:port", ["not a URL"]),
        ("smtp://host/path", ["behind the host"]),
        ("smtp://host?starttls=maybe", ["starttls='maybe'"]),
        ("smtps://host?starttls=required", ["smtps://"]),
        ("smtp://host?insecure=1", ["no option 'insecure'"]),
        ("smtp://host?verify=none", ["verify='none'"]),
        ("smtp://host?helo=a%0D%0Ab", ["helo="]),
        ("smtp://bob:secret@host?starttls=never", ["in the clear"]),
        ("smtp://bob:secret@host/x?starttls=maybe&verify=nothing&x=1", ["behind", "maybe", "'x'", "verify="]),
    ],
)
def test_all_faults_of_a_url_at_once_and_never_the_password(url: str, faults: list[str]) -> None:
    with pytest.raises(BadInput) as refused:
        parse_server(url)
    text = str(refused.value)
    assert len(text.split("\n")) == len(faults)
    assert all(fault in text for fault in faults)
    assert "secret" not in text


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(parse_server("smtp://bob:secret@mail.acme.example"))


def test_what_verifies_must_be_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(BadInput, match="certificates"):
        parse_server(f"smtps://host?verify={tmp_path / 'ca.pem'}").tls_context()
