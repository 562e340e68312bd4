"""Arguments of the API that no configuration holds, checked as its settings are."""

from edge.errors import ConfigError


def check_count(name: str, value: int | None) -> None:
    """Refuse what is no count; None is left to the default.

    Raises:
        ConfigError: not a whole number from 1.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"{name}: expected a whole number from 1, got {value!r}")
