"""Validation of the networks' options."""

from collections.abc import Collection


def check(option: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError that names the option and its allowed values."""
    if value not in allowed:
        raise ValueError(f"{option}={value!r}: allowed are {', '.join(repr(a) for a in allowed)}")
