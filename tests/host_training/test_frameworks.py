"""What Keras runs on is what was asked for, or is refused in one line."""

import pytest

from edge.errors import ConfigError
from host_training.frameworks import keras_backend


@pytest.mark.parametrize(
    ("variable", "expected"), [(None, "tensorflow"), ("tensorflow", "tensorflow"), ("jax", "jax")]
)
def test_backends(monkeypatch: pytest.MonkeyPatch, variable: str | None, expected: str) -> None:
    """TensorFlow, unless the variable that Keras itself reads asks for JAX."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if variable is not None:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    assert keras_backend() == expected


@pytest.mark.parametrize("backend", ["torch", "numpy", "JAX", ""])
def test_other_backends_are_refused(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """What was received, what is expected, and what to do."""
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(ConfigError, match=r"expected|trains on tensorflow or jax"):
        keras_backend()
