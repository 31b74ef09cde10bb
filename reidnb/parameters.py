"""Parameters as people give them, checked and converted in one way for notebooks, shell verbs, studies and recipes.

A shell, YAML and papermill's ``-r`` give text where a number is meant: "3" is taken for 3, "1e-4" for 0.0001, "true"
for True, "None" for None, and '{"epochs": 3}' for an object. What cannot be converted is refused in one sentence that
names the parameter, its value and what is allowed.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from .files import absolute

NAMED = ("", "imagenet", "street")
"""Values of ``weights`` that are not a path: random, ImageNet's, and the demo's, pretrained on another street."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: its type, what is allowed in words, and which values of the type are."""

    type: Any
    """int, float, bool, str, dict, a tuple of these, or one of them or None."""
    allowed: str
    holds: Callable[[Any], bool] = lambda value: True


COUNT = Kind(int, "a whole number, at least 1", lambda value: value >= 1)
NUMBER = Kind(int, "a whole number, at least 0", lambda value: value >= 0)
POSITIVE = Kind(float, "a number above 0", lambda value: value > 0)
POSITIVE_OR_NONE = Kind(float | None, "a number above 0, or null", lambda value: value is None or value > 0)
NOT_NEGATIVE = Kind(float, "a number, at least 0", lambda value: value >= 0)
FRACTION = Kind(float, "a number from 0 to 1", lambda value: 0 <= value <= 1)
FLAG = Kind(bool, "true or false")
OBJECT = Kind(dict, 'a JSON object, such as {"name": 1}')
OBJECT_OR_NONE = Kind(dict | None, f"{OBJECT.allowed}, or null")
TEXT = Kind(str, "a text")
TEXT_OR_NONE = Kind(str | None, "a text, or null")
ROWS = Kind(object, "names of rows by commas, or a list of them", lambda rows: isinstance(rows, str | list | tuple))
BY_TYPE = {bool: FLAG, int: Kind(int, "a whole number"), float: Kind(float, "a number"), str: TEXT}
BY_TYPE |= {dict: OBJECT}

PARAMETERS = {"seed": NUMBER, "rows": ROWS, "experiment": OBJECT_OR_NONE, "weights": TEXT_OR_NONE}
PARAMETERS |= dict.fromkeys(("backbone", "data_root", "root"), TEXT_OR_NONE)
PARAMETERS |= dict.fromkeys(("seeds", "processes", "watched", "threads", "repeats", "rounds"), COUNT)
"""The parameters that are more than a value of their default's type."""


def checked(given: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, Any]:
    """``given``, with each value converted to its kind, and each path made absolute from the current folder.

    ``defaults`` has all parameters that there are. Raises ValueError for a value that cannot be converted.
    """
    result = {}
    for name, value in given.items():
        kind = PARAMETERS.get(name) or BY_TYPE.get(type(defaults[name]))
        result[name] = take(name, value, kind) if kind else value
        if name in ("data_root", "root"):
            result[name] = str(absolute(result[name])) if result[name] else ""
        if name == "weights" and result[name] not in (None, *NAMED):
            result[name] = str(absolute(result[name]))
    return result


def take(name: str, value: object, kind: Kind) -> Any:
    """``value`` converted to the ``kind``. Raises ValueError that names it where it cannot be."""
    try:
        converted = _converted(value, kind.type)
        if kind.holds(converted):
            return converted
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name}={value!r}: allowed is {kind.allowed}")


def require(name: str, value: object, kind: Kind) -> None:
    """Raise ValueError that names ``value`` unless it is of the ``kind`` without conversion; a float may be an int."""
    if take(name, value, kind) != value:
        raise ValueError(f"{name}={value!r}: allowed is {kind.allowed}")


def check_names(owner: str, given: Collection[str], known: Collection[str]) -> None:
    """Raise ValueError that names the first parameter that ``owner`` does not have."""
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{owner} has no parameter {unknown[0]!r}: it has {', '.join(known)}")


def json_object(name: str, text: str) -> dict:
    """The JSON object in ``text``. Raises ValueError that says what is wrong with it."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is no JSON ({error}): {text}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name}={content!r}: allowed is {OBJECT.allowed}")
    return content


def _converted(value: Any, kind: Any) -> Any:
    """``value`` as ``kind``. Raises TypeError or ValueError if it cannot be converted."""
    if get_origin(kind) is UnionType:
        if value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null")):
            return None
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is tuple:
        return _sequence(value, get_args(kind))
    if kind in (int, float):
        return _number(value, kind)
    if isinstance(value, str) and kind in (bool, dict):
        value = json.loads(value.lower() if kind is bool else value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # a name such as 2, which YAML and papermill read as a number
    if not isinstance(value, kind):
        raise TypeError
    return dict(value) if kind is dict else value


def _number(value: Any, kind: type) -> int | float:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        raise ValueError
    if kind is float:
        return number
    try:
        return int(value)  # exact, where a float would round
    except ValueError:  # '3.0'
        return int(number)


def _sequence(value: Any, kinds: tuple) -> tuple:
    items = json.loads(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise TypeError
    if kinds[-1] is Ellipsis:
        return tuple(_converted(item, kinds[0]) for item in items)
    return tuple(_converted(item, kind) for item, kind in zip(items, kinds, strict=True))
