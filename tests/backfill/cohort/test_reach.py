"""What may be read, and what may not, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hark.backfill.cohort import FileReach
from hark.config import SettingFaults, load_settings
from hark.errors import BadInput
from hark.lists.reach import InStore, OnDisk, locate

CLOUDS = FileReach(("s3://cohorts", "gs://other/a/b", "az://box"))


def refused(url: str, reach: FileReach = CLOUDS) -> str:
    with pytest.raises(BadInput) as caught:
        locate(url, reach)
    return str(caught.value)


def reach_of(folder: Path, **variables: str) -> FileReach:
    return FileReach.of(load_settings({}, variables, folder), local=False)


class TestObjects:
    def test_below_an_allowed_place_may_be_read(self) -> None:
        assert locate("s3://cohorts/x/y.csv", CLOUDS) == InStore("s3", "cohorts", "x/y.csv", "s3://cohorts/x/y.csv")
        assert locate("gs://other/a/b/c", CLOUDS) == InStore("gs", "other", "a/b/c", "gs://other/a/b/c")
        assert isinstance(locate("az://box/k", CLOUDS), InStore)

    @pytest.mark.parametrize(
        "url", ["s3://cohorts2/x", "s3://elsewhere/x", "gs://cohorts/x", "gs://other/a/bc", "gs://other/x"]
    )
    def test_elsewhere_may_not(self, url: str) -> None:
        assert "may not be read: object_stores allows s3://cohorts, gs://other/a/b, az://box" in refused(url)
        assert "allows nothing" in refused(url, FileReach())

    @pytest.mark.parametrize(
        "url",
        ["gs://other/a/b/../../x", "s3://cohorts/./x", "s3://cohorts//x", "s3://cohorts/a/..", "s3://cohorts/a\nb"],
    )
    def test_ways_out_are_refused(self, url: str) -> None:
        assert "leads elsewhere; write the plain key" in refused(url)

    @pytest.mark.parametrize(
        "url",
        ["s3://169.254.169.254/latest", "s3://u:p@cohorts/x", "s3://../x", "gs://[fe80::1]/x", "s3://COHORTS/x",
         "gs://b/x/y.csv", "s3://b"],
    )  # fmt: skip
    def test_what_is_no_bucket_is_refused(self, url: str) -> None:
        assert "cannot be the name of a bucket; write" in refused(url)

    @pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://cohorts", "s3://cohorts/"])
    def test_what_is_no_object_is_refused(self, url: str) -> None:
        assert "names no object" in refused(url)

    @pytest.mark.parametrize(
        "url", ["http://169.254.169.254/latest/meta-data", "ftp://x/y", "memory:///x", "S3://cohorts/x"]
    )
    def test_other_schemes_are_refused(self, url: str) -> None:
        assert "no such scheme" in refused(url, FileReach(("s3://cohorts",), local=True))


class TestFiles:
    def test_only_the_command_line_reads_paths(self, tmp_path: Path) -> None:
        assert "only the command line may read one" in refused(str(tmp_path / "x"))
        assert locate("people.csv", FileReach(local=True)) == OnDisk(Path("people.csv"), "people.csv")

    def test_urls_lead_below_allowed_directories(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        reach = FileReach((f"file://{tmp_path}/in",))
        for name in ("people.csv", "my%20people.csv"):
            assert isinstance(locate(f"file://{tmp_path}/in/{name}", reach), OnDisk)

    def test_no_way_leads_out(self, tmp_path: Path) -> None:
        inside, outside = tmp_path / "in", tmp_path / "out"
        inside.mkdir()
        outside.mkdir()
        (outside / "secret").write_text("x")
        (inside / "link").symlink_to(outside / "secret")
        (inside / "folder").symlink_to(outside)
        (inside / "loop").symlink_to(inside / "loop")
        reach = FileReach((f"file://{inside}",), local=True)
        base = f"file://{inside}"
        for way in ("/../out/secret", "/%2e%2e/out/secret", "/link", "/folder/secret", "x/y", ""):
            assert "may not be read" in refused(base + way, reach)
        assert refused(f"{base}/loop", reach)
        assert refused(f"{base}/a%00b", reach)
        assert "names another machine" in refused("file://host/etc/passwd", reach)
        assert "may not be read" in refused("file:///etc/passwd", reach)


class TestSettings:
    def test_say_what_may_be_read(self, tmp_path: Path) -> None:
        found = reach_of(
            tmp_path, HARK_OBJECT_STORES="s3://cohorts/, gs://xyz/y,", HARK_OBJECT_ENDPOINTS="s3=http://127.0.0.1:9000/"
        )
        assert found == FileReach(("s3://cohorts", "gs://xyz/y"), {"s3": "http://127.0.0.1:9000"})
        (tmp_path / "hark.toml").write_text('[settings]\nobject_stores = ["file:///srv/cohorts"]\n')
        assert reach_of(tmp_path) == FileReach(("file:///srv/cohorts",))

    @pytest.mark.parametrize(
        ("stores", "what"),
        [
            ("cohorts", "no such scheme; there is s3, gs, az, file"),
            ("http://x/y", "no such scheme"),
            ("s3://", "names no bucket; write s3://bucket/prefix"),
            ("s3://169.254.169.254", "names no bucket"),
            ("file:///", "names no directory; write file:///srv/cohorts"),
            ("file://srv/x", "names no directory"),
            ("s3://b/../c", "has a part that leads elsewhere"),
        ],
    )
    def test_that_name_no_place_are_refused(self, tmp_path: Path, stores: str, what: str) -> None:
        with pytest.raises(SettingFaults, match=what):
            reach_of(tmp_path, HARK_OBJECT_STORES=stores)

    @pytest.mark.parametrize(
        "url",
        ["http://169.254.169.254", "http://[fe80::1]:80", "http://[::ffff:169.254.169.254]", "https://metadata.google.internal",
         "http://[fd00:ec2::254]", "http://0.0.0.0"],
    )  # fmt: skip
    def test_no_endpoint_is_where_machines_keep_credentials(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(SettingFaults, match="never a store"):
            reach_of(tmp_path, HARK_OBJECT_ENDPOINTS=f"s3={url}")

    @pytest.mark.parametrize(
        "text", ["http://x", "ftp=http://x", "s3=x", "s3=ftp://x", "s3=http://u:p@x", "file=http://x"]
    )
    def test_endpoints_are_servers(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(SettingFaults, match=r"is not the URL of a server|names no store's server"):
            reach_of(tmp_path, HARK_OBJECT_ENDPOINTS=text)
