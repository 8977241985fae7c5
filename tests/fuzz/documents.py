"""What people, programs and files say to the control plane, fuzzed: configurations, `fdb_file`, the control socket.

    python tests/fuzz/documents.py toml|fdb_file|control WORDS [libFuzzer's options and corpora]

WORDS is written: the names that the target knows, for mutations (`-dict=WORDS`). Whatever the bytes are, the answer is
a value or the one error that the module promises. What was read is written and read again, and is the same. Needs
atheris.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

with atheris.instrument_imports(include=["bridge"]):
    from bridge.config.document import parse
    from bridge.config.plan import plan
    from bridge.config.registry import SECTIONS
    from bridge.config.write import to_toml
    from bridge.control.protocol import INTERNAL, Call, Decoder, Message, ProtocolError, decode, encode
    from bridge.control.service import METHODS, Service
    from bridge.errors import ConfigError, ControlError, Problem
    from bridge.fdb.file import FdbFileError, read_text, write_text

from helpers.fake_engine import FakeEngine  # noqa: E402

BRIDGE = "b"


def toml(data: bytes) -> None:
    """A file is valid, and survives being written; or it is refused, every problem with its words."""
    problems: tuple[Problem, ...] = ()
    try:
        config = parse(data.decode("utf-8", "replace"))
    except ConfigError as error:
        problems = tuple(error.problems)
        if not problems:
            raise
    assert all(problem.message for problem in problems)
    if problems:
        return
    assert parse(to_toml(config)) == config
    assert not plan(config, config)
    plan(None, config)


def fdb_file(data: bytes) -> None:
    """Either the records of the bridge, or a sentence."""
    try:
        records, learning = read_text(data.decode("utf-8", "replace"), BRIDGE)
    except FdbFileError:
        return
    assert read_text(write_text(records, BRIDGE, learning), BRIDGE) == (records, learning)


def heard(data: bytes, step: int) -> Iterator[Message | str]:
    """Messages of a stream that comes in pieces, then why there are no more."""
    decoder = Decoder(limit=4096)
    for at in range(0, len(data), step):
        decoder.feed(data[at : at + step])
        try:
            yield from decoder.messages()
        except ProtocolError as error:
            yield str(error)
            return


async def answer(message: Message) -> None:
    """Call what a message asks for; nothing but a ControlError comes of it, and no internal one."""
    try:
        call = Call.from_message(message)
        assert Call.from_message(decode(encode(call.message())[:-1])) == call
        engine = FakeEngine(FUZZED)
        await engine.start()
        result = await asyncio.wait_for(Service(engine).call(call, may_change=True), 20)  # type: ignore[arg-type]
    except ControlError as error:
        if error.name == INTERNAL:
            raise
        return
    close = getattr(result, "close", None)
    if close:
        close()


def control(data: bytes) -> None:
    """The stream says the same however it is cut; each of its calls has an answer."""
    step = 1 + (data[0] if data else 0)
    messages = list(heard(data[1:], step))
    assert messages == list(heard(data[1:], len(data) + 1))
    for message in messages[:8]:
        if not isinstance(message, str):
            asyncio.run(answer(message))


FUZZED = parse('[[port]]\nname = "p1"\nkind = "memory"\nvlan = { access = 10 }\n')
TARGETS: dict[str, Callable[[bytes], None]] = {"toml": toml, "fdb_file": fdb_file, "control": control}


def words(target: str) -> Iterator[str]:
    """What a mutation may put in: names that the target knows."""
    if target == "toml":
        for section in SECTIONS:
            yield from (f"[[{section.name}]]", f"[{section.name}]")
            yield from (field.name for field in dataclasses.fields(section.blank))
    if target == "control":
        yield from (f'"{name}"' for name in METHODS)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    target, dictionary, *options = sys.argv[1:]
    known = sorted(set(words(target))) or ["entries"]
    Path(dictionary).write_text("".join('"{}"\n'.format(word.replace('"', '\\"')) for word in known))
    atheris.Setup([sys.argv[0], f"-dict={dictionary}", *options], TARGETS[target])
    atheris.Fuzz()
