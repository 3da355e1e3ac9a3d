"""The token that guards a Ray cluster: where it lies, and that only its owner reads it. Never its value."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def token_path() -> Path:
    """The token file: ``$RAY_AUTH_TOKEN_PATH``, else ``~/.ray/auth_token``."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def token_mode() -> int | None:
    """Permission bits of the token file, None without one."""
    path = token_path()
    return stat.S_IMODE(path.stat().st_mode) if path.is_file() else None


def token_is_exposed() -> bool:
    """Whether anybody but the owner has any right on the token file."""
    return bool((token_mode() or 0) & (stat.S_IRWXG | stat.S_IRWXO))


def protect_token() -> None:
    """Ray writes its token world-readable; only the owner should read it."""
    if token_is_exposed():
        token_path().chmod(0o600)
