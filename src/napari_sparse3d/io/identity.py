"""The patient's identifier as a salted hash: enough to keep one patient's scans on one side of a split, and no more."""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import lru_cache
from pathlib import Path

from napari_sparse3d.environment import config_folder, variable


def patient_hash(identifier: str) -> str:
    """Sixteen hexadecimal digits for a patient's identifier; ``""`` for none.

    The salt is secret and kept for this user, so the same patient has the same hash in every run here and the hash
    cannot be searched for elsewhere. To get the same hashes on several machines, set ``NAPARI_SPARSE3D_SALT`` on
    all of them.
    """
    if not identifier.strip():
        return ""
    return hashlib.blake2b(identifier.strip().encode(), key=_salt(), digest_size=8).hexdigest()


def _salt() -> bytes:
    chosen = variable("NAPARI_SPARSE3D_SALT")
    return hashlib.sha256(chosen.encode()).digest() if chosen else _kept_salt()


def _salt_file() -> Path:
    """In the user's settings; where earlier versions kept one on every system, if there is one.

    Another salt would give every patient another hash.
    """
    former = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "napari-sparse3d" / "salt"
    return former if former.is_file() else config_folder() / "salt"


@lru_cache(maxsize=1)
def _kept_salt() -> bytes:
    try:
        path = _salt_file()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # exclusive: of two processes that start together one makes the salt, the other reads it
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError:
        return secrets.token_bytes(32)  # no place to keep one: hashes hold for this run only
    try:
        salt = path.read_bytes()
    except OSError:
        salt = b""
    return salt[:64] or secrets.token_bytes(32)
