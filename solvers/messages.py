"""Messages from the process of a third party's solver, whom nobody trusts.

    pipe     8 bytes: length of a message, highest byte first; the message, pickled; the next ...

Only what has arrived is read, so that a message that is begun and never ended blocks nobody. Only
data classes of ullage are unpickled, so that no code of the solver runs in the process that asks.
"""

import io
import os
import pickle
from collections import OrderedDict
from dataclasses import dataclass, is_dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, get_args

MessageKind = Literal["progress", "improved", "answer", "error", "breach"]

# Whether pipes are file descriptors; elsewhere messages are read as `multiprocessing` does it.
_PLAIN = os.name == "posix"
# Bytes of the length of a message.
_LENGTH_BYTES = 8
# Bytes that are read at once.
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Message:
    """A message from the solver's process.

    Attributes:
        kind: what it is.
        content: a text (`progress`, `breach`), a number (`improved`), a solution (`answer`), or the
            document of an error (`error`).
    """

    kind: MessageKind
    content: Any = None


def packed(message: Message) -> bytes:
    """A message as bytes.

    Raises:
        Exception: of any class: its content cannot be pickled.
    """
    return pickle.dumps(message)


def unpacked(data: bytes) -> Message:
    """The message that bytes stand for.

    Raises:
        Exception: of any class: they stand for none, or hold objects of other classes.
    """
    message = _Reader(io.BytesIO(data)).load()
    if not isinstance(message, Message) or message.kind not in get_args(MessageKind):
        raise pickle.UnpicklingError("it is no message")
    return message


class _Reader(pickle.Unpickler):
    """Unpickles data classes of ullage, and what Python has opcodes for."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a class
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module.startswith("ullage."):
            found = super().find_class(module, name)
            if isinstance(found, type) and is_dataclass(found):
                return found
        raise pickle.UnpicklingError(f"it holds a {module}.{name}, which is no class of ullage")


def send(pipe: Connection, data: bytes) -> None:
    """Send the bytes of a message."""
    if not _PLAIN:
        pipe.send_bytes(data)
        return
    left = memoryview(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    while left:
        left = left[os.write(pipe.fileno(), left) :]


class Inbox:
    """What has come through a pipe so far.

    Attributes:
        is_idle: nothing was there when it was looked at last.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._arrived = bytearray()
        self.is_idle = False

    def take(self, wait_s: float) -> bytes | None:
        """The bytes of the next message, None while it is not whole.

        Args:
            wait_s: seconds to wait for more, where it is not there yet.

        Raises:
            EOFError: there will be none any more.
        """
        data = self._whole()
        if data is not None:
            return data
        self.is_idle = not self._pipe.poll(wait_s)
        if self.is_idle:
            return None
        if not _PLAIN:
            return self._pipe.recv_bytes()
        piece = os.read(self._pipe.fileno(), _PIECE_BYTES)
        if not piece:
            raise EOFError
        self._arrived += piece
        return self._whole()

    def _whole(self) -> bytes | None:
        end = _LENGTH_BYTES + int.from_bytes(self._arrived[:_LENGTH_BYTES], "big")
        if len(self._arrived) < max(end, _LENGTH_BYTES):
            return None
        data = bytes(self._arrived[_LENGTH_BYTES:end])
        del self._arrived[:end]
        return data
