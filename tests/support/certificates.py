"""Certificates that their own keys sign, with whatever end and names a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def certificate(
    host: str, days: float, names: Sequence[str] = (), now: datetime | None = None
) -> tuple[bytes, bytes]:
    """A certificate and its key, both PEM.

    Args:
        host: Whose it is.
        days: How long from now on it is good.
        names: The names it is for; the host's when empty.
        now: The time; this moment when left out.
    """
    moment = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    said = x509.SubjectAlternativeName([x509.DNSName(each) for each in names or (host,)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=90))
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(said, critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private


def make_certificate(folder: Path, host: str, days: float, names: Sequence[str] = ()) -> None:
    """Put a certificate and its key into a folder, as NAME.crt and NAME.key."""
    pair = certificate(host, days, names)
    for suffix, content in zip(("crt", "key"), pair, strict=True):
        (folder / f"{host}.{suffix}").write_bytes(content)
