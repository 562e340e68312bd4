"""A reload loads no model twice: a mesher that would be the same goes over."""

from contextlib import ExitStack

import msgspec
import pytest

from edge.config import (
    Config,
    EventsConfig,
    LogConfig,
    MesherConfig,
    SmoothingConfig,
    SourceConfig,
    TrackerConfig,
)
from edge.runtime.build import build_runtime, reload
from edge.sources.demo.source import DemoSource


@pytest.mark.parametrize(
    ("changed", "goes_over"),
    [
        ({"smoothing": SmoothingConfig(dwell_s=1.0)}, True),
        ({"mesher": MesherConfig(max_faces=2)}, False),
        ({"mesher": MesherConfig(tracking_fps=10.0)}, False),
        ({"mesher": MesherConfig(tracking_fps=0.0)}, False),
        ({"tracker": TrackerConfig(confirm_hits=3)}, False),
        ({"events": EventsConfig(detect=("nod",))}, False),
    ],
    ids=["nothing of the mesher", "faces", "rate", "every frame", "confirmation", "events"],
)
def test_the_mesher_goes_over_when_it_would_be_the_same(tmp_path, changed, goes_over):
    """And it finds faces still, when the pipeline that had it is closed."""
    config = Config(source=SourceConfig(spec="demo"), log=LogConfig(dir=str(tmp_path)))
    with ExitStack() as stack:
        parts = build_runtime(config, stack)
        new = reload(parts, msgspec.structs.replace(config, **changed))
        assert (new.pipeline.mesher is parts.pipeline.mesher) == goes_over
        parts.pipeline.close()
        demo = DemoSource(3)
        faces = [len(new.pipeline.process(frame).faces) for frame in iter(demo.read, None)]
        assert faces[-1] == 1
