"""What is said of the link: whether what is retained may be taken for the present, and what a full spool has cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.interrogation import NotRead
    from telemetry.publish.messages import Body

LONGEST_TEXT = 500
"""Characters of a problem's text that are told; a peer must not fill the broker with it."""


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What a link message says besides its instants; two that are equal need not both be said."""

    state: str
    reason: str
    problem_kind: str = ""
    problem_text: str = ""
    log_held_back: bool = False
    lost_alarm_events: int = 0
    lost_log_records: int = 0
    spool_problem: str = ""


def not_read(found: NotRead) -> tuple[str, str]:
    """Kind and text of what keeps a pump from being read."""
    return found.kind, found.reason[:LONGEST_TEXT]


def link_body(facts: LinkFacts, *, said_utc_ms: int, read_utc_ms: int | None, waiting: int) -> Body:
    """The keys of a link message."""
    problem = {"kind": facts.problem_kind, "text": facts.problem_text} if facts.problem_kind else None
    return {
        "read_utc_ms": read_utc_ms,
        "said_utc_ms": said_utc_ms,
        "state": facts.state,
        "reason": facts.reason,
        "problem": problem,
        "waiting_messages": waiting,
        "log_held_back": facts.log_held_back,
        "lost_alarm_events": facts.lost_alarm_events,
        "lost_log_records": facts.lost_log_records,
        "spool_problem": facts.spool_problem or None,
    }
