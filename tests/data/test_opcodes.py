import pickletools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveal.data import opcodes
from foveal.errors import DataError

Pickled = Callable[[object], bytes]

# ---- what is allowed


def test_plain_data_comes_back(pickled: Pickled) -> None:
    value = {b"a": [0, 255, 256, 65535, 65536, -7, None, True, False], b"b": b"x" * 300, b"c": (1, b"", ())}

    assert opcodes.read(pickled(value), "it") == value


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_whatever_its_order(pickled: Pickled, order: str) -> None:
    array = np.asarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), order=order)  # type: ignore[call-overload]

    read = opcodes.read(pickled({b"data": array}), "it")

    assert isinstance(read, dict)
    np.testing.assert_array_equal(read[b"data"], array)
    assert read[b"data"].dtype == np.uint8
    assert not read[b"data"].flags.writeable


def test_every_instruction_is_allowed_or_refused_under_its_own_name() -> None:
    for known in pickletools.opcodes:
        code = ord(known.code)
        allowed, refused = opcodes._INSTRUCTIONS.get(code), opcodes._REFUSED.get(code)
        assert (allowed is None) != (refused is None), known.name
        assert (allowed[0] if allowed else refused) == known.name


def test_only_what_cifar10_uses_is_allowed() -> None:
    names = {name for name, _ in opcodes._INSTRUCTIONS.values()}

    assert names == {
        *("MARK", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2"),
        *("BINSTRING", "SHORT_BINSTRING", "EMPTY_LIST", "APPENDS", "EMPTY_DICT", "SETITEMS"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "GLOBAL", "REDUCE", "BUILD"),
    }


# ---- what would run something


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that make the file `marker` when Python's own unpickler reads them."""
    command = f"echo > '{marker}'".encode()
    short = b"U" + bytes([len(command)]) + command
    text = b"X" + len(command).to_bytes(4, "little") + command
    name = b"\x8c\x02os\x8c\x06system"
    partial = b"cfunctools\npartial\n"
    return {
        "GLOBAL": b"\x80\x02cos\nsystem\n(" + short + b"tR.",
        "GLOBAL inside a list": b"\x80\x02](cos\nsystem\n(" + short + b"tRe.",
        "STACK_GLOBAL": b"\x80\x04" + name + b"\x93" + text + b"\x85R.",
        "STACK_GLOBAL, said to be protocol 2": b"\x80\x02" + name + b"\x93" + text + b"\x85R.",
        "INST": b"\x80\x02(" + short + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + short + b"o.",
        "NEWOBJ": b"\x80\x02" + partial + b"cos\nsystem\n" + short + b"\x86\x81)R.",
        "NEWOBJ_EX": b"\x80\x02" + partial + b"cos\nsystem\n" + short + b"\x86}\x92)R.",
        "BUILD": b"\x80\x02" + partial + b"cos\nsystem\n" + short + b"\x86R)R.",
        "no protocol": b"cos\nsystem\n(S'" + command.replace(b"'", b"\\'") + b"'\ntR.",
        "FRAME": b"\x80\x04\x95"
        + (len(name + text) + 4).to_bytes(8, "little")
        + name
        + b"\x93"
        + text
        + b"\x85R.",
    }


NAMES = sorted(attacks(Path("marker")))


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_runs_nothing(name: str, tmp_path: Path, events: list[str]) -> None:
    marker = tmp_path / "ran"
    content = attacks(marker)[name]
    events.clear()

    with pytest.raises(DataError, match="nothing in it was run"):
        opcodes.read(content, "it")

    assert events == []
    assert not marker.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the attacks speak to a POSIX shell")
def test_these_are_attacks_indeed(tmp_path: Path) -> None:
    """Otherwise the test above shows nothing."""
    program = "import sys, pickle; pickle.loads(bytes.fromhex(sys.argv[1]))"
    running = {
        name: subprocess.Popen([sys.executable, "-c", program, attacks(tmp_path / name)[name].hex()])
        for name in NAMES
    }

    assert {name for name, process in running.items() if process.wait() == 0} == set(NAMES)
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)


_WATCHED = {"import", "exec", "compile", "open", "os.system", "subprocess.Popen", "pickle.find_class"}
_SEEN: list[str] = []
_WATCHING: list[bool] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _WATCHING and event in _WATCHED:
        _SEEN.append(event)


@pytest.fixture
def events() -> Iterator[list[str]]:
    """What Python was asked to import, run or open while the test ran."""
    if not _SEEN and not hasattr(sys, "_foveal_watched"):
        sys._foveal_watched = True  # type: ignore[attr-defined] # a hook cannot be taken off again
        sys.addaudithook(_watch)
    _WATCHING.append(True)
    yield _SEEN
    _WATCHING.clear()
    _SEEN.clear()


def test_the_watch_sees_an_import(events: list[str]) -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("a_module_that_does_not_exist")

    assert "import" in events


# ---- what is broken, or wants too much

ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "cut short"),
        (b"U\x05abc", "cut short"),
        (b"T\xff\xff\xff\x7fabc", "cut short"),
        (b"T\xff\xff\xff\xffabc", "negative length"),
        (b"M\x00", "cut short"),
        (b"cnumpy\nndarray", "a name is too long or cut short"),
        (b"c" + b"a" * 200 + b"\nb\n.", "a name is too long or cut short"),
        (b"cnumpy\nndarray\n.", "stands for no data"),
        (b"](cnumpy\nndarray\ne.", "stands for no data"),
        (b"}(U\x01acnumpy\nndarray\nu.", "stands for no data"),
        (b"cnumpy\nndarray\n\x85.", "stands for no data"),
        (ARRAY + b".", "stands for no data"),
        (DTYPE + b".", "stands for no data"),
        (b"cnumpy\nsave\n.", "'numpy.save'"),
        (b"cnumpy.core.multiarray _reconstruct\n\n.", "GLOBAL names"),
        (b"c\xff\x1b[2J\nx\n.", r"\\\\xff\\x1b"),
        (b"h\x01.", "BINGET is not allowed"),
        (b"P1\n.", "PERSID is not allowed"),
        (b"K\x01Q.", "BINPERSID is not allowed"),
        (b"\x82\x01.", "EXT1 is not allowed"),
        (b"\x83\x01\x00.", "EXT2 is not allowed"),
        (b"\x84\x01\x00\x00\x00.", "EXT4 is not allowed"),
        (b"\x80\x02N.", "PROTO is not allowed"),
        (b"\xfe.", "0xfe is none"),
        (b"K\x01K\x02.", "not put together"),
        (b"(K\x01.", "not put together"),
        (b".", "not put together"),
        (b"N.N", "something follows"),
        (b"e.", "finds no mark"),
        (b"(e.", "APPENDS finds no list"),
        (b"K\x01(K\x02e.", "APPENDS finds no list"),
        (b"](K\x02u.", "SETITEMS finds no dictionary"),
        (b"}(U\x01au.", "a key without a value"),
        (b"}(]K\x01u.", "a key is no string"),
        (b"}(U\x01aK\x01U\x01aK\x02u.", "there twice"),
        (b"\x85.", "TUPLE1 finds nothing"),
        (b"K\x01\x87.", "TUPLE3 finds nothing"),
        (b"R.", "finds nothing"),
        (b"](K\x01(]eb.", "finds no list"),
        (b"]K\x01R.", "REDUCE is allowed for"),
        (b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.", "REDUCE is allowed for"),
        (b"cnumpy\ndtype\nU\x02u1\x89K\x01\x87R.", "REDUCE is allowed for"),
        (b"cnumpy\nndarray\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R.", "REDUCE is allowed for"),
        (b"]Nb.", "BUILD is allowed for"),
        (ARRAY + b"Nb.", "not of five parts"),
        (ARRAY + b"(K\x02K\x03\x85" + DTYPE + b"\x89U\x03abctb.", "another type than uint8"),
        (ARRAY + b"(K\x01K\x03\x85N\x89U\x03abctb.", "another type than uint8"),
        (ARRAY + b"(K\x01N" + DTYPE + b"\x89U\x03abctb.", "no shape"),
        (ARRAY + b"(K\x01(t" + DTYPE + b"\x89U\x03abctb.", "no shape"),
        (ARRAY + b"(K\x01K\x00\x85" + DTYPE + b"\x89U\x00tb.", "no positive number"),
        (
            ARRAY + b"(K\x01J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x86" + DTYPE + b"\x89U\x03abctb.",
            "no positive number",
        ),
        (ARRAY + b"(K\x01K\x04\x85" + DTYPE + b"\x89U\x03abctb.", "do not fit"),
        (ARRAY + b"(K\x01K\x03\x85" + DTYPE + b"NU\x03abctb.", "do not fit"),
        (ARRAY + b"(K\x01K\x03\x85" + DTYPE + b"\x89(U\x03abcttb.", "do not fit"),
        (b"(" * (opcodes.MOST_MARKS + 1), "marks are open"),
        (b"}" * opcodes.MOST_INSTRUCTIONS, "instructions"),
    ],
)
def test_what_is_broken_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as raised:
        opcodes.read(b"\x80\x02" + body, "the file")

    assert str(raised.value).startswith("the file is refused at byte ")
    assert str(raised.value).isascii()
    assert str(raised.value).isprintable()


def test_an_array_among_arguments_is_never_compared(pickled: Pickled) -> None:
    array = pickled(np.zeros(3, np.uint8))[2:-1]

    with pytest.raises(DataError, match="REDUCE"):
        opcodes.read(b"\x80\x02cnumpy\ndtype\n" + array + b"K\x00K\x01\x87R.", "it")


def test_depth_is_no_trouble() -> None:
    nested = b"\x80\x02N" + b"\x85" * (opcodes.MOST_INSTRUCTIONS - 2) + b"."

    assert isinstance(opcodes.read(nested, "it"), tuple)
    with pytest.raises(DataError, match="REDUCE"):
        opcodes.read(b"\x80\x02cnumpy\ndtype\nN" + b"\x85" * 100_000 + b"R.", "it")


@pytest.mark.parametrize("protocol", [b"", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(dp0\n", b"\x80"])
def test_other_protocols_are_refused(protocol: bytes) -> None:
    with pytest.raises(DataError, match="protocol 2"):
        opcodes.read(protocol + b"N.", "it")


def test_more_bytes_than_a_batch_has_are_refused() -> None:
    with pytest.raises(DataError, match="at most"):
        opcodes.read(b"\x80\x02" + bytes(opcodes.MOST_BYTES), "it")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_it_reads_or_refuses(pickled: Pickled, data: st.DataObject) -> None:
    batch = {b"labels": [3, 400, -1], b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"f": [b"a", b"b"]}
    content = bytearray(pickled(batch))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        cut = data.draw(st.integers(0, 3))
        content[at : at + cut] = data.draw(st.binary(max_size=3))

    try:
        value = opcodes.read(bytes(content), "it")
    except DataError:
        return
    _only_plain(value)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(sorted(opcodes._INSTRUCTIONS)), max_size=30))
def test_whatever_follows_it_reads_or_refuses(codes: list[int]) -> None:
    try:
        value = opcodes.read(b"\x80\x02" + bytes(codes) + b".", "it")
    except DataError:
        return
    _only_plain(value)


def _only_plain(value: object) -> None:
    assert type(value) in (type(None), bool, int, bytes, list, tuple, dict, np.ndarray)
    if isinstance(value, list | tuple):
        for item in value:
            _only_plain(item)
    if isinstance(value, dict):
        for key, item in value.items():
            assert type(key) is bytes
            _only_plain(item)
