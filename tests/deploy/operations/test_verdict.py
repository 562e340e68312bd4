"""Waiting for a device's verdict on a new release."""

from types import SimpleNamespace
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.operations import push


def asked(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> list[Any]:
    """Have the device answer so, one after the other; return what is left of it."""

    def read_facts(_device: object, _prefix: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(push, "read_facts", read_facts)
    monkeypatch.setattr(push, "POLL_S", 0.0)
    return answers


TRYING = SimpleNamespace(pending={"release": "a"})
DECIDED = SimpleNamespace(pending=None)
DEAF = DeployError("no answer within 60 s")


def test_a_question_without_an_answer_is_asked_again(monkeypatch) -> None:
    """A device that is busy with its new release is no failed one."""
    left = asked(monkeypatch, [DEAF, DEAF, TRYING, DEAF, DEAF, TRYING, DECIDED])
    assert push.wait_for_verdict(None, "/opt/edgeemo", 1.0) is DECIDED
    assert left == []


def test_a_device_that_is_gone_is_told(monkeypatch) -> None:
    """Three questions in a row without an answer end the waiting, with the last one's reason."""
    asked(monkeypatch, [TRYING, DEAF, DEAF, DEAF, DECIDED])
    with pytest.raises(DeployError, match="no answer within 60 s"):
        push.wait_for_verdict(None, "/opt/edgeemo", 1.0)


def test_waiting_ends_some_time(monkeypatch) -> None:
    """A device that never decides is named as one."""
    asked(monkeypatch, [TRYING] * 3)
    monkeypatch.setattr(push, "PATIENCE_S", -2.0)
    with pytest.raises(DeployError, match="no verdict in time"):
        push.wait_for_verdict(None, "/opt/edgeemo", 1.0)
