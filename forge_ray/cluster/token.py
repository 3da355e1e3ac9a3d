"""The token that guards a Ray cluster: where it lies, that only its owner reads it, and clusters that want none.

Whoever reaches the ports of a cluster without a token runs code there, and what such a cluster sends is unpickled here.
Never the value of the token.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from forge_ray.errors import ForgeRayError

log = logging.getLogger(__name__)

PROBE_SECONDS = 60
ALLOW = "--allow-unauthenticated (allow_unauthenticated=True)"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TokenError(ForgeRayError):
    """A cluster wants no token, or does not say whether it wants one, or there can be none."""

    exit_code = 2


def token_path() -> Path:
    """The token file: ``$RAY_AUTH_TOKEN_PATH``, else ``~/.ray/auth_token``."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _own_folder() / "auth_token")


def token_mode() -> int | None:
    """Permission bits of the token file, None without one."""
    path = token_path()
    return stat.S_IMODE(path.stat().st_mode) if path.is_file() else None


def exposed_places() -> list[Path]:
    """The token file, and its folder if that is Ray's own, as far as anybody but the owner has any right there."""
    path = token_path()
    places = [path, *([path.parent] if path.parent == _own_folder() else [])]
    return [place for place in places if place.exists() and place.stat().st_mode & _OTHERS]


def make_token() -> None:
    """A token that only its owner reads, if there is none yet: Ray would write one for all to read. Raises `TokenError`
    where the disk refuses it."""
    path = token_path()
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    try:
        if path.is_file():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # mode 0600
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())  # an empty one would be kept
            with suppress(FileExistsError):  # another process was first
                path.hardlink_to(file.name)
    except OSError as error:
        raise TokenError(f"{path}: {error.strerror}; RAY_AUTH_TOKEN_PATH names another place") from error


def protect_token() -> None:
    """Take from all but the owner what they may do with the token file and with Ray's own folder."""
    for place in exposed_places():
        _take_from_others(place)


def require_token_mode() -> None:
    """Raises `TokenError` if a cluster that this process starts would not want a token."""
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        text = f"RAY_AUTH_MODE is {mode!r}: whoever reaches the ports of a cluster started here would run code on it"
        raise TokenError(f"{text}; unset RAY_AUTH_MODE, or run with {ALLOW}")


def require_guarded(address: str) -> None:
    """Raises `TokenError` for a cluster beyond this machine that lets anybody in, or cannot be asked.

    It is asked without a token, before anything is sent to it. On a loopback address it is the user's own.
    """
    if is_loopback(address):
        return
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    where = [] if address == "auto" else ["--address", address]
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *where]
    answer = _answer(command, environment | {"RAY_AUTH_MODE": "disabled"})
    if answer is None:
        text = f"the Ray cluster at {address} lets in whoever reaches it, without a token"
        raise TokenError(f"{text}; start its nodes with RAY_AUTH_MODE=token, or run with {ALLOW}")
    if "AuthenticationError" not in answer:
        text = f"the Ray cluster at {address} does not say whether it wants a token ({answer})"
        raise TokenError(f"{text}; allowed: auto, or HOST:PORT of a head that can be reached from here")


def is_loopback(address: str) -> bool:
    """Whether the host of an address of a cluster (HOST:PORT) can only be this machine."""
    host = urlsplit(f"//{address.rpartition('//')[2]}").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _own_folder() -> Path:
    return Path.home() / ".ray"


def _take_from_others(place: Path) -> None:
    try:
        place.chmod(stat.S_IMODE(place.stat().st_mode) & ~_OTHERS)
    except OSError as error:  # such as a secret that is mounted read-only
        log.warning("%s: others may use it, and that cannot be changed: %s", place, error.strerror)


def _answer(command: list[str], environment: dict[str, str]) -> str | None:
    """The last line of what a command says against it, None if it succeeds."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS} s"
    return None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]
