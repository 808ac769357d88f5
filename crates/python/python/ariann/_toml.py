"""Configuration files of the roles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ariann.errors import OperatorError


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        # Basic strings of TOML and strings of JSON escape alike, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(part) for part in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(part)}" for key, part in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def _key(key: str) -> str:
    return json.dumps(key)


def read(config: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any]:
    """Return a configuration that is a mapping or a file."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    try:
        content = Path(config).read_text()
    except OSError as error:
        raise OperatorError(f"{config}: {error.strerror}; give a TOML file or a mapping") from error
    try:
        return _tomllib().loads(content)  # type: ignore[no-any-return]
    except ValueError as error:
        raise OperatorError(f"{config} is no TOML: {error}; correct it") from error


def _tomllib() -> Any:
    try:
        import tomllib
    except ModuleNotFoundError as error:  # Python 3.10
        raise OperatorError("a TOML file needs Python 3.11; give a mapping") from error
    return tomllib


def write(path: Path, document: dict[str, Any]) -> Path:
    """Write a document; entries that are None are left out."""
    entries = [f"{_key(key)} = {_value(value)}\n" for key, value in document.items() if value is not None]
    path.write_text("".join(entries))
    return path
