"""The guarded client: real servers on the loopback, and a resolver that lies."""

from __future__ import annotations

import gzip
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hark.errors import BadInput, Blocked, Unreachable
from hark.guarded.addresses import Allowed
from hark.guarded.client import Guarded, Resolve
from hark.guarded.urls import url_fault
from tests.guarded.serving import said, serving

LOOPBACK = Allowed.parse(["127.0.0.0/8"])


def resolving(*answers: Sequence[str]) -> tuple[Resolve, list[str]]:
    """A resolver that gives these answers in turn, the last for ever, and the names that it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


async def test_it_gets_and_posts() -> None:
    async with serving(lambda asked: said({"you": asked.line.split()[0]}, x_a="b")) as server:
        client = Guarded(LOOPBACK)
        got = await client.get(server.url("/a?b=c"))
        posted = await client.post(server.url("/p"), {"name": "Zoë"}, headers={"x-key": "1"})
        await client.close()
    assert (got.status, got.headers["x-a"], got.body) == (200, "b", b'{"you": "GET"}')
    assert posted.body == b'{"you": "POST"}'
    assert [asked.line for asked in server.asked] == ["GET /a?b=c HTTP/1.1", "POST /p HTTP/1.1"]
    assert server.asked[1].json() == {"name": "Zoë"}
    assert server.asked[1].headers["x-key"] == "1"
    assert server.asked[1].headers["content-type"] == "application/json"
    assert server.connections == 1


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "0177.0.0.1", "017700000001", "0"],
)
async def test_the_loopback_is_not_called_however_it_is_spelled(host: str) -> None:
    async with serving(lambda _asked: said()) as server:
        with pytest.raises(Blocked, match=r"which is not called|is not a URL"):
            await Guarded().get(server.url(host=host))
    assert server.connections == 0


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1]", "[::]"])
async def test_nor_as_an_ipv6_address(host: str) -> None:
    with pytest.raises(Blocked, match="which is not called"):
        await Guarded().get(f"http://{host}:9/")


async def test_one_private_address_among_public_ones_blocks_the_host() -> None:
    resolve, _ = resolving(["8.8.8.8", "10.0.0.7"])
    with pytest.raises(Blocked, match=r"feeds\.example is 10\.0\.0\.7, which is not called \(private or reserved\)"):
        await Guarded(resolve=resolve).get("http://feeds.example/")


async def test_a_name_that_changes_its_address_is_connected_to_where_it_was_checked() -> None:
    resolve, asked = resolving(["127.0.0.1"], ["127.0.0.9"])
    async with serving(lambda _asked: said("checked")) as server:
        client = Guarded(Allowed.parse(["127.0.0.1"]), resolve=resolve)
        answer = await client.get(server.url(host="feeds.example"))
        assert answer.body == b"checked"
        assert asked == ["feeds.example"]
        assert server.asked[0].headers["host"] == f"feeds.example:{server.port}"
        await client.close()
        with pytest.raises(Blocked, match=r"127\.0\.0\.9"):
            await client.get(server.url(host="feeds.example"))
    assert server.connections == 1


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    resolve, _ = resolving(["127.0.0.2", "127.0.0.1"])
    async with serving(lambda _asked: said("here")) as server:
        assert (await Guarded(LOOPBACK, resolve=resolve).get(server.url(host="feeds.example"))).body == b"here"


async def test_a_host_may_be_allowed_by_its_name() -> None:
    async with serving(lambda _asked: said("in")) as server:
        assert (await Guarded(Allowed.parse(["localhost"])).get(server.url(host="LOCALHOST"))).body == b"in"
        with pytest.raises(Blocked):
            await Guarded(Allowed.parse(["localhost"])).get(server.url())


async def test_a_redirect_is_an_answer() -> None:
    async with serving(lambda _asked: said(status="302 Found", location="http://169.254.169.254/")) as server:
        answer = await Guarded(LOOPBACK).get(server.url())
    assert (answer.status, answer.headers["location"]) == (302, "http://169.254.169.254/")
    assert len(server.asked) == 1


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(lambda _asked: said("direct")) as server, serving(lambda _asked: said("proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        assert (await Guarded(LOOPBACK).get(server.url())).body == b"direct"


async def test_no_cookie_is_kept() -> None:
    async with serving(lambda _asked: said(set_cookie="a=b")) as server:
        client = Guarded(LOOPBACK)
        await client.get(server.url())
        await client.get(server.url())
        await client.close()
    assert "cookie" not in server.asked[1].headers


@pytest.mark.parametrize(
    "url",
    ["", "feeds", "ftp://a/", "file:///etc/passwd", "http://", "http:///x", "gopher://a", "http://a:99999/", "//a/b"],
)
async def test_what_is_no_url_of_a_web_server_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(BadInput, match="what was to be called "):
        await Guarded().get(url)


def test_a_user_in_a_url_is_refused_without_saying_it() -> None:
    fault = url_fault("https://alice:s3cret@feeds.example/")
    assert fault.startswith("has a user in it")
    assert "s3cret" not in fault


async def test_no_more_is_read_than_may_be() -> None:
    async with serving(lambda _asked: said(b"x" * 1001)) as server:
        with pytest.raises(Unreachable, match="more than 1,000 bytes"):
            await Guarded(LOOPBACK, largest=1000).get(server.url())
        assert len((await Guarded(LOOPBACK, largest=1001).get(server.url())).body) == 1001


async def test_gzip_is_unpacked_but_no_bomb() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with serving(
        lambda asked: said(gzip.compress(b"small") if "small" in asked.line else bomb, content_encoding="gzip")
    ) as server:
        client = Guarded(LOOPBACK, largest=100_000)
        assert (await client.get(server.url("/small"))).body == b"small"
        with pytest.raises(Unreachable, match="more than 100,000 bytes"):
            await client.get(server.url())


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_coding_that_is_not_what_it_says_is_refused(coding: str) -> None:
    async with serving(lambda _asked: said(b"plain", content_encoding=coding)) as server:
        with pytest.raises(Unreachable, match="gzip"):
            await Guarded(LOOPBACK).get(server.url())


async def test_a_call_has_a_deadline() -> None:
    async with serving(lambda _asked: None) as server:
        with pytest.raises(Unreachable, match=r"gave no answer within 0\.05 s"):
            await Guarded(LOOPBACK, patience=timedelta(milliseconds=50)).get(server.url())


async def test_what_cannot_be_reached_is_said_without_the_path() -> None:
    async with serving(lambda _asked: said()) as server:
        pass
    with pytest.raises(Unreachable, match=rf"http://127\.0\.0\.1:{server.port}: cannot be connected to") as refused:
        await Guarded(LOOPBACK).get(server.url("/secret-token"))
    assert "secret-token" not in str(refused.value)


async def test_a_name_without_an_address_and_an_answer_that_is_no_http_are_unreachable() -> None:
    async def nowhere(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    with pytest.raises(Unreachable, match="its name has no address"):
        await Guarded(resolve=nowhere).get("http://feeds.example/")
    async with serving(lambda _asked: b"220 mail.example ESMTP\r\n\r\n") as server:
        with pytest.raises(Unreachable, match="broke off"):
            await Guarded(LOOPBACK).get(server.url())


async def test_tls_is_checked_against_the_name_though_the_address_is_what_is_connected_to(tmp_path: Path) -> None:
    serves, trusts = certificate("feeds.example", tmp_path)
    resolve, _ = resolving(["127.0.0.1"])
    client = Guarded(LOOPBACK, resolve=resolve, trust=trusts)
    async with serving(lambda _asked: said("safe"), serves) as server:
        assert (await client.get(server.url(host="feeds.example", scheme="https"))).body == b"safe"
        with pytest.raises(Unreachable, match="cannot be connected to"):
            await client.get(server.url(host="other.example", scheme="https"))


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of this name shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, secret = folder / "shown.pem", folder / f"key-{os.getpid()}.pem"
    shown.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    serves, trusts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    serves.load_cert_chain(shown, secret)
    trusts.load_verify_locations(shown)
    return serves, trusts
