"""Whether a password matches a hash of any scheme that stands in htpasswd files."""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
from enum import StrEnum

from console.core.secrets import Secret
from console.core.users.htpasswd import Line, scheme_of

# libpass's names for ours.
_BY_LIBPASS = {
    "apr1": "apr_md5_crypt", "sha": "ldap_sha1", "ssha": "ldap_salted_sha1",
    "md5-crypt": "md5_crypt", "sha256-crypt": "sha256_crypt", "sha512-crypt": "sha512_crypt",
    "des-crypt": "des_crypt",
}  # fmt: skip
_PLAIN = b"{PLAIN}"
LONGEST_PASSWORD = 4_096  # bytes; no header of a request is longer
BCRYPT_LOOKS_AT = 72


class Verdict(StrEnum):
    """What a check of a password came to."""

    RIGHT = "right"
    WRONG = "wrong"
    DISABLED = "disabled"
    UNKNOWN = "unknown"  # no library here knows the scheme


def verdict(line: Line, password: Secret) -> Verdict:
    """Whether a user gets in by a password.

    Args:
        line: The user's, as it is in force.
        password: What would be typed.
    """
    if not line.enabled:
        return Verdict.DISABLED
    matches = _matches(line.field, password.reveal().encode("utf-8", "surrogatepass"))
    if matches is None:
        return Verdict.UNKNOWN
    return Verdict.RIGHT if matches else Verdict.WRONG


def _matches(field: bytes, password: bytes) -> bool | None:
    """None where nothing here can tell."""
    if b"\0" in password or len(password) > LONGEST_PASSWORD:
        return False
    scheme = scheme_of(field).name
    if scheme == "plain":
        return hmac.compare_digest(field.removeprefix(_PLAIN), password)
    try:
        if field.startswith((b"$2a$", b"$2b$", b"$2y$")):
            import bcrypt  # noqa: PLC0415  # first use, not start-up

            return bcrypt.checkpw(password[:BCRYPT_LOOKS_AT], field)
        if scheme in _BY_LIBPASS:
            from passlib.context import CryptContext  # noqa: PLC0415  # first use, not start-up

            context = CryptContext(schemes=[_BY_LIBPASS[scheme]])
            return bool(context.verify(password, field.decode()))
    except ValueError:
        return None  # it only looks like a hash of that scheme
    return _by_libc(field, password)


def _by_libc(field: bytes, password: bytes) -> bool | None:
    """As nginx does for whatever it does not know itself; `crypt` left Python with 3.13."""
    name = ctypes.util.find_library("crypt")
    if not name:
        return None
    library = ctypes.CDLL(name)
    library.crypt.restype = ctypes.c_char_p
    made = library.crypt(password, field)
    # "*0" and "*1" say that the library does not know it (crypt(3)).
    if not made or made.startswith(b"*"):
        return None
    return hmac.compare_digest(made, field)
