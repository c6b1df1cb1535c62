"""Pickled arrays read as plain data: no pickle module, no import, no call.

A pickle is a program for a stack machine. This is that machine with the instructions that CIFAR-10's
batches use and no others: it builds dictionaries, lists, tuples, integers, byte strings and uint8 arrays.
The three names which those files mention (`numpy.core.multiarray._reconstruct`, `numpy.ndarray` and
`numpy.dtype`) are symbols here: they stand for nothing that could be called, and only the one way to put
them together that makes an array of bytes is understood.

What is put into the memo is never fetched in these files, so there is no memo, and nothing can grow out of
it. Everything made is bounded: by the file's length, by the count of instructions, by the depth of marks.
"""

from collections.abc import Callable
from enum import Enum
from math import prod

import numpy as np
from numpy.typing import NDArray

from foveal.errors import DataError

MOST_BYTES = 1 << 26
"""A CIFAR-10 batch has 31 MB."""
MOST_INSTRUCTIONS = 200_000
"""A CIFAR-10 batch has 40,100."""
MOST_MARKS = 16
"""A CIFAR-10 batch has three at once."""
_MOST_NAME = 100


class _Symbol(Enum):
    """What a pickle may name. None of these is a function or a class."""

    RECONSTRUCT = b"numpy.core.multiarray _reconstruct"
    NDARRAY = b"numpy ndarray"
    DTYPE = b"numpy dtype"


class _Blank(Enum):
    """What is made by REDUCE and waits for BUILD."""

    ARRAY = "array"
    DTYPE = "dtype"


class _Ready(Enum):
    """What is made by BUILD, besides arrays."""

    UINT8 = "uint8"


# What REDUCE and BUILD must be given, to the letter: what Python 2's NumPy writes for a uint8 array.
_ARRAY_ARGUMENTS = (_Symbol.NDARRAY, (0,), b"b")
_DTYPE_ARGUMENTS = (b"u1", 0, 1)
_DTYPE_STATE = (3, b"|", None, None, None, -1, -1, 0)
_ARRAY_STATE_VERSION = 1
_MOST_DIMENSIONS = 4


def read(content: bytes, what: str) -> object:
    """Read a pickle of protocol 2 that holds plain data and uint8 arrays.

    Args:
        content: the pickle, at most `MOST_BYTES` bytes.
        what: what to call it when something is wrong.

    Returns:
        A dict with bytes as keys, a list, a tuple, an int, bytes, a bool, None, or a read-only uint8 array.

    Raises:
        DataError: it is broken, or holds an instruction or a name outside the list. Nothing has been run.
    """
    if len(content) > MOST_BYTES:
        raise DataError(f"{what} has {len(content):,} bytes, and at most {MOST_BYTES:,} are read")
    machine = _Machine(content, what)
    return machine.run()


class _Machine:
    """The stack machine, for one pickle."""

    def __init__(self, content: bytes, what: str) -> None:
        self._content = content
        self._what = what
        self._position = 0  # of the next byte to read
        self._start = 0  # of the instruction at hand
        self._name = "PROTO"
        self._stack: list[object] = []
        self._below: list[list[object]] = []  # a stack for each open mark
        self._loose = 0  # symbols, and what is not yet an array: none may be left in the result

    def run(self) -> object:
        if self._content[:2] != b"\x80\x02":
            raise self._refusal("it does not begin as a pickle of protocol 2 does")
        self._position = 2
        for _ in range(MOST_INSTRUCTIONS):
            self._start = self._position
            code = self._take(1)[0]
            known = _INSTRUCTIONS.get(code)
            if known is None:
                name = _REFUSED.get(code)
                raise self._refusal(
                    f"the instruction {name} is not allowed" if name else f"{code:#04x} is none"
                )
            self._name, step = known
            if step is None:  # STOP
                return self._result()
            step(self)
        raise self._refusal(f"more than {MOST_INSTRUCTIONS:,} instructions")

    def _result(self) -> object:
        if self._below or len(self._stack) != 1:
            raise self._refusal("it stops with its parts not put together")
        if self._position != len(self._content):
            raise self._refusal("something follows its end")
        if self._loose:
            raise self._refusal("it holds a name that stands for no data")
        return self._stack[0]

    def _refusal(self, problem: str) -> DataError:
        return DataError(f"{self._what} is refused at byte {self._start:,}: {problem}; nothing in it was run")

    # ---- the bytes

    def _take(self, n: int) -> bytes:
        taken = self._content[self._position : self._position + n]
        if len(taken) != n:
            raise self._refusal("it is cut short")
        self._position += n
        return taken

    def _unsigned(self, n: int) -> int:
        return int.from_bytes(self._take(n), "little")

    def _signed(self, n: int) -> int:
        return int.from_bytes(self._take(n), "little", signed=True)

    def _line(self) -> bytes:
        end = self._content.find(b"\n", self._position, self._position + _MOST_NAME + 1)
        if end < 0:
            raise self._refusal("a name is too long or cut short")
        line = self._content[self._position : end]
        self._position = end + 1
        return line

    # ---- the stack

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        if not self._stack:
            raise self._refusal(f"{self._name} finds nothing on the stack")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[object]:
        if not self._below:
            raise self._refusal(f"{self._name} finds no mark")
        since = self._stack
        self._stack = self._below.pop()
        return since

    # ---- the instructions

    def mark(self) -> None:
        if len(self._below) == MOST_MARKS:
            raise self._refusal(f"more than {MOST_MARKS} marks are open")
        self._below.append(self._stack)
        self._stack = []

    def empty_dict(self) -> None:
        self._push({})

    def empty_list(self) -> None:
        self._push([])

    def none(self) -> None:
        self._push(None)

    def true(self) -> None:
        self._push(True)

    def false(self) -> None:
        self._push(False)

    def integer(self) -> None:
        self._push(self._signed(4))

    def integer_of_1(self) -> None:
        self._push(self._unsigned(1))

    def integer_of_2(self) -> None:
        self._push(self._unsigned(2))

    def string(self) -> None:
        length = self._signed(4)
        if length < 0:
            raise self._refusal("a string has a negative length")
        self._push(self._take(length))

    def short_string(self) -> None:
        self._push(self._take(self._unsigned(1)))

    def put(self) -> None:
        self._take(1)  # which place of the memo: nothing ever fetches from it

    def put_far(self) -> None:
        self._take(4)

    def appends(self) -> None:
        items = self._pop_to_mark()
        target = self._stack[-1] if self._stack else None
        if type(target) is not list:
            raise self._refusal("APPENDS finds no list")
        target.extend(items)

    def set_items(self) -> None:
        items = self._pop_to_mark()
        target = self._stack[-1] if self._stack else None
        if type(target) is not dict or len(items) % 2:
            raise self._refusal("SETITEMS finds no dictionary, or a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not bytes or key in target:
                raise self._refusal("a key is no string, or there twice")
            target[key] = value

    def tuple_to_mark(self) -> None:
        items = self._pop_to_mark()
        self._push(tuple(items))

    def tuple_of_1(self) -> None:
        self._push((self._pop(),))

    def tuple_of_2(self) -> None:
        second, first = self._pop(), self._pop()
        self._push((first, second))

    def tuple_of_3(self) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self._push((first, second, third))

    def symbol(self) -> None:
        named = self._line() + b" " + self._line()
        try:
            self._push(_Symbol(named))
            self._loose += 1
        except ValueError:
            shown = named.decode("ascii", "backslashreplace").replace(" ", ".")
            raise self._refusal(f"GLOBAL names {shown!a}, which is not allowed") from None

    def reduce(self) -> None:
        arguments, symbol = self._pop(), self._pop()
        if symbol is _Symbol.RECONSTRUCT and _same(arguments, _ARRAY_ARGUMENTS):
            self._push(_Blank.ARRAY)
            self._loose -= 1  # two symbols have become one blank
        elif symbol is _Symbol.DTYPE and _same(arguments, _DTYPE_ARGUMENTS):
            self._push(_Blank.DTYPE)
        else:
            raise self._refusal("REDUCE is allowed for an array of uint8 and for nothing else")

    def build(self) -> None:
        state, blank = self._pop(), self._pop()
        if blank is _Blank.DTYPE and _same(state, _DTYPE_STATE):
            self._push(_Ready.UINT8)
        elif blank is _Blank.ARRAY:
            self._push(self._array(state))
            self._loose -= 2  # the blank and its dtype have become data
        else:
            raise self._refusal("BUILD is allowed for an array of uint8 and for nothing else")

    def _array(self, state: object) -> NDArray[np.uint8]:
        if type(state) is not tuple or len(state) != 5:
            raise self._refusal("an array's state is not of five parts")
        version, shape, dtype, by_columns, raw = state
        if type(version) is not int or version != _ARRAY_STATE_VERSION or dtype is not _Ready.UINT8:
            raise self._refusal("an array is of another type than uint8")
        if type(shape) is not tuple or not 1 <= len(shape) <= _MOST_DIMENSIONS:
            raise self._refusal(f"an array has no shape of 1 to {_MOST_DIMENSIONS} sides")
        if not all(type(side) is int and side > 0 for side in shape):
            raise self._refusal("an array's side is no positive number")
        if type(by_columns) is not bool or type(raw) is not bytes or prod(shape) != len(raw):
            raise self._refusal("an array's shape and its bytes do not fit")
        sides: tuple[int, ...] = shape
        # A view: raw is not copied, and cannot be written to.
        return np.frombuffer(raw, dtype=np.uint8).reshape(sides, order="F" if by_columns else "C")


def _same(value: object, expected: object) -> bool:
    """Compare type by type, so that no other object's `==` is asked, and no deeper than `expected` goes."""
    if type(value) is not type(expected):
        return False
    if isinstance(value, tuple) and isinstance(expected, tuple):
        return len(value) == len(expected) and all(map(_same, value, expected))
    return value == expected


_Step = Callable[[_Machine], None]

# code: (the instruction's name in Python's own documentation of pickles, what it does here)
_INSTRUCTIONS: dict[int, tuple[str, _Step | None]] = {
    ord("("): ("MARK", _Machine.mark),
    ord("."): ("STOP", None),
    ord("}"): ("EMPTY_DICT", _Machine.empty_dict),
    ord("]"): ("EMPTY_LIST", _Machine.empty_list),
    ord("N"): ("NONE", _Machine.none),
    0x88: ("NEWTRUE", _Machine.true),
    0x89: ("NEWFALSE", _Machine.false),
    ord("J"): ("BININT", _Machine.integer),
    ord("K"): ("BININT1", _Machine.integer_of_1),
    ord("M"): ("BININT2", _Machine.integer_of_2),
    ord("T"): ("BINSTRING", _Machine.string),
    ord("U"): ("SHORT_BINSTRING", _Machine.short_string),
    ord("q"): ("BINPUT", _Machine.put),
    ord("r"): ("LONG_BINPUT", _Machine.put_far),
    ord("e"): ("APPENDS", _Machine.appends),
    ord("u"): ("SETITEMS", _Machine.set_items),
    ord("t"): ("TUPLE", _Machine.tuple_to_mark),
    0x85: ("TUPLE1", _Machine.tuple_of_1),
    0x86: ("TUPLE2", _Machine.tuple_of_2),
    0x87: ("TUPLE3", _Machine.tuple_of_3),
    ord("c"): ("GLOBAL", _Machine.symbol),
    ord("R"): ("REDUCE", _Machine.reduce),
    ord("b"): ("BUILD", _Machine.build),
}

# Every other instruction that pickles have, so that a refusal can name it.
_REFUSED: dict[int, str] = {
    ord("I"): "INT",
    ord("L"): "LONG",
    0x8A: "LONG1",
    0x8B: "LONG4",
    ord("S"): "STRING",
    ord("B"): "BINBYTES",
    ord("C"): "SHORT_BINBYTES",
    0x8E: "BINBYTES8",
    0x96: "BYTEARRAY8",
    0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
    ord("V"): "UNICODE",
    0x8C: "SHORT_BINUNICODE",
    ord("X"): "BINUNICODE",
    0x8D: "BINUNICODE8",
    ord("F"): "FLOAT",
    ord("G"): "BINFLOAT",
    ord("a"): "APPEND",
    ord("l"): "LIST",
    ord(")"): "EMPTY_TUPLE",
    ord("d"): "DICT",
    ord("s"): "SETITEM",
    0x8F: "EMPTY_SET",
    0x90: "ADDITEMS",
    0x91: "FROZENSET",
    ord("0"): "POP",
    ord("2"): "DUP",
    ord("1"): "POP_MARK",
    ord("g"): "GET",
    ord("h"): "BINGET",
    ord("j"): "LONG_BINGET",
    ord("p"): "PUT",
    0x94: "MEMOIZE",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x93: "STACK_GLOBAL",
    ord("i"): "INST",
    ord("o"): "OBJ",
    0x81: "NEWOBJ",
    0x92: "NEWOBJ_EX",
    0x80: "PROTO",
    0x95: "FRAME",
    ord("P"): "PERSID",
    ord("Q"): "BINPERSID",
}
