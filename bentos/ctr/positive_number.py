"""Numbers in the service's settings."""

from typing import Any

from tasks.errors import ConfigError

_MAX = 1e12


def positive_number(name: str, value: Any, *, is_integer: bool = False) -> Any:
    """Return a number from a settings file, an int if `is_integer`.

    Raises
    ------
    ConfigError
        If it is no number above 0, or no whole one where that is required; names the setting.

    Examples
    --------
    >>> positive_number("poll_s", 0.5), positive_number("candidates", 5.0, is_integer=True)
    (0.5, 5)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX:
        raise ConfigError(f"{name} must be a number above 0, found {value!r}")
    if is_integer and value != int(value):
        raise ConfigError(f"{name} must be an integer, found {value!r}")
    return int(value) if is_integer else value
