"""Thermal back-off: steps down while hot, up again when it has long been cool, and says so."""

import logging
import time

import msgspec
import numpy as np
import pytest

from edge.config import Config, LogConfig, ThermalConfig, load_config
from edge.contract.logrecord import Health
from edge.errors import ConfigError
from edge.runtime.build import keep_what_needs_a_restart
from edge.runtime.pipeline import Pipeline
from edge.service.daemon import Reloaded, Service, Supervision
from edge.service.reporter import Reporter
from edge.service.thermal import Heat, ThermalThrottle, read_heat
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.testing.fakes import (
    FakeSource,
    MemorySink,
    make_facts,
    make_frame,
    make_pipeline,
)

CONFIG = ThermalConfig(high_c=80, low_c=70, hold_s=30, interval_s=5, steps_fps=(10, 5, 2))
HOT, WARM, COOL = Heat(85.0), Heat(75.0), Heat(60.0)


def limits(readings: list[tuple[float, Heat]], config: ThermalConfig = CONFIG) -> list:
    """Return the limit after each look; a reading holds until the next one."""
    now = {"heat": COOL}
    governor = ThermalThrottle(config, lambda: now["heat"])
    told = []
    for at_s, heat in readings:
        now["heat"] = heat
        governor.look(at_s)
        told.append(governor.fps_limit)
    return told


def test_a_cool_board_has_no_limit():
    """Below the lower threshold nothing is held back, and the next frame is due at once."""
    assert limits([(t, COOL) for t in range(0, 600, 5)]) == [None] * 120
    assert ThermalThrottle(CONFIG).due_s(12.5) == 12.5


def test_a_hot_board_steps_down_one_step_a_hold():
    """Each step is given its time; at the last one it stays."""
    told = limits([(t, HOT) for t in range(0, 125, 5)])
    assert told == [10] * 6 + [5] * 6 + [2] * 13


def test_it_steps_up_only_after_a_long_cool_time():
    """Between the thresholds it stays; a single warm reading starts the wait anew."""
    readings = [(0.0, HOT)]
    readings += [(t, WARM) for t in range(5, 300, 5)]
    readings += [(300.0, COOL), (315.0, COOL), (320.0, WARM), (325.0, COOL), (350.0, COOL)]
    assert limits(readings) == [10] * len(readings)
    assert limits([*readings, (355.0, COOL)])[-1] is None


def test_steps_up_are_one_at_a_time():
    """From the lowest step it takes a hold for each way up."""
    readings = [(t, HOT) for t in (0.0, 30.0, 60.0)] + [(t, COOL) for t in range(65, 190, 5)]
    told = limits(readings)
    assert told[2] == 2
    assert [told[i] for i in range(3, len(told)) if told[i] != told[i - 1]] == [5, 10, None]


def test_a_temperature_at_the_threshold_does_not_make_it_swing():
    """Around the upper threshold, in and out every look, it only ever steps down."""
    readings = [(5.0 * i, Heat(80.5 if i % 2 else 79.5)) for i in range(60)]
    told = limits(readings)
    assert [told[i] for i in range(1, 60) if told[i] != told[i - 1]] == [10, 5, 2]


def test_the_firmwares_word_is_enough():
    """A Pi that is slowed steps down whatever its sensor says, and without one."""
    assert limits([(0.0, Heat(65.0, is_slowed=True))]) == [10]
    assert limits([(0.0, Heat(None, is_slowed=True))]) == [10]
    slowed_then_well = [(0.0, Heat(None, is_slowed=True))]
    slowed_then_well += [(t, Heat()) for t in range(5, 40, 5)]
    assert limits(slowed_then_well)[-1] is None


def test_the_sensor_is_read_at_the_interval_only():
    """Thirty frames a second do not read sysfs thirty times a second."""
    reads = []
    governor = ThermalThrottle(CONFIG, lambda: reads.append(1) or COOL)
    for i in range(300):
        governor.look(i / 30)
    assert len(reads) == 2


@pytest.mark.parametrize("config", [ThermalConfig(high_c=0, low_c=0), ThermalConfig(steps_fps=())])
def test_it_can_be_switched_off(config):
    """Without a threshold, or without steps, nothing is limited."""
    assert limits([(0.0, HOT), (60.0, HOT)], config) == [None, None]


@pytest.mark.parametrize(
    ("bits", "is_slowed"),
    [("0", False), ("50005", True), ("0x50000", False), ("1", False), ("2", True), ("8", True),
     (None, False), ("garbage", False)],
)  # fmt: skip
def test_what_the_throttling_bits_mean(monkeypatch, bits, is_slowed):
    """Capped, throttled and too hot now count; under-voltage and the past do not."""
    monkeypatch.setattr("edge.system.machine.throttled", lambda: bits)
    monkeypatch.setattr("edge.system.machine.temperature_c", lambda: 55.0)
    assert read_heat() == Heat(55.0, is_slowed)


@pytest.mark.parametrize(
    ("lines", "told"),
    [("low_c = 90.0", "low_c must be below high_c"), ("steps_fps = [2.0, 5.0]", "must fall"),
     ("hold_s = 0", "thermal.hold_s")],
)  # fmt: skip
def test_thresholds_that_make_no_sense_are_refused(tmp_path, lines, told):
    """The file's error names the table and what was wrong."""
    (tmp_path / "c.toml").write_text(f"[thermal]\n{lines}\n")
    with pytest.raises(ConfigError, match=told) as caught:
        load_config(tmp_path / "c.toml")
    assert "thermal" in str(caught.value)


FACTS = make_facts()


def run_hot(
    source, heats, frames: int, reloaded: ThermalConfig | None = None
) -> tuple[list, float]:
    """Run frames while the sensor tells ``heats`` one after the other, and return records, time.

    With ``reloaded`` the configuration is read again after the fourth frame.
    """
    readings = iter(heats)
    config = ThermalConfig(hold_s=1e-6, interval_s=1e-6, steps_fps=(20,))
    sink = MemorySink()

    def parts() -> tuple[Pipeline, Reporter]:
        return make_pipeline(), Reporter(
            "session", "device", LogConfig(interval_s=1.0, health_interval_s=1e9)
        )

    def listener(result) -> bool:
        if reloaded is not None and result.frame.index == 3:
            running.reload()
        return True

    supervision = Supervision(
        renew=lambda: Reloaded(*parts(), FACTS, reloaded),
        governor=ThermalThrottle(config, lambda: next(readings, heats[-1])),
    )
    running = Service(source, parts()[0], sink, parts()[1], (listener,), supervision)
    began = time.monotonic()
    running.run(FACTS, frames)
    return sink.records, time.monotonic() - began


def test_a_step_is_in_the_log_at_once(caplog):
    """A health record tells the limit with the next frame, and again when it is lifted."""
    with caplog.at_level(logging.WARNING):
        records, _ = run_hot(
            FakeSource([make_frame(i) for i in range(6)]), [HOT, HOT, *[COOL] * 9], 6
        )
    limits_told = [record.fps_limit for record in records if isinstance(record, Health)]
    assert limits_told == [20, None]
    assert "85 degrees C: at most 20 frames a second" in caplog.text
    assert "as many frames as it can" in caplog.text


class _Stream:
    """A camera of 200 frames a second."""

    fps = 200.0
    dropped = 0

    def __init__(self) -> None:
        self.taken = 0

    def read(self):
        """Wait and give the next frame."""
        time.sleep(0.005)
        self.taken += 1
        return make_frame(self.taken, image=np.zeros((8, 8, 3), np.uint8))

    def close(self) -> None:
        """Do nothing."""


def test_a_live_source_is_thinned_and_a_recording_is_slowed():
    """Ten frames at 20 a second take half a second; a camera's others are dropped meanwhile."""
    stream = _Stream()
    source = LatestFrame(stream)
    _, elapsed_s = run_hot(source, [HOT], 10)
    source.close()
    assert elapsed_s > 9 * 0.05
    assert source.dropped > 0
    assert source.dropped >= stream.taken - 12  # ten were given, and one or two are under way
    recording = FakeSource([make_frame(i) for i in range(10)])
    _, elapsed_s = run_hot(recording, [HOT], 10)
    assert elapsed_s > 9 * 0.05


def test_other_steps_and_thresholds_go_over():
    """The step stays as low as it was, as far as there are so many; the sensor is asked at once."""
    heat = {"now": HOT}
    governor = ThermalThrottle(CONFIG, lambda: heat["now"])
    for at_s in (0.0, 30.0):
        governor.look(at_s)
    assert governor.fps_limit == 5
    governor.reconfigure(msgspec.structs.replace(CONFIG, steps_fps=(12, 6, 3)))
    assert governor.fps_limit == 6
    governor.reconfigure(msgspec.structs.replace(CONFIG, steps_fps=(8,), hold_s=1))
    assert governor.fps_limit == 8
    heat["now"] = WARM
    governor.reconfigure(ThermalConfig(high_c=90, low_c=80, hold_s=1, steps_fps=(8,)))
    governor.look(31.0)  # cool by the new thresholds
    governor.look(36.0)
    assert governor.fps_limit is None


def test_no_limit_without_thresholds():
    """What switches the back-off off lets the frames go, hot or not."""
    governor = ThermalThrottle(CONFIG, lambda: HOT)
    governor.look(0.0)
    assert governor.fps_limit == 10
    governor.reconfigure(ThermalConfig(high_c=0))
    governor.look(100.0)
    assert governor.fps_limit is None


def test_a_reload_takes_the_thresholds_over(caplog):
    """[thermal] is of those that a reload changes, and the running service goes by it."""
    old = Config()
    new = msgspec.structs.replace(old, thermal=ThermalConfig(high_c=60, low_c=50))
    assert keep_what_needs_a_restart(old, new).thermal == new.thermal
    assert not caplog.text
    other = ThermalConfig(hold_s=1e-6, interval_s=1e-6, steps_fps=(40,))
    records, _ = run_hot(FakeSource([make_frame(i) for i in range(8)]), [HOT], 8, reloaded=other)
    limits_told = [record.fps_limit for record in records if isinstance(record, Health)]
    assert limits_told == [20, 40]  # each at once, in its own session
