"""What `edgeemo logs fleet` says of devices, by their logs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="the extra edgeemo[analysis] is not installed")

from edgeemo.analysis.fleet import Rules, fleet
from edgeemo.analysis.log import Logs

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
FILM = datetime(2019, 1, 1, tzinfo=UTC)


def record(seq: int, kind: str, at: datetime, **fields: object) -> dict[str, object]:
    time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "kind": kind, "schema": 1, "time": time, "monotonic_s": float(seq), "seq": seq,
        "session": "a1b2c3d4e5f6", "device": "pi-3", **fields,
    }  # fmt: skip


def written(folder: Path, dropped: set[int], film: datetime) -> Path:
    """Write a run over something that is dated by itself, without some of its records."""
    began = NOW - timedelta(hours=1)
    records = [
        record(
            0, "service_started", began, version="0.1.0", source="film.mp4", model="default",
            model_sha256="0" * 64, mesher="litert", runtime="ai-edge-litert 2.3.0",
            labels=["neutral", "happiness"], recovered_bytes=0,
        ),
        *(
            record(seq, "track_started", film + timedelta(minutes=seq), track=seq,
                   box=[1.0, 2.0, 30.0, 40.0], frame=seq, file=None)
            for seq in range(1, 100)
        ),
        record(100, "service_stopped", began + timedelta(minutes=9), reason="end of source",
               frames=99, tracks=99, records=101),
    ]  # fmt: skip
    folder.mkdir()
    kept = [json.dumps(one) for one in records if one["seq"] not in dropped]
    (folder / "edgeemo.jsonl").write_text("\n".join(kept) + "\n")
    return folder


@pytest.mark.parametrize("film", [FILM, NOW - timedelta(hours=2)])
@pytest.mark.parametrize("dropped", [set(), {5}, set(range(20, 40)), {1, 50, 99}])
def test_what_a_film_dates_is_not_lost(tmp_path: Path, dropped: set[int], film: datetime) -> None:
    """Records of another year among a week's numbers are there; those that are not are lost."""
    with Logs(written(tmp_path / "log", dropped, film)) as logs:
        (device,) = fleet(logs, Rules(), NOW)
    assert device.lost == len(dropped)
    assert ("records lost" in " ".join(device.problems)) == bool(dropped)
