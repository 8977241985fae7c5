"""The log as its reader wants it: lines with a time for people, lines with a priority for the journal of systemd.

Job: say whether stderr is the journal's, and give the handler for either. One event is one line there: whatever a
record holds, a traceback too, its lines are joined, since the journal would make an entry of each. It notes time and
program by itself, so neither is said twice. Source: sd-daemon(3) for the prefixes, systemd.exec(5) for JOURNAL_STREAM.
Thread: any. Refuses: nothing; a JOURNAL_STREAM that makes no sense is somebody else's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TextIO

NOTICE = 25  # normal, but worth a look; syslog(3) has it between info and warning, Python does not
logging.addLevelName(NOTICE, "NOTICE")

_PRIORITIES = (  # the least level that has it; include/sys/syslog.h
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (NOTICE, 5),
    (logging.INFO, 6),
)
_DEBUG = 7
_FOR_PEOPLE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FOR_JOURNAL = "%(name)s: %(message)s"
_BETWEEN_LINES = " | "


def is_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written there goes to the journal: JOURNAL_STREAM names the file, `device:inode`."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


class JournalFormatter(logging.Formatter):
    """A record as one line that begins with its priority."""

    def __init__(self) -> None:
        super().__init__(_FOR_JOURNAL)

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
        return f"<{priority}>{_BETWEEN_LINES.join(super().format(record).splitlines())}"


class PeopleFormatter(logging.Formatter):
    """A record with its time and level; a traceback stands below it."""

    def __init__(self) -> None:
        super().__init__(_FOR_PEOPLE)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Give the first line."""
        return _BETWEEN_LINES.join(super().formatMessage(record).splitlines())


def handler(stream: TextIO, environ: Mapping[str, str] = os.environ) -> logging.Handler:
    """Make the handler that writes there."""
    made = logging.StreamHandler(stream)
    made.setFormatter(JournalFormatter() if is_journal(stream, environ) else PeopleFormatter())
    return made
