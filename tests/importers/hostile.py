"""Files that attack a reader: pickles put together operation by operation, in every wrapping."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.generators.stylegan3 import StyleGAN3

from ..generators.biggan_state import state_128
from .nvidia import write
from .test_dcgan import stack
from .test_nvidia_pickle import ARGUMENTS, DESIGN
from .test_rosinality import theirs

# --- the operations of a pickle ---


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def raw(data: bytes) -> bytes:
    return pickle.BINBYTES + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def row(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + row(*arguments) + pickle.REDUCE


def table(*items: bytes) -> bytes:
    """A dict of keys and values in turn."""
    return pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS


def program(body: bytes, protocol: int = 4) -> bytes:
    return pickle.PROTO + bytes([protocol]) + body + pickle.STOP


def persistent(state: bytes, *more: bytes) -> bytes:
    """An object as NVIDIA's repositories pickle it."""
    function = named("torch_utils.persistence", "_reconstruct_persistent_obj")
    return call(function, table(text("state"), state, *more))


def doubled(times: int) -> bytes:
    """A tuple of a tuple twice, and so on: 2^times leaves, two bytes each time."""
    return pickle.EMPTY_TUPLE + (pickle.DUP + pickle.TUPLE2) * times


def doubled_by_memo(times: int) -> bytes:
    """The same without DUP."""
    step = pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.TUPLE2
    return pickle.EMPTY_TUPLE + step * times


# --- what pickles are wrapped in ---


@dataclass(frozen=True)
class Wrapping:
    """A kind of file around a pickle.

    Attributes:
        write: the file of a pickle's operations and of storages by key.
        storage: the operations that give a storage of a key, a declared count, and values.
    """

    write: Callable[[Path, bytes, dict[str, bytes]], None]
    storage: Callable[[str, int, bytes], bytes]

    def tensor(
        self, size: tuple[int, ...], stride: tuple[int, ...], declared: int = 4, offset: int = 0
    ) -> bytes:
        """A tensor on a storage that holds 4 floats."""
        shape = (row(*map(number, size)), row(*map(number, stride)))
        storage = self.storage("0", declared, FLOATS)
        function = named("torch._utils", "_rebuild_tensor_v2")
        return call(function, storage, number(offset), *shape, pickle.NEWFALSE, pickle.EMPTY_DICT)


FLOATS = np.arange(4, dtype="<f4").tobytes()


def write_network(path: Path, body: bytes, storages: dict[str, bytes]) -> None:
    path.write_bytes(program(body))


def write_zip(
    path: Path, body: bytes, storages: dict[str, bytes], method: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", program(body, 2))
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values)


def write_legacy(path: Path, body: bytes, storages: dict[str, bytes]) -> None:
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little": True})]
    tail = [struct.pack("<q", len(values) // 4) + values for values in storages.values()]
    path.write_bytes(b"".join([*head, program(body, 2), pickle.dumps(list(storages), 2), *tail]))


def bytes_storage(key: str, declared: int, values: bytes) -> bytes:
    """The bytes of torch.save in a call of _load_from_bytes."""
    buffer = io.BytesIO()
    storage = torch.from_numpy(np.frombuffer(values, "<f4").copy()).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    torch.save(typed, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    begin = len(data) - len(values) - 8
    declared_bytes = struct.pack("<q", max(min(declared, 2**62), -(2**62)))
    return call(
        named("torch.storage", "_load_from_bytes"),
        raw(data[:begin] + declared_bytes + data[begin + 8 :]),
    )


def named_storage(key: str, declared: int, values: bytes) -> bytes:
    parts = (text("storage"), named("torch", "FloatStorage"), text(key), text("cpu"))
    return row(*parts, number(declared), pickle.NONE) + pickle.BINPERSID


WRAPPINGS = {
    "network pickle": Wrapping(write_network, bytes_storage),
    "torch zip": Wrapping(write_zip, named_storage),
    "torch before zip": Wrapping(write_legacy, named_storage),
}

# --- pickles that attack ---

SENTINEL = "SENTINEL"  # stands for the path of the file that must not be written
TOUCH = text(f"touch {SENTINEL}")
WRITE = text(f"open({SENTINEL!r}, 'w')")
SYSTEM = named("os", "system")
COLLIDING = 2**61 - 1
OBJECTS = pickle.dumps(np.array([{}], dtype=object), 4)[2:-1]
NESTED = program(call(SYSTEM, TOUCH), 2)
EMPTY_MODULE = table()


def modules_within(times: int) -> bytes:
    """A network whose module holds one module under two names, and so on: 2^times in all."""
    body = persistent(EMPTY_MODULE)
    for _ in range(times):
        put, get = pickle.BINPUT + b"\2", pickle.BINGET + b"\2"
        inside = table(text("a"), get, text("b"), get)
        body += put + pickle.POP + persistent(table(text("_modules"), inside))
    return table(text("G_ema"), body)


ATTACKS: dict[str, bytes] = {
    # that would run something
    "os.system": call(SYSTEM, TOUCH),
    "posix.system": call(named("posix", "system"), TOUCH),
    "os.system in a state": table(text("G_ema"), persistent(table(text("x"), call(SYSTEM, TOUCH)))),
    "os.system as a key": table(call(SYSTEM, TOUCH), pickle.NONE),
    "os.system by a name on the stack": text("os") + text("system") + pickle.STACK_GLOBAL
    + row(TOUCH) + pickle.REDUCE,
    "os.system by INST": pickle.MARK + TOUCH + pickle.INST + b"os\nsystem\n",
    "os.system by OBJ": pickle.MARK + SYSTEM + TOUCH + pickle.OBJ,
    "os.system by NEWOBJ": SYSTEM + row(TOUCH) + pickle.NEWOBJ,
    "os.system by NEWOBJ_EX": SYSTEM + row(TOUCH) + pickle.EMPTY_DICT + pickle.NEWOBJ_EX,
    "os.system in nested bytes": call(named("torch.storage", "_load_from_bytes"), raw(NESTED)),
    "os.system deeper in nested bytes": call(
        named("torch.storage", "_load_from_bytes"),
        raw(b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {})) + NESTED),
    ),
    "source that writes": table(
        text("G_ema"), persistent(table(), text("module_src"), WRITE, text("type"), text("class"))
    ),
    "exec": call(named("builtins", "exec"), WRITE),
    "eval": call(named("__builtin__", "eval"), WRITE),
    "open": call(named("builtins", "open"), text(SENTINEL), text("w")),
    "io.open": call(named("io", "open"), text(SENTINEL), text("w")),
    "getattr": call(named("builtins", "getattr"), named("collections", "OrderedDict"), text("x")),
    "import": call(named("importlib", "import_module"), text("antigravity")),
    "subprocess": call(named("subprocess", "Popen"), row(text("touch"), text(SENTINEL))),
    "runpy": call(named("runpy", "run_path"), text(SENTINEL)),
    "torch.load": call(named("torch", "load"), text(SENTINEL)),
    "torch.hub": call(named("torch.hub", "load"), text(SENTINEL)),
    "numpy.load": call(named("numpy", "load"), text(SENTINEL)),
    "numpy's tofile": call(named("numpy.core.multiarray", "fromfile"), text(SENTINEL)),
    "a method by a dotted name": text("collections") + text("OrderedDict.__class__")
    + pickle.STACK_GLOBAL + row(TOUCH) + pickle.REDUCE,
    "an extension's code": pickle.EXT1 + b"\1",
    "attributes of a stand-in": named("collections", "OrderedDict")
    + table(text("__init__"), SYSTEM) + pickle.BUILD,
    "attributes of a dict": table() + table(text("get"), pickle.NONE) + pickle.BUILD,
    "a persistent name": pickle.PERSID + b"os.system\n",
    # that would take memory
    "bytearray of 10 GB": call(named("builtins", "bytearray"), number(10**10)),
    "BYTEARRAY8 of 10 GB": pickle.BYTEARRAY8 + struct.pack("<Q", 10**10),
    "BINBYTES of 4 GB": pickle.BINBYTES + b"\xff\xff\xff\xff",
    "BINBYTES8 of 10 GB": pickle.BINBYTES8 + struct.pack("<Q", 10**10),
    "text of 4 GB": pickle.BINUNICODE + b"\xff\xff\xff\xff",
    "text of 10 GB": pickle.BINUNICODE8 + struct.pack("<Q", 10**10),
    "text of four times its bytes": pickle.EMPTY_LIST + text("a" * 5_000_000 + "\U0001f600"),
    "a frame of 10 GB": pickle.FRAME + struct.pack("<Q", 10**10),
    "a number of 2 GB": pickle.LONG4 + b"\xff\xff\xff\x7f",
    "a huge memo": pickle.EMPTY_DICT + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f",
    "very many lists": pickle.EMPTY_LIST * 200_000,
    "very many marks": pickle.MARK * 200_000,
    "very many memos": pickle.NONE + pickle.MEMOIZE * 200_000,
    "very many objects": named("collections", "OrderedDict") + pickle.BINPUT + b"\1"
    + (pickle.BINGET + b"\1" + pickle.EMPTY_TUPLE + pickle.REDUCE) * 80_000,
    "an array of 10^15": call(named("numpy", "ndarray"), row(number(10**15))),
    "bytes of 10 GB": call(named("__builtin__", "bytes"), number(10**10)),
    "bytes in an encoding": call(named("_codecs", "encode"), text("a" * 999), text("utf_32")),
    "an array of 10^15 on no bytes": call(
        named("numpy.core.numeric", "_frombuffer"), raw(b""),
        call(named("numpy", "dtype"), text("f4")), row(number(10**15)), text("C"),
    ),
    "a dict of a dict": call(named("collections", "OrderedDict"), table(text("a"), number(1))),
    "a long name": named("a" * 2_000_000, "b"),
    "a name without an end": pickle.GLOBAL + b"a" * 2_000_000,
    # that would not end
    "a hash of 2^60 steps": table(doubled(60), pickle.NONE),
    "a hash of 2^60 steps by memo": table(doubled_by_memo(60), pickle.NONE),
    "a member of a set of 2^60 steps": pickle.EMPTY_SET + pickle.MARK + doubled_by_memo(60)
    + pickle.ADDITEMS,
    "a set of 2^60 steps": call(named("builtins", "set"), row(doubled_by_memo(60))),
    "a frozen set": pickle.MARK + doubled_by_memo(60) + pickle.FROZENSET,
    "a hash without a bottom": table(
        pickle.EMPTY_TUPLE + pickle.TUPLE1 * 60_000, pickle.NONE
    ),
    "a class name of 2^60 letters": table(
        text("G_ema"), persistent(table(), text("class_name"), doubled_by_memo(60))
    ),
    "a list in 2^60 places": table(text("G_ema"), doubled_by_memo(60)),
    "a module in 2^60 places": modules_within(60),
    "lists within lists": pickle.EMPTY_LIST * 45_000 + pickle.APPEND * 44_999,
    "a dict within itself": pickle.EMPTY_DICT + pickle.BINPUT + b"\1" + text("G_ema")
    + pickle.BINGET + b"\1" + pickle.SETITEM,
    "keys that collide": table(
        *(number(index * COLLIDING) + pickle.NONE for index in range(1, 20_000))
    ),
    "memos that collide": b"".join(
        pickle.NONE + pickle.PUT + f"{index * COLLIDING}\n".encode() for index in range(1, 20_000)
    ),
    # that are no networks
    "objects in numpy": OBJECTS,
    "objects in numpy beside a network": table(text("x"), OBJECTS),
    "numpy's object type": call(named("numpy", "dtype"), text("O8"), pickle.NEWFALSE),
    "an unknown global": named("some_module", "SomeClass"),
    "a name of two lines": text("os\nerror: fine\n") + text("x\x1b[2J") + pickle.STACK_GLOBAL,
    "half a letter": text("\ud800") + text("x") + pickle.STACK_GLOBAL,
    "an empty stack": pickle.TUPLE2,
    "nothing to get": pickle.BINGET + b"\7",
    "a mark that is not there": pickle.TUPLE,
    "items of a number": number(3) + pickle.MARK + number(1) + number(1) + pickle.SETITEMS,
    "items of a list": pickle.EMPTY_LIST + text("a") + number(1) + pickle.SETITEM,
    "a call of a number": number(3) + pickle.EMPTY_TUPLE + pickle.REDUCE,
    "a list": pickle.EMPTY_LIST,
    "nothing": pickle.NONE,
    "no program": b"",
}  # fmt: skip

# shape, stride, declared size and offset on a storage of 4 floats
TENSORS: dict[str, dict[str, object]] = {
    "a storage of 5 where 4 are": {"size": (5,), "stride": (1,), "declared": 5},
    "a storage of 10 GB": {"size": (10**10 // 4,), "stride": (1,), "declared": 10**10 // 4},
    "a storage of 2^62": {"size": (4,), "stride": (1,), "declared": 2**62},
    "a storage of -1": {"size": (4,), "stride": (1,), "declared": -1},
    "a shape of 10 GB": {"size": (10**10 // 4,), "stride": (1,)},
    "a shape of 10 GB without steps": {"size": (10**5, 10**5), "stride": (0, 0)},
    "a shape beyond the end": {"size": (2, 2), "stride": (3, 1)},
    "an offset beyond the end": {"size": (2,), "stride": (1,), "offset": 3},
    "an offset before the beginning": {"size": (1,), "stride": (1,), "offset": -1},
    "steps backwards": {"size": (2,), "stride": (-1,)},
    "a step of 10^12": {"size": (2,), "stride": (10**12,)},
    "a step of 2^70": {"size": (2,), "stride": (2**70,)},
    "a size of 2^600": {"size": (2**600,), "stride": (1,)},
    "a negative size": {"size": (-4,), "stride": (1,)},
    "a thousand dimensions": {"size": (1,) * 1000, "stride": (1,) * 1000},
    "no values, but a huge shape": {"size": (2**40, 0), "stride": (1, 1)},
    "fewer strides": {"size": (2, 2), "stride": (1,)},
}


def write_attack(path: Path, wrapping: str, attack: str, sentinel: Path) -> None:
    """The file of an attack of ATTACKS."""
    body = ATTACKS[attack]
    if SENTINEL.encode() in body:  # lengths stand before texts, so the path must be as long
        assert len(str(sentinel)) == len(SENTINEL)
        body = body.replace(SENTINEL.encode(), str(sentinel).encode())
    WRAPPINGS[wrapping].write(path, body, {})


def write_tensor(path: Path, wrapping: str, tensor: str) -> None:
    """The file of a tensor of TENSORS, among a network's."""
    wrapped = WRAPPINGS[wrapping]
    body = wrapped.tensor(**TENSORS[tensor])  # type: ignore[arg-type]
    parameters = table(text("main.0.weight"), body)
    if wrapping == "network pickle":
        parameters = table(text("G_ema"), persistent(table(text("_parameters"), parameters)))
    wrapped.write(path, parameters, {"0": FLOATS})


# --- networks: a valid file of every kind, to cut and to change ---


def network(seed: int = 0) -> StyleGAN2:
    torch.manual_seed(seed)
    return StyleGAN2([8, 6, 4], 8, 8, 2)


def write_stylegan3(path: Path, **arguments: object) -> None:
    torch.manual_seed(0)
    made = StyleGAN3(16, 8, 8, 2, dict(DESIGN))
    write(path, made, {**ARGUMENTS, **DESIGN, **arguments})


def saved(path: Path, content: object, legacy: bool = False) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def dcgan() -> nn.Module:
    return stack()


KINDS: dict[str, Callable[[Path], None]] = {
    "stylegan2": lambda path: write(path, network(), ARGUMENTS),
    "stylegan3": write_stylegan3,
    "rosinality": lambda path: saved(path, {"g_ema": theirs(network())}),
    "rosinality before zip": lambda path: saved(path, {"g_ema": theirs(network())}, legacy=True),
    "dcgan": lambda path: saved(path, dcgan().state_dict()),
    "dcgan before zip": lambda path: saved(path, dcgan().state_dict(), legacy=True),
    "biggan": lambda path: saved(path, state_128()),
    "biggan before zip": lambda path: saved(path, state_128(), legacy=True),
}
