"""The check that every network makes of its options."""

from collections.abc import Collection


def check(option: str, value: object, allowed: Collection[object]) -> None:
    """Raise ValueError that names the option and what it may be."""
    if value not in allowed:
        raise ValueError(f"{option}={value!r}: allowed are {', '.join(repr(a) for a in allowed)}")
