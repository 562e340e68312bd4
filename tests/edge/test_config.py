"""Configuration: typed, complete in its complaints."""

import pytest

from edge.config import Config, load_config, override
from edge.errors import ConfigError


def write(tmp_path, text: str):
    path = tmp_path / "edgeemo.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_default(tmp_path):
    """Every table and key may be left out."""
    assert load_config(write(tmp_path, "")) == Config()


def test_values_arrive(tmp_path):
    """What the file says is what the struct holds."""
    config = load_config(write(tmp_path, '[source]\nspec = "demo"\n[log]\ninterval_s = 3.5\n'))
    assert (config.source.spec, config.log.interval_s) == ("demo", 3.5)


def test_all_problems_are_told_at_once(tmp_path):
    """One run of the checker is enough to mend the file."""
    path = write(
        tmp_path,
        '[source]\nfps = -1\nspeck = "demo"\n[log]\nemit = "always"\n[moon]\nphase = 1\n'
        "[tracker]\nconfirm_hits = 0.5\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    for part in ("source.fps", "source.speck", "log.emit", "[moon]", "tracker.confirm_hits"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[source", "not TOML"), (b"\xff\xfe", "not TOML"), (None, "can not be read")],
)
def test_unreadable_files_are_one_clear_error(tmp_path, content, message):
    """Broken syntax, broken text and a missing file are all ConfigError with exit code 2."""
    path = tmp_path / "edgeemo.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert caught.value.exit_code == 2


def test_overrides_leave_the_rest_alone():
    """An option that was not given changes nothing, one that was is checked."""
    config = Config()
    assert override(config.source, spec=None) == config.source
    assert override(config.source, spec="demo").spec == "demo"
    with pytest.raises(ConfigError):
        override(config.source, fps=-3)
