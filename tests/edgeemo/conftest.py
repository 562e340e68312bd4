"""The analyzer, made once a file."""

from collections.abc import Iterator

import pytest

import edgeemo


@pytest.fixture(scope="module")
def analyzer() -> Iterator[edgeemo.Analyzer]:
    with edgeemo.Analyzer() as analyzer:
        yield analyzer
