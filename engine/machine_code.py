"""Machine code of loops over arrays: made by Numba once on a machine, kept on disk, loaded without Numba ever after.

Numba takes half a second of every process to get ready, and more memory than the networks do. Code that neither asks
for memory nor raises needs nothing of it to run: LLVM, which Numba stands on, loads such code in a tenth of that.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from engine.cachefolder import cache_folder, keep, kept
from engine.lazy import without

KEPT = 128
"""Pieces of code in the cache folder, a few kilobytes each."""


class ArrayKind(NamedTuple):
    """What has to be known of an array before there is one."""

    dtype: str
    """As NumPy's array interface spells it: `<f4`."""
    dimensions: int
    contiguous: bool
    """Whether its rows follow each other without gaps."""


Kind = ArrayKind | type[int] | type[float] | type[bool]
"""Of an argument."""

_NUMBERS: dict[str, tuple[Any, str]] = {
    "int": (ctypes.c_int64, "int64"),
    "float": (ctypes.c_double, "float64"),
    "bool": (ctypes.c_bool, "boolean"),
    "None": (None, "void"),
}
"""By Python's name: how C and Numba call it."""
_OF_C = frozenset({"sqrt"})
"""What code may call, as every process has it."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A function that machine code is made of.

    It uses nothing but its arguments, constants and other loops of its own module; it takes all memory that it writes
    to as arguments, raises nothing, and returns nothing or one number, as its annotation says.
    """

    function: Callable[..., Any]
    fastmath: tuple[str, ...] = ()
    """What LLVM may take the liberty of."""

    @property
    def name(self) -> str:
        """With its module's."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def file(self) -> Path | None:
        """Where its source lies; None where it was typed in."""
        path = Path(self.function.__code__.co_filename)
        return path if path.is_file() else None

    @property
    def returns(self) -> str:
        """`None`, `int`, `float` or `bool`."""
        found = str(self.function.__annotations__.get("return", "nothing"))
        if found not in _NUMBERS:
            raise TypeError(f"{self.name} returns {found}; machine code returns None, int, float or bool")
        return found

    def options(self) -> dict[str, Any]:
        """For Numba."""
        # Inlined, nothing is left of Numba's ways to report an error; nor, where nothing is allocated, of its memory's.
        options = {"error_model": "numpy", "forceinline": True}
        return options | ({"fastmath": set(self.fastmath)} if self.fastmath else {})


def load(loop: Loop, kinds: Sequence[Kind]) -> Callable[..., Any]:
    """The code of a loop for arguments of these kinds, kept or made now.

    It takes numbers as they are, and in the place of an array the address of its first element, its shape and, where it
    is not contiguous, its strides in bytes. It runs without the interpreter lock.

    Raises:
        TypeError: the loop returns something else than nothing or a number.
        NotImplementedError: it asks for memory, raises, or calls what does.
    """
    result = _NUMBERS[loop.returns][0]
    arguments = [each for kind in kinds for each in _c_types(kind)]
    with _loading:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
        symbol = _fingerprint(loop, tuple(kinds))
        engine.add_object_file(llvm.ObjectFileRef.from_data(_code(loop, tuple(kinds), symbol)))
        engine.finalize_object()
        code: Any = ctypes.CFUNCTYPE(result, *arguments)(engine.get_function_address(symbol))
    code.engine = engine  # lives as long as the code in it
    found: Callable[..., Any] = code
    return found


_loading = threading.RLock()


def _code(loop: Loop, kinds: tuple[Kind, ...], symbol: str) -> bytes:
    """From the disk, if it has been made before."""
    # What was typed in leans on what was typed in before it, which no name for it could tell.
    folder = cache_folder("code", KEPT) if loop.file else None
    code = kept(folder / symbol) if folder else None
    if code is None:
        code = _made(loop, kinds, symbol)
        if folder:
            keep(folder / symbol, code)
    return code


def _fingerprint(loop: Loop, kinds: tuple[Kind, ...]) -> str:
    """A name for code that says all that it depends on."""
    source = loop.file.read_bytes() if loop.file else loop.function.__code__.co_code
    about = [loop.name, kinds, loop.fastmath, _host(), llvmlite.__version__, _numba_stamp()]
    return f"loop_{hashlib.sha256(repr(about).encode() + source).hexdigest()}"


def _made(loop: Loop, kinds: tuple[Kind, ...], symbol: str) -> bytes:
    """Let Numba compile it, and keep of what it makes the one function."""
    numba = _numba()
    returned = getattr(numba.types, _NUMBERS[loop.returns][1])
    signature = returned(*(each for kind in kinds for each in _numba_types(numba, kind)))
    callback = numba.cfunc(signature, **loop.options())(_unpacking(numba, numba_function(loop), kinds))
    module = llvm.parse_assembly(callback.inspect_llvm())
    module.get_function(callback.native_name).name = symbol
    for thing in [*module.functions, *module.global_variables]:
        if not thing.is_declaration and thing.name != symbol:
            thing.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    target = _target()
    passes.run(module, llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options()))
    called = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    foreign = [name for name in called if name not in _OF_C]
    if foreign:
        raise NotImplementedError(f"{loop.name} asks for {', '.join(foreign)}, which machine code alone does not have")
    code: bytes = target.emit_object(module)
    return code


def numba_function(loop: Loop) -> Any:
    """What Numba takes it for where another loop calls it."""
    return _numba().njit(**loop.options())(loop.function)


@cache
def _host() -> tuple[str, str]:
    """The CPU and what it can do."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _host()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=cpu, features=features, opt=3, codemodel="jitdefault", jit=True)


@cache
def _numba_stamp() -> tuple[int, int]:
    """Tells one installation of Numba from another without importing it."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'numba'", name="numba")
    found = os.stat(spec.origin)
    return found.st_mtime_ns, found.st_size


def _numba() -> Any:
    import numba

    with without("scipy.linalg.cython_blas", "cffi"):
        # For matrix products and foreign functions in compiled code, of which there are none here: a third of the time
        # that Numba takes to get ready.
        import numba.core.typing.cffi_utils
        import numba.np.arraymath
    return numba


def _c_types(kind: Kind) -> list[Any]:
    if isinstance(kind, ArrayKind):
        return [ctypes.c_void_p, *[ctypes.c_int64] * (kind.dimensions * (1 if kind.contiguous else 2))]
    return [_NUMBERS[kind.__name__][0]]


def _numba_types(numba: Any, kind: Kind) -> list[Any]:
    if isinstance(kind, ArrayKind):
        pointer = numba.types.CPointer(numba.from_dtype(np.dtype(kind.dtype)))
        return [pointer, *[numba.int64] * (kind.dimensions * (1 if kind.contiguous else 2))]
    return [getattr(numba.types, _NUMBERS[kind.__name__][1])]


def _unpacking(numba: Any, function: Any, kinds: tuple[Kind, ...]) -> Callable[..., Any]:
    """A function of addresses, sizes and numbers that calls `function` with arrays and numbers. It is written out since
    Numba takes the number of arguments from the source."""
    from numpy.lib.stride_tricks import as_strided

    parameters, arguments = [], []
    for n, kind in enumerate(kinds):
        parameters.append(f"a{n}")
        if not isinstance(kind, ArrayKind):
            arguments.append(f"a{n}")
            continue
        shape, strides = ([f"{what}{n}_{d}" for d in range(kind.dimensions)] for what in ("size", "stride"))
        parameters += shape
        array = f"carray(a{n}, ({', '.join(shape)},))"
        if not kind.contiguous:
            parameters += strides
            array = f"as_strided(carray(a{n}, (1,)), ({', '.join(shape)},), ({', '.join(strides)},))"
        arguments.append(array)
    names: dict[str, Any] = {"function": function, "carray": numba.carray, "as_strided": as_strided}
    exec(f"def unpacking({', '.join(parameters)}):\n    return function({', '.join(arguments)})", names)
    unpacking: Callable[..., Any] = names["unpacking"]
    return unpacking
