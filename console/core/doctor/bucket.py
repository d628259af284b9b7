"""Whether an artifact store's bucket is open to everybody: asked without a key, and its policy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from console.core import http
from console.core.errors import ConsoleError
from console.core.stack.driver import Finding, Severity
from console.core.stack.places import Bucket
from console.core.storage import s3_answers
from console.core.storage.s3_client import S3Client
from console.core.text import clean

SECONDS = 5.0
LIST, READ, WRITE = "list", "read", "write"
# What an action of a policy allows (the S3 API's names; a policy may end them in a star).
ACTIONS = {
    "s3:ListBucket": LIST, "s3:GetObject": READ, "s3:PutObject": WRITE, "s3:DeleteObject": WRITE,
}  # fmt: skip


def findings(bucket: Bucket, service: str, remedy: str) -> list[Finding]:
    """Ask as somebody without a key, and read the policy.

    Args:
        bucket: With the keys of its owner, which tell what there is to ask for.
        service: The name of the store.
        remedy: How it is closed.

    Raises:
        ConsoleError: The store cannot be asked; see `S3Client.get`.
    """
    with contextlib.closing(S3Client(bucket, SECONDS, 0)) as owner:
        objects, _ = s3_answers.listing(owner.get({"list-type": "2", "max-keys": "1",
                                                   "encoding-type": "url"}))  # fmt: skip
        policy = owner.get({"policy": ""}, gone="NoSuchBucketPolicy")
    can = {LIST} if _answers(bucket, "?list-type=2&max-keys=1") else set()
    if objects and _answers(bucket, "/" + quote(objects[0][0], errors="surrogateescape")):
        can.add(READ)
    allowed = allows(policy)
    if not can | allowed:
        return []
    what = _listed([each for each in (LIST, READ, WRITE) if each in can | allowed])
    seen = [
        f"without a key it answers: {_listed(sorted(can))}" if can else "",
        "its policy allows it to everybody" if allowed else "",
    ]
    return [Finding(
        "bucket-public", Severity.ERROR, service,
        f"{service}: the bucket {clean(bucket.name, 80)} is public: whoever reaches the store may "
        f"{what} artifacts",
        "; ".join(filter(None, seen)), remedy,
    )]  # fmt: skip


def _answers(bucket: Bucket, rest: str) -> bool:
    """Whether a request without a key is served."""
    url = f"{bucket.endpoint.rstrip('/')}/{quote(bucket.name)}{rest}"
    return http.get(url, timeout=SECONDS).status in (200, 206)


def allows(policy: bytes) -> set[str]:
    """What a policy allows to everybody without a condition.

    Args:
        policy: As the store has it, JSON; empty where there is none.

    Raises:
        ConsoleError: It cannot be read.
    """
    if not policy.strip():
        return set()
    try:
        document = msgspec.json.decode(policy)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConsoleError("The policy of the bucket cannot be read") from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    return {
        kind
        for each in _several(statements)
        if isinstance(each, dict) and each.get("Effect") == "Allow" and not each.get("Condition")
        if _everybody(each.get("Principal"))
        for action in _several(each.get("Action"))
        for kind in _kinds(str(action))
    }


def _several(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _everybody(principal: Any) -> bool:
    if isinstance(principal, dict):
        return any(_everybody(each) for value in principal.values() for each in _several(value))
    return bool(principal == "*")


def _kinds(action: str) -> Iterator[str]:
    for name, kind in ACTIONS.items():
        if action == name or (action.endswith("*") and name.startswith(action[:-1])):
            yield kind


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
