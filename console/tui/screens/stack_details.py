"""What the tabs of the stack say of one service."""

from __future__ import annotations

from textwrap import wrap

from console.core import format as fmt
from console.core.stack.containers import exit_words
from console.core.stack.driver import Inspection, Role, Sample, Service
from console.core.stack.status import Status
from console.core.text import clean
from console.tui.widgets import state
from console.tui.widgets.facts import Part

INDENT = 12


def details(service: Service, status: Status | None, used: Sample | None, width: int) -> list[Part]:
    """What is known of a service without looking closer.

    Args:
        service: Which one.
        status: For what the API says of the tracking server.
        used: What it uses now.
        width: How wide a value may be.
    """
    sign, tone, word = state.of_service(service)
    since = service.since
    held = used.memory_bytes if used else service.memory_bytes
    memory = fmt.size(held) if held is not None else ""
    if service.memory_limit_bytes is not None:
        memory = f"{memory} of {fmt.size(service.memory_limit_bytes)}".strip()
    elif memory:
        memory += ", no limit"
    pairs = [
        ("why", state.why(service)),
        ("role", service.role),
        ("runs", clean(service.image)),
        ("address", state.addresses(service.ports)),
        ("started", fmt.exact(service.started_at) if service.started_at else ""),
        ("restarts", fmt.count(service.restarts)),
        ("memory", memory),
        ("last exit", "" if service.exit_code is None else exit_words(service.exit_code)),
        ("since", fmt.exact(since) if since and since != service.started_at else ""),
        ("memory out", fmt.exact(service.oom_killed_at) if service.oom_killed_at else ""),
        *(_rates(used) if used else ()),
    ]
    if service.role is Role.TRACKING and status is not None:
        pairs += _api(status)
    parts: list[Part] = [(f"{'health':>{INDENT - 2}}  ", "dim"), (f"{sign} {word}", tone)]
    for name, value in pairs:
        if value:
            lines = wrap(value, max(10, width))
            said = f"\n{' ' * INDENT}".join(lines)
            parts += [(f"\n{name:>{INDENT - 2}}  ", "dim"), said]
    return parts


def _api(status: Status) -> list[tuple[str, str]]:
    api = status.api
    said = f"answers {clean(api.checked_as, 60)}" if api.ok else clean(api.error, 500)
    code = "" if api.http_status is None else f"HTTP {api.http_status}, "
    return [("API", code + said), ("MLflow", clean(api.version or "", 40))]


def _rates(used: Sample) -> list[tuple[str, str]]:
    """What moves, each second, and what else is counted."""

    def both(one: float | None, first: str, other: float | None, second: str) -> str:
        if one is None or other is None:
            return ""
        return f"{fmt.size(round(one))}/s {first}, {fmt.size(round(other))}/s {second}"

    return [
        ("network", both(used.received, "in", used.sent, "out")),
        ("disk", both(used.read, "read", used.written, "written")),
        ("processes", "" if used.processes is None else fmt.count(used.processes)),
        ("log", "" if used.log_bytes is None else f"{fmt.size(used.log_bytes)} on the disk"),
    ]


def inspected(tab: str, found: Inspection) -> list[Part]:
    """What a tab says of a service that was looked at closer."""
    parts: list[Part] = []
    match tab:
        case "checks":
            for check in reversed(found.checks):
                sign, tone = ("✓", "ok") if check.exit_code == 0 else ("✗", "bad")
                took = "" if check.seconds is None else f"  {check.seconds:.2f} s"
                parts += [(sign, tone), f" {fmt.exact(check.at)}  {exit_words(check.exit_code)}",
                          (took, "dim"), f"\n    {check.output or 'no word'}\n"]  # fmt: skip
            return parts or [("Nothing checks this service but the console itself.", "dim")]
        case "inspect":
            lines = found.raw.splitlines() or ["It has no container now."]
            return ["\n".join(clean(line, 1000) for line in lines)]
    pairs = found.environment if tab == "environment" else found.mounts
    for name, value in pairs:
        parts += [f"{name}  ", (value + "\n", "dim")]
    return parts or [("None.", "dim")]
