"""Workers meet, agree, and find out within seconds who is missing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from edge.errors import ConfigError
from host_training.distributed.cluster import Cluster, read_cluster
from host_training.distributed.watch import LIMIT_S, Watch
from host_training.distributed.workers import slice_of

WORKERS = ["a:1", "b:2", "c:3"]


def config(cluster: dict[str, list[str]], kind: str = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (config({}), None),
        (config({"worker": ["a:1"]}), None),
        (config({"worker": WORKERS}, index=2), Cluster(("a:1", "b:2", "c:3"), 2)),
        (config({"worker": WORKERS}, index="2"), Cluster(("a:1", "b:2", "c:3"), 2)),
        (config({"worker": ["b:2"], "chief": ["a:1"]}), Cluster(("a:1", "b:2"), 1)),
        (config({"worker": ["b:2"], "chief": ["a:1"]}, "chief"), Cluster(("a:1", "b:2"), 0)),
        (config({"worker": ["b:2"], "master": ["a:1"]}, "master"), Cluster(("a:1", "b:2"), 0)),
        (config({"worker": ["[::1]:5", "[::1]:6"]}), Cluster(("[::1]:5", "[::1]:6"), 0)),
    ],
)
def test_read_cluster(text: str, expected: Cluster | None) -> None:
    """TF_CONFIG is read as TensorFlow reads it: the chief first, one process is no cluster."""
    assert read_cluster(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "truncated"),
        ("[]", "expected `object`"),
        (config({"worker": WORKERS}, index=3), "no worker 3 among its 3 workers"),
        (config({"worker": WORKERS}, index=-1), "no worker -1"),
        (config({"worker": WORKERS}, "evaluator"), "no evaluator 0"),
        (config({"worker": WORKERS, "ps": ["d:4"]}), "ps"),
        (config({"worker": ["a:1", "a:1"]}), "same address"),
        (config({"worker": ["a:1", "b"]}), "'b' is not host:port"),
        (config({"worker": ["a:1", "b:x"]}), "'b:x' is not host:port"),
        (config({"worker": ["a:1", "b:99999"]}), "'b:99999' is not host:port"),
    ],
)
def test_refused_clusters(text: str, told: str) -> None:
    """What cannot be trained with is refused, with what was received and what is expected."""
    with pytest.raises(ConfigError, match="TF_CONFIG") as refused:
        read_cluster(text)
    assert told.lower() in str(refused.value).lower()
    assert "expected" in str(refused.value)


@pytest.mark.parametrize("rows", [1, 7, 16, 127])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_slices_cover_a_batch(rows: int, count: int) -> None:
    """The parts of a batch are equal to within one sample, and are all of it in order."""
    parts = [range(rows)[slice_of(rows, index, count)] for index in range(count)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def watch() -> Watch:
    return Watch({0: "chief", 1: "one", 2: "two"}, 0, 0.0)


def test_a_silent_worker_is_named() -> None:
    """A worker is named once nothing was heard of it for longer than the limit, not before."""
    judge = watch()
    for second in range(20):
        for index in (1, 2) if second < 5 else (1,):
            judge.heard(index, 1, is_stepping=True, now_s=second)
        silent_s = second - 4
        assert (judge.verdict(second) is None) == (silent_s <= LIMIT_S), second
    assert "two does not answer" in (judge.verdict(20) or "")


def test_a_worker_that_builds_its_graph_may_be_silent() -> None:
    """TensorFlow holds Python up while it builds a graph: a minute without a sign is no death."""
    judge = watch()
    for second in range(120):
        judge.heard(1, 0, is_stepping=False, now_s=second)
        assert (judge.verdict(second) is None) == (second <= 90), second


def test_who_was_held_up_itself_accuses_nobody() -> None:
    """A watcher that did not run for a while has heard nothing, and begins to count anew."""
    judge = watch()
    for index in (1, 2):
        judge.heard(index, 1, is_stepping=True, now_s=1)
    assert judge.verdict(1) is None
    assert judge.verdict(60) is None
    for second in range(61, 70):
        judge.heard(1, 1, is_stepping=True, now_s=second)
        assert (judge.verdict(second) is None) == (second - 60 <= LIMIT_S), second


@pytest.mark.parametrize(("late", "name"), [(0, "chief"), (2, "two")])
def test_a_worker_that_falls_behind_is_named(late: int, name: str) -> None:
    """Who keeps the others waiting in a step is named, the one that watches included."""
    judge = watch()
    for second in range(1, 40):
        for index in (0, 1, 2):
            step = min(second, 20) if index == late else min(second, 21)
            judge.heard(index, step, is_stepping=True, now_s=second)
        waited_s = second - 21
        assert (judge.verdict(second) is None) == (waited_s <= LIMIT_S), second
    assert (judge.verdict(40) or "").startswith(f"{name} has fallen behind")


def test_slow_steps_and_other_work_are_no_falling_behind() -> None:
    """Steps of ten seconds may be ten seconds apart; who saves a checkpoint takes minutes."""
    judge = watch()
    for second in range(1, 400):
        step = min(second // 10, 6)  # all come to every step at once, to the last one two do not
        saving = second >= 60
        judge.heard(0, min(step, 5), is_stepping=not saving, now_s=second)
        judge.heard(1, step, is_stepping=True, now_s=second)
        judge.heard(2, min(step, 5) if second < 75 else step, is_stepping=True, now_s=second)
        assert judge.verdict(second) is None, second


PROGRAM = """
import sys, time
from host_training.distributed.cluster import cluster_of_environment
from host_training.distributed.team import Team
from host_training.distributed.workers import check_alike
from edge.errors import EdgeEmoError

try:
    with Team(cluster_of_environment(), lambda line: None) as team:
        told = team.from_chief(lambda: b"from the chief")
        parts = team.gather(str(team.index).encode() * 3)
        check_alike(team, {"data": sys.argv[1]})
        print(told, parts, flush=True)
        for step in range(int(sys.argv[2])):
            team.before_step()
            time.sleep(0.05)
        if sys.argv[3] == "fails":
            raise RuntimeError("no luck")
        if sys.argv[3] == "waits":
            team.gather(b"never")
        if sys.argv[3] == "hangs":
            time.sleep(2.5)  # signs of life are a second apart
            print("stepping", flush=True)
            time.sleep(100)
except EdgeEmoError as error:
    print(error, file=sys.stderr, flush=True)
    sys.exit(error.exit_code)
"""


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(places: list[Any]) -> Iterator[Start]:
    """Return a function that starts worker ``index`` of ``count`` with the program's arguments."""

    def started(index: int, *arguments: str, count: int = 2) -> subprocess.Popen[str]:
        addresses = [place.address for place in places[:count]]
        process = stack.enter_context(
            subprocess.Popen(
                [*places[index].prefix, sys.executable, "-c", PROGRAM, *arguments],
                env=os.environ | {"TF_CONFIG": config({"worker": addresses}, index=index)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
        )
        stack.callback(process.kill)
        return process

    with ExitStack() as stack:
        yield started


def test_workers_meet_and_agree(start: Start) -> None:
    """All get what the chief makes and each other's parts in order; the chief's port is free."""
    processes = [start(index, "same", "3", "ends", count=3) for index in (2, 0, 1)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert out == "b'from the chief' [b'000', b'111', b'222']\n"


def test_other_data_is_refused_by_all(start: Start) -> None:
    """A worker that differs is named on every one, before the first step."""
    processes = [start(0, "1a", "3", "ends"), start(1, "2b", "3", "ends")]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 2
        assert "worker 1 (1" in err
        assert "has other data than the chief: 2b, expected 1a" in err


def test_a_worker_that_fails_says_why_everywhere(start: Start) -> None:
    """The reason of the one that stops is the reason that the others give."""
    modes = ("waits", "fails", "waits")
    processes = [start(index, "x", "1", mode, count=3) for index, mode in enumerate(modes)]
    for index in (0, 2):
        _, err = processes[index].communicate(timeout=120)
        assert processes[index].returncode == 1
        assert "worker 1 (1" in err
        assert "has stopped: no luck" in err


@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGKILL, "has died"), (signal.SIGSTOP, "does not answer")]
)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_or_frozen_worker_is_named(
    start: Start, victim: int, number: signal.Signals, told: str
) -> None:
    """The others end with its name, though they hang in something that does not come back."""
    processes = [start(index, "x", "3", "hangs", count=3) for index in range(3)]
    for process in processes:
        assert process.stdout is not None
        while process.stdout.readline() not in ("stepping\n", ""):
            pass
    processes[victim].send_signal(number)
    for index in {0, 1, 2} - {victim}:
        _, err = processes[index].communicate(timeout=60)
        assert processes[index].returncode == 1
        assert f"worker {victim} (1" in err
        assert told in err
        assert "--resume" in err


def test_a_worker_whose_network_is_gone_is_named(start: Start, cables: list[Any]) -> None:
    """Nothing is closed when a cable is pulled: silence is what the others go by."""
    processes = [start(index, "x", "3", "hangs", count=3) for index in range(3)]
    for process in processes:
        assert process.stdout is not None
        while process.stdout.readline() not in ("stepping\n", ""):
            pass
    subprocess.run(cables[1].cable, check=True)
    for index, name in ((0, "worker 1 ("), (2, "worker 1 ("), (1, "worker 0 (")):
        _, err = processes[index].communicate(timeout=60)
        assert processes[index].returncode == 1
        assert name in err
        assert "does not answer" in err


STRANGER = """
import socket, sys, time
for _ in range(1200):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            try:
                print("answer", stranger.recv(10))
            except ConnectionResetError:
                print("answer", b"")
        break
    except OSError:
        time.sleep(0.05)
"""


def test_strangers_do_not_disturb_the_meeting(start: Start, places: list[Any]) -> None:
    """Whoever connects and is no worker of the run is turned away; the run goes on."""
    chief = start(0, "x", "1", "ends")
    host, _, port = places[0].address.rpartition(":")
    words = [*places[1].prefix, sys.executable, "-c", STRANGER, host, port]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "answer b''\n"
    other = start(1, "x", "1", "ends")
    assert [process.wait(120) for process in (chief, other)] == [0, 0]
