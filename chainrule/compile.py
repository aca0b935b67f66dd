# SPDX-License-Identifier: Apache-2.0
"""The whole way of a function on one screen: trace, passes, lower, run; the table of contents of the compiler.

`cr.gradients` inside the function has put back-propagation into the graph already; each stage is a stranger to the
others and they meet here, in the graph.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import config, tree
from .debug import say
from .errors import ArgumentError, explain
from .ir import Graph, Node, Op, Tensor, Type, Variable, current_trace, graph_text, recording, verify
from .ir.node import CONSTANT
from .ir.variable import note, switches
from .passes import PASSES, PRECISIONS
from .tape import CALL, LOST_CALL, Links, links, pulled, results_of
from .trace import Call, Captured, Result, Tensors, capture, read_call, read_flat

BACKEND_MODULES = {"reference": ".reference", "native": ".native", "xla": ".xla"}
STAGES = ("graph", "passes", "kernels", "llvm", "asm")
MANY_PROGRAMS = 32


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles of garbage meanwhile: compiling makes many objects that live until its end, and each search looks at all of them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def lower(graph: Graph, backend: str) -> Any:
    """A program of the given backend: a callable from a list of arrays to a list of arrays."""
    return importlib.import_module(BACKEND_MODULES[backend], __package__).load(graph)


def optimise(graph: Graph, precision: str = "float32") -> Graph:
    """Apply every pass in order; the result is verified after each."""
    known = set[Node]()
    verify(graph, known=known)
    for name, rewrite in (*PASSES, *PRECISIONS[precision]):
        graph = verified = verify(rewrite(graph), name, known)
        say(3, lambda name=name, graph=verified: f"after {name}: {len(graph.nodes)} nodes")
        say(5, lambda graph=verified: graph_text(graph))
    return graph


@dataclass(eq=False)
class Entry:
    """One compiled signature: the traced function, its optimised graph and the program made of it."""

    captured: Captured
    graph: Graph
    program: Any
    precision: str = "float32"
    backend: str = "native"
    name: str = "function"

    @cached_property
    def _reads(self) -> list[tuple[Any, bool]]:
        """The Variables to read, each with whether the program may write into its array."""
        written = set(map(id, self.captured.writes))  # by identity: == of Variables is elementwise
        return [(variable, id(variable) in written) for variable in self.captured.reads]

    @cached_property
    def _update(self) -> Callable[..., list[np.ndarray]] | None:
        """How a program runs that keeps the contents of Variables on its device."""
        return getattr(self.program, "update", None)

    @cached_property
    def types(self) -> list[Type]:
        """The types of the outputs that are not Variables."""
        outputs = self.graph.outputs
        return [node.type for node in outputs[:len(outputs) - len(self.captured.writes)]]

    def __call__(self, arrays: list[np.ndarray], nodes: Tensors = ()) -> Any:
        """Run once: the result of the function with Tensors; `nodes` are those of the arrays that came as tensors."""
        if (nodes or self._watched) and recording():
            known = [(i, node) for i, node in nodes if i in self._links.inputs] if nodes else nodes
            if known or self._watched:
                return self._record(arrays, known)
        return self.captured.result.build(list(map(_tensor, self.types, self._run(arrays))))

    def arrays(self, arrays: list[np.ndarray]) -> Any:
        """Run once: the result of the function with NumPy arrays in the place of Tensors."""
        return self.captured.result.build(self._run(arrays))

    def repeated(self, data: Sequence[np.ndarray], rows: int, flag: int, keep: frozenset[int]) -> Callable[[np.ndarray], tuple[int, Any]] | None:
        """A function that runs many steps in one call, if the program can; else None.

        It takes int64 (steps, rows): the rows of `data` which are the arguments of each step; and returns how many steps were
        run and the result of the function with arrays that have an axis of steps in front, None where the number of the
        output is not in `keep`. The last step is the first after which output `flag` is false.
        """
        make = getattr(self.program, "repeat", None)
        run = make(data, rows, flag, keep, len(self.types)) if make is not None else None
        return None if run is None else functools.partial(self._repeat, run)

    # ---- its derivative

    @cached_property
    def _links(self) -> Links:
        captured = self.captured
        return links(captured.graph, len(self.types), captured.reads, captured.writes)

    @cached_property
    def _watched(self) -> bool:
        """Whether results are computed from Variables."""
        return any(i >= self._arguments for i in self._links.inputs)

    @cached_property
    def _arguments(self) -> int:
        return len(self.captured.graph.inputs) - len(self.captured.reads)

    @cached_property
    def _lost(self) -> tuple[Node, ...]:
        """Leaves without arrays in the places of Variables that gradients come to, for calls that keep nothing."""
        linked = [self.captured.reads[i - self._arguments] for i in sorted(self._links.inputs) if i >= self._arguments]
        return tuple(Node(CONSTANT, (), {}, variable.type, source=variable) for variable in linked)

    @cached_property
    def _idle(self) -> dict[int, Node]:
        """Leaves in the places of assigned Variables whose former content no result needs."""
        places = [i for i, (_, write) in enumerate(self._reads) if write and i + self._arguments not in self._links.state]
        kinds = {i: self.captured.reads[i].type for i in places}
        return {i: Node(CONSTANT, (), {}, kind, np.zeros(kind.shape, kind.dtype)) for i, kind in kinds.items()}

    @cached_property
    def overwritten(self) -> list[Variable]:
        """The assigned Variables from whose former content the results are computed."""
        return [self.captured.reads[i - self._arguments] for i in self._links.state]

    @cached_property
    def _pulls(self) -> dict[tuple[int, ...], tuple[Entry, list[int]]]:
        return {}

    def pull(self, seeded: tuple[int, ...]) -> tuple[Entry, list[int]]:
        """The program of the derivative (see `tape.pulled`) by the results `seeded`, and the inputs whose gradients it gives."""
        if seeded not in self._pulls:
            graph, found, reads = pulled(self.captured.graph, len(self.types), seeded, sorted(self._links.inputs))
            result = Result((None,) * len(found), tree.flatten(tuple(range(len(found))))[1])
            captured = Captured(graph, tuple(reads), (), result, tuple(variable.trainable for variable in reads))
            self._pulls[seeded] = build(captured, self.backend, self.precision, f"the derivative of {self.name}"), found
        return self._pulls[seeded]

    def _record(self, arrays: list[np.ndarray], known: Sequence[tuple[int, Node]]) -> Any:
        """Run once, so that gradients can pass."""
        tensors = tuple([node for _, node in known])
        if not self._links.kept:
            return self._remember(LOST_CALL, (*tensors, *self._lost) if tensors else self._lost, {"entry": self}, self._run(arrays))
        if self._update or self.captured.writes:
            leaves = [variable.lend() if not write else self._idle.get(i) or _kept(variable) for i, (variable, write) in enumerate(self._reads)]
            outputs = self._run(arrays)
        else:
            leaves = [variable.lent or variable.lend() for variable in self.captured.reads]
            outputs = self.program(arrays + [leaf.data for leaf in leaves])
        attrs = {"entry": self, "arrays": arrays, "places": tuple([i for i, _ in known]) if known else ()}
        return self._remember(CALL, (*tensors, *leaves), attrs, outputs)

    def _remember(self, op: Op, inputs: tuple[Node, ...], attrs: dict[str, Any], outputs: list[np.ndarray]) -> Any:
        return self.captured.result.build(results_of(op, inputs, attrs, self.types, outputs))

    def _repeat(self, run: Any, chosen: np.ndarray) -> tuple[int, Any]:
        steps, outputs = run(chosen, [variable.take_array(write) for variable, write in self._reads])
        results = len(self.types)
        for variable, array in zip(self.captured.writes, outputs[results:], strict=True):
            variable.put_array(array)
        return steps, self.captured.result.build(outputs[:results])

    def _run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Read the Variables, run the program, put the assigned Variables back."""
        reads, writes = self.captured.reads, self.captured.writes
        if writes:
            note(writes)
        if self._update is not None:
            return self._update(arrays, reads, writes)
        outputs = self.program([*arrays, *[variable.take_array(write) for variable, write in self._reads]])
        results = len(outputs) - len(writes)
        for variable, array in zip(writes, outputs[results:], strict=True):
            variable.put_array(array)
        return outputs[:results]


def _kept(variable: Variable) -> Node:
    """What a Variable holds before it is overwritten, as a leaf."""
    return Node(CONSTANT, (), {}, variable.type, variable.numpy(), source=variable)


def _tensor(kind: Type, array: np.ndarray) -> Tensor:
    return Tensor(Node(CONSTANT, (), {}, kind, array))


class Compiled:
    """A function that is traced once per signature and then runs as a compiled program."""

    def __init__(self, function: Callable[..., Any], backend: str | None = None, precision: str = "float32"):
        if backend is not None and backend not in BACKEND_MODULES:
            raise ArgumentError(explain("there is no such backend", got=repr(backend), expected=" | ".join(BACKEND_MODULES)))
        if precision not in PRECISIONS:
            raise ArgumentError(explain("there is no such precision of products", got=repr(precision),
                                        expected=" | ".join(map(repr, PRECISIONS))))
        functools.update_wrapper(self, function)
        self.function, self._backend, self.precision = function, backend, precision
        self.entries: dict[Any, Entry] = {}
        self._flat: dict[Any, Entry] = {}  # the same entries, for calls with arrays alone
        self._outdated: list[tuple[Any, Entry]] = []  # for other sets of trainable Variables
        self._switches = switches()

    @property
    def backend(self) -> str:
        """reference, native or xla."""
        return self._backend or config.backend()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is not None:  # a compiled function inside another becomes part of it
            return self.function(*args, **kwargs)
        entry, arrays, nodes = self._find(args, kwargs)
        return entry(arrays, nodes)

    def __reduce__(self) -> Any:
        """A function that is found under its name is pickled as this name, another one is compiled anew where it arrives."""
        if _named(self.__module__, self.__qualname__) is self:
            return self.__qualname__
        if _named(self.__module__, self.__qualname__) is not self.function:
            raise ArgumentError(explain("only a compiled function of a module's top can be pickled", got=f"{self.__module__}.{self.__qualname__}",
                                        fix="define it with def at the top of a module, or pickle what it is made from and compile it there"))
        return Compiled, (self.function, self._backend, self.precision)

    def __deepcopy__(self, memo: Any) -> Compiled:
        """Another compiled function of the same function, which is as little copied as Python's own."""
        return Compiled(self.function, self._backend, self.precision)

    def arrays(self, *args: Any) -> Any:
        """The same as a call, with NumPy arrays in the place of Tensors in the result: for loops that look at each."""
        entry, arrays, _ = self._find(args, {})
        return entry.arrays(arrays)

    def lower(self, *args: Any, **kwargs: Any) -> Entry:
        """Compile for calls that look like this one, without running it."""
        return self._entry(read_call(args, kwargs))

    def show(self, stage: str = "graph", *args: Any, **kwargs: Any) -> str:
        """Print and return a stage of the program of the last signature (or of the given arguments).

        Stages: "graph" (as traced), "passes" (after each pass), "kernels", "llvm", "asm".
        """
        if stage not in STAGES:
            raise ArgumentError(explain("there is no such stage", got=repr(stage), expected=" | ".join(STAGES)))
        entry = self._shown(args, kwargs)
        text = _stage_text(entry, stage)
        print(text)
        return text

    def _shown(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        if args or kwargs:
            return self.lower(*args, **kwargs)
        if not self.entries:
            raise ArgumentError(explain("nothing is compiled yet", fix="call the function once, or show(stage, *arguments)"))
        return list(self.entries.values())[-1]

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Entry, list[np.ndarray], Tensors]:
        if self._switches != switches():
            self._look_again()
        flat = None if kwargs else read_flat(args)
        if flat is None:
            call = read_call(args, kwargs)
            return self._entry(call), call.arrays, call.nodes
        arrays, key, nodes = flat
        place = self.backend, key
        entry = self._flat.get(place)
        if entry is None:
            entry = self._flat[place] = self._entry(read_call(args, kwargs))
        return entry, arrays, nodes

    def _look_again(self) -> None:
        """Variables became trainable or ceased to be: take the programs that were made for the present state."""
        everything = [*self.entries.items(), *self._outdated]
        self.entries = {key: entry for key, entry in everything if entry.captured.current}
        self._outdated = [(key, entry) for key, entry in everything if not entry.captured.current]
        self._flat.clear()
        self._switches = switches()

    def _entry(self, call: Call) -> Entry:
        key = (self.backend, call.key)
        if key not in self.entries:
            self.entries[key] = self._compile(call)
        return self.entries[key]

    @without_collection()
    def _compile(self, call: Call) -> Entry:
        captured = capture(self.function, call)
        say(4, lambda: graph_text(captured.graph))
        entry = build(captured, self.backend, self.precision, self.__name__)
        if len(self.entries) + 1 == MANY_PROGRAMS:
            warnings.warn(f"{self.__name__} was compiled {MANY_PROGRAMS} times; pass numbers that change as arrays "
                          "(cr.asarray(i)) and keep shapes fixed, for example by padding the last batch", stacklevel=5)
        return entry


def _named(module: str, name: str) -> Any:
    """What a module has under a dotted name, or None."""
    return functools.reduce(lambda found, part: getattr(found, part, None), name.split("."), sys.modules.get(module))


@without_collection()
def build(captured: Captured, backend: str, precision: str, name: str) -> Entry:
    """The program of a traced function."""
    start = time.perf_counter()
    graph = optimise(captured.graph, precision)
    program = lower(graph, backend)
    say(6, lambda: program.show("kernels"))
    say(7, lambda: program.show("llvm") + "\n" + program.show("asm"))
    say(1, lambda: f"compiled {name} for {backend}: {len(graph.nodes)} nodes, {time.perf_counter() - start:.2f} s")
    return Entry(captured, graph, _timed(program, name) if config.debug() >= 2 else program, precision, backend, name)


def _timed(program: Any, name: str) -> Any:
    """The program, which tells how long each run took."""
    @functools.wraps(program.__call__)
    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        start = time.perf_counter()
        outputs = program(arrays)
        say(2, lambda: f"{name}: {(time.perf_counter() - start) * 1e3:.3f} ms")
        return outputs
    run.show = program.show  # type: ignore[attr-defined]
    return run


def _stage_text(entry: Entry, stage: str) -> str:
    if stage == "graph":
        return graph_text(entry.captured.graph)
    if stage != "passes":
        return entry.program.show(stage)
    graph, parts = entry.captured.graph, []
    for name, rewrite in (*PASSES, *PRECISIONS[entry.precision]):
        graph = rewrite(graph)
        parts.append(f"--- after {name}: {len(graph.nodes)} nodes\n{graph_text(graph)}")
    return "\n".join(parts)


def compile(function: Callable[..., Any] | None = None, /, *, backend: str | None = None, precision: str = "float32") -> Any:
    """Compile a function of tensors: traced once per signature, differentiated, optimised, run as one program.

    Args:
        function: any function built from chainrule's operations; it may read and assign Variables. Python control flow
            runs while tracing; conditions on tensors need `cr.where`.
        backend: "native" (machine code for this CPU), "reference" (NumPy) or "xla" (JAX); default CHAINRULE_BACKEND.
        precision: of matrix products and convolutions of float32 tensors, gradients included: "float32", or "bfloat16": operands
            are rounded to bfloat16 and summed in float32; Variables and results stay float32. An unknown one raises ArgumentError.

    Arrays and Python floats are dynamic; ints, strings and other objects are part of the signature.
    """
    if function is None:
        return functools.partial(compile, backend=backend, precision=precision)
    return Compiled(function, backend, precision)
