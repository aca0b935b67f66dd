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
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..foundations import config, tree
from ..foundations.debug import say
from ..ir import Graph, Node, Op, Program, Tensor, Type, Variable, current_trace, graph_text, recording, verify
from ..ir.mesh import Mesh
from ..ir.node import CONSTANT
from ..ir.program import Wrapped
from ..ir.variable import lock_of, note
from ..ir.watched import changes
from ..passes import PASSES, PRECISIONS
from ..trace import (
    Call,
    Captured,
    Place,
    Result,
    Static,
    Surroundings,
    Tensors,
    capture,
    numbers_apart,
    path_of,
    read_call,
    read_flat,
    take_numbers,
    with_inputs,
)
from .known import key_of, known
from .tape import CALL, LOST_CALL, Links, links, pulled, results_of

STAGES = ("graph", "passes", "kernels", "llvm", "asm")
MANY_PROGRAMS = 32
MANY_VALUES = 8  # of one argument
KEPT_GROUPS = 16  # of such calls whose programs differ in more than numbers
KEPT_VALUES = 512  # for which a program that takes numbers as inputs need not be traced again


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles of garbage meanwhile: compiling makes many objects that live until its end, and each search
    looks at all of them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def backend_module(name: str) -> Any:
    """The module of a backend, which has its name."""
    return importlib.import_module(f"{__name__.partition('.')[0]}.{name}")


def lower(graph: Graph, backend: str) -> Program:
    """A program of the given backend."""
    return backend_module(backend).load(graph)


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
    program: Program
    precision: str = "float32"
    backend: str = "native"
    name: str = "function"
    environment: dict[Place, Any] = field(default_factory=dict)

    @cached_property
    def graph(self) -> Graph:
        """What the passes make of the trace."""
        return optimise(self.captured.graph, self.precision)

    @cached_property
    def _reads(self) -> list[tuple[Any, bool]]:
        """The Variables to read, each with whether the program may write into its array."""
        written = set(map(id, self.captured.writes))  # by identity: == of Variables is elementwise
        return [(variable, id(variable) in written) for variable in self.captured.reads]

    @cached_property
    def _update(self) -> Callable[..., list[np.ndarray]] | None:
        """How a program runs that keeps the contents of Variables on its device."""
        return self.program.update if self.program.holds_variables else None

    @cached_property
    def types(self) -> list[Type]:
        """The types of the outputs that are not Variables."""
        outputs = self.captured.graph.outputs
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

    def repeated(self, data: Sequence[np.ndarray], rows: int, flag: int,
                 keep: frozenset[int]) -> Callable[[np.ndarray], tuple[int, Any]] | None:
        """A function that runs many steps in one call, if the program can; else None.

        It takes int64 (steps, rows): the rows of `data` which are the arguments of each step; and returns how many
        steps were run and the result of the function with arrays that have an axis of steps in front, None where the
        number of the output is not in `keep`. The last step is the first after which output `flag` is false.
        """
        run = self.program.repeat(data, rows, flag, keep, len(self.types))
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
        places = [i for i, (_, write) in enumerate(self._reads) if write and i
                  + self._arguments not in self._links.state]
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
        """The program of the derivative (see `tape.pulled`) by the results `seeded`, and the inputs whose gradients it
        gives."""
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
            return self._remember(LOST_CALL, (*tensors, *self._lost) if tensors else self._lost, {"entry": self},
                                  self._run(arrays))
        if self._update or self.captured.writes:
            with self._lock:
                leaves = [variable.lend() if not write else self._idle.get(i) or _kept(variable)
                          for i, (variable, write) in enumerate(self._reads)]
                outputs = self._run(arrays)
        else:
            leaves = [variable.lent or variable.lend() for variable in self.captured.reads]
            outputs = self.program(arrays + [leaf.data for leaf in leaves])
        attrs = {"entry": self, "arrays": arrays, "places": tuple([i for i, _ in known]) if known else ()}
        return self._remember(CALL, (*tensors, *leaves), attrs, outputs)

    def _remember(self, op: Op, inputs: tuple[Node, ...], attrs: dict[str, Any], outputs: list[np.ndarray]) -> Any:
        return self.captured.result.build(results_of(op, inputs, attrs, self.types, outputs))

    def _repeat(self, run: Any, chosen: np.ndarray) -> tuple[int, Any]:
        done = [0]

        def steps(held: list[np.ndarray]) -> list[np.ndarray]:
            done[0], outputs = run(chosen, held)
            return outputs
        with self._lock:
            note(self.captured.writes)
            outputs = self._updated(steps, len(self.types))
        return done[0], self.captured.result.build(outputs)

    @cached_property
    def _lock(self) -> Any:
        return lock_of((*self.captured.reads, *self.captured.writes))

    def _run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Read the Variables, run the program, put the assigned Variables back: for one program of these Variables at a
        time."""
        reads, writes = self.captured.reads, self.captured.writes
        if not writes and self._update is None:
            # held meanwhile, so that nobody writes into the arrays
            leaves = [variable.lent or variable.lend() for variable in reads]
            return self.program(arrays + [leaf.data for leaf in leaves])
        with self._lock:
            note(writes)
            if self._update is not None:
                return self._update(arrays, reads, writes)
            return self._updated(lambda held: self.program(arrays + held), len(self.types))

    def _updated(self, run: Callable[[list[np.ndarray]], list[np.ndarray]], results: int) -> list[np.ndarray]:
        held: list[np.ndarray] = []
        try:
            for variable, write in self._reads:
                held.append(variable.take_out() if write else variable.take_array(False))
            outputs = run(held)
            for variable, array in zip(self.captured.writes, outputs[results:], strict=True):
                variable.put_array(array)
        except BaseException:
            for (variable, write), array in zip(self._reads, held, strict=False):
                if write:
                    variable.put_array(array)
            raise
        return outputs[:results]


@dataclass(eq=False)
class Filled(Entry):
    """An entry for values of integers that another entry, which all these values share, takes as further inputs."""

    shared: Entry | None = None
    numbers: tuple[np.ndarray, ...] = ()

    def __call__(self, arrays: list[np.ndarray], nodes: Tensors = ()) -> Any:
        """Run once."""
        return self.shared([*arrays, *self.numbers], nodes)  # type: ignore[misc]

    def arrays(self, arrays: list[np.ndarray]) -> Any:
        """Run once: the result of the function with NumPy arrays in the place of Tensors."""
        return self.shared.arrays([*arrays, *self.numbers])  # type: ignore[union-attr]

    def repeated(self, data: Sequence[np.ndarray], rows: int, flag: int, keep: frozenset[int]) -> None:
        """Steps are run one by one."""


@dataclass
class Alike:
    """Calls that differ in integers alone: the first trace, the numbers in it that depend on them, and the entry that
    takes these."""

    first: Captured
    places: frozenset[int] = frozenset()
    shared: Entry | None = None


def _kept(variable: Variable) -> Node:
    """What a Variable holds before it is overwritten, as a leaf."""
    return Node(CONSTANT, (), {}, variable.type, variable.numpy(), source=variable)


def _tensor(kind: Type, array: np.ndarray) -> Tensor:
    return Tensor(Node(CONSTANT, (), {}, kind, array))


class _Method:
    """A method of an object that it does not keep alive."""

    def __init__(self, function: Callable[..., Any], instance: Any, gone: Callable[[Any], Any]):
        functools.update_wrapper(self, function)
        self.__func__ = function
        try:
            self._instance: Callable[[], Any] = weakref.ref(instance, gone)
        except TypeError:  # an object with slots alone
            self._instance = lambda: instance

    @property
    def __self__(self) -> Any:
        return self._instance()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self._instance(), *args, **kwargs)


class Compiled:
    """A function that is traced once per signature and then runs as a compiled program."""

    def __init__(self, function: Callable[..., Any], backend: str | None = None, precision: str = "float32"):
        if backend is not None and backend not in config.BACKENDS:
            raise ArgumentError(explain("there is no such backend", got=shown(backend),
                                        expected=" | ".join(config.BACKENDS)))
        if precision not in PRECISIONS:
            raise ArgumentError(explain("there is no such precision of products", got=shown(precision),
                                        expected=" | ".join(map(repr, PRECISIONS))))
        self.__name__ = type(function).__name__  # of a layer or another object that can be called
        functools.update_wrapper(self, function)
        self.function, self._backend, self.precision = function, backend, precision
        self.entries: dict[Any, Entry] = {}
        self._flat: dict[Any, Entry] = {}  # the same entries, for calls with arrays alone
        self._alike: dict[Any, list[Alike]] = {}  # by the calls without the values of their integers
        self._outdated: list[tuple[Any, Entry]] = []  # for other values of what the function reads beside its arguments
        self._around: Surroundings | None = None
        self._methods: dict[int, Compiled] = {}
        self._making = threading.RLock()  # one thread compiles, others wait for it
        self._changes = changes()
        # how often tracing itself changed a value: what it always changes is no reason to trace again
        self._own: dict[Place, int] = {}

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method, a compiled function of each object's own."""
        if instance is None:
            return self
        known = self._methods.get(id(instance))
        if known is None or known.function.__self__ is not instance:  # type: ignore[attr-defined]
            place = id(instance)
            method = _Method(self.function, instance, lambda _: self._methods.pop(place, None))
            known = self._methods[place] = Compiled(method, self._backend, self.precision)
        return known

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def backend(self) -> str:
        """reference, native or xla; on a mesh of devices xla, unless another one was asked for."""
        return self._backend or (config.backend() if Mesh.current is None else "xla")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is not None:  # a compiled function inside another becomes part of it
            return self.function(*args, **kwargs)
        entry, arrays, nodes = self._find(args, kwargs)
        return entry(arrays, nodes)

    def __reduce__(self) -> Any:
        """A function that is found under its name is pickled as this name, another one is compiled anew where it
        arrives."""
        if _named(self.__module__, self.__qualname__) is self:
            return self.__qualname__
        if _named(self.__module__, self.__qualname__) is not self.function:
            raise ArgumentError(explain("only a compiled function of a module's top can be pickled",
                                        got=f"{self.__module__}.{self.__qualname__}",
                                        fix="define it with def at the top of a module, or pickle what it is made from "
                                            "and compile it there"))
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
            raise ArgumentError(explain("there is no such stage", got=shown(stage), expected=" | ".join(STAGES)))
        entry = self._shown(args, kwargs)
        text = _stage_text(entry, stage)
        print(text)
        return text

    def _shown(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        if args or kwargs:
            return self.lower(*args, **kwargs)
        if not self.entries:
            raise ArgumentError(explain("nothing is compiled yet",
                                        fix="call the function once, or show(stage, *arguments)"))
        return list(self.entries.values())[-1]

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Entry, list[np.ndarray], Tensors]:
        around = self._around
        if self._changes != changes() or (around is not None and around.moved()):
            with self._making:
                self._look_again()
        flat = None if kwargs else read_flat(args)
        if flat is None:
            call = read_call(args, kwargs)
            return self._entry(call), call.arrays, call.nodes
        arrays, key, nodes = flat
        place = self.backend, key, Mesh.current
        entry = self._flat.get(place)
        if entry is None:
            entry = self._flat[place] = self._entry(read_call(args, kwargs))
        return entry, arrays, nodes

    def _look_again(self) -> None:
        """Something that the function may have read has changed: take the programs that were made for the present
        state."""
        self._changes = changes()
        around = self._surroundings()
        state = around.state()
        self._around = around if around.any and (self.entries or self._outdated) else None
        everything = [*self.entries.items(), *self._outdated]
        fits = {id(entry): entry.captured.current and self._fits(entry.environment, state) for _, entry in everything}
        self.entries = {key: entry for key, entry in everything if fits[id(entry)]}
        self._outdated = [(key, entry) for key, entry in everything if not fits[id(entry)]]
        self._flat.clear()
        self._alike.clear()

    def _surroundings(self) -> Surroundings:
        return Surroundings(self.function, {place for place, count in self._own.items() if count > 1})

    def _fits(self, made_for: Mapping[Place, Any], state: Mapping[Place, Any]) -> bool:
        return all(state.get(place, key) == key for place, key in made_for.items())

    def _entry(self, call: Call) -> Entry:
        key = (self.backend, call.key, Mesh.current)
        with self._making:
            entry = self.entries.get(key)
            if entry is None:
                entry = self.entries[key] = self._compile(call)
            return entry

    @without_collection()
    def _compile(self, call: Call) -> Entry:
        before = self._surroundings().state()
        captured = capture(self.function, call)
        say(4, lambda: graph_text(captured.graph))
        entry = self._filled(call, captured) or build(captured, self.backend, self.precision, self.__name__)
        around = self._surroundings()
        state = around.state()
        changed = [place for place, key in state.items() if place in before and before[place] != key]
        if changed:
            self._own.update((place, self._own.get(place, 0) + 1) for place in changed)
            around = self._surroundings()
            state = around.state()
        entry.environment, self._around = state, around if around.any else None
        if isinstance(entry, Filled):
            self._forget_values()
        else:
            self._warn_of_many(call)
        return entry

    def _filled(self, call: Call, captured: Captured) -> Filled | None:
        """The entry of a program that takes as inputs the numbers that integers in the call have become, where they
        became nothing else."""
        whole = [isinstance(leaf, Static) and type(leaf.value) is int for leaf in call.leaves]
        if not any(whole):
            return None
        key = (self.backend, Mesh.current,
               tuple(int if one else leaf for one, leaf in zip(whole, call.leaves, strict=True)), call.tree)
        groups = self._alike.setdefault(key, [])
        for alike in groups:
            apart = numbers_apart(alike.first, captured)
            if apart is not None:
                return self._fill(alike, captured, apart)
        groups.append(Alike(captured))
        del groups[:-KEPT_GROUPS]
        return None

    def _fill(self, alike: Alike, captured: Captured, apart: set[int]) -> Filled:
        if alike.shared is None or not apart <= alike.places:
            alike.places |= apart
            alike.shared = build(with_inputs(alike.first, alike.places), self.backend, self.precision, self.__name__)
        shared = alike.shared
        return Filled(shared.captured, shared.program, shared.precision, shared.backend, shared.name, shared=shared,
                      numbers=tuple(take_numbers(captured, alike.places)))

    def _forget_values(self) -> None:
        filled = [key for key, entry in self.entries.items() if isinstance(entry, Filled)]
        if len(filled) >= KEPT_VALUES:
            del self.entries[filled[0]]

    def _warn_of_many(self, call: Call) -> None:
        programs = [key[1][0] for key, entry in self.entries.items() if key[1][1] == call.tree
                    and not isinstance(entry, Filled)]
        programs.append(call.leaves)
        for place, leaf in enumerate(call.leaves):
            if not isinstance(leaf, Static) or type(leaf.value) is not int:
                continue
            values = {leaves[place].value for leaves in programs if isinstance(leaves[place], Static)}
            if len(values) == MANY_VALUES:
                warnings.warn(f"{self.__name__} was compiled {MANY_VALUES} times, once for each value of "
                              f"{path_of(call.tree, place, self.function)} "
                              f"(now {leaf.value!r:.40}); pass a number that changes as an array, cr.asarray(i)",
                              stacklevel=6)
        made = sum(not isinstance(entry, Filled)
                   for entry in (*self.entries.values(), *(entry for _, entry in self._outdated)))
        if made + 1 == MANY_PROGRAMS:
            warnings.warn(f"{self.__name__} was compiled {MANY_PROGRAMS} times; keep shapes fixed, for example by "
                          "padding the last batch, "
                          "and what the function reads beside its arguments", stacklevel=6)


def _named(module: str, name: str) -> Any:
    """What a module has under a dotted name, or None."""
    return functools.reduce(lambda found, part: getattr(found, part, None), name.split("."), sys.modules.get(module))


@without_collection()
def build(captured: Captured, backend: str, precision: str, name: str) -> Entry:
    """The program of a traced function: the code of one with the same graph, if there is one, else made."""
    start = time.perf_counter()
    key = key_of(captured.graph, backend, precision)
    again = known.find(key)
    if again is not None:
        return Entry(captured, again(functools.partial(optimise, captured.graph, precision)), precision, backend, name)
    graph = optimise(captured.graph, precision)
    program = lower(graph, backend)
    known.add(key, program)
    say(6, lambda: program.show("kernels"))
    say(7, lambda: program.show("llvm") + "\n" + program.show("asm"))
    say(1, lambda: f"compiled {name} for {backend}: {len(graph.nodes)} nodes, {time.perf_counter() - start:.2f} s")
    return Entry(captured, _timed(program, name) if config.debug() >= 2 else program, precision, backend, name)


def _timed(program: Program, name: str) -> Program:
    """The program, which tells how long each run took."""
    def around(run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        outputs = run()
        say(2, lambda: f"{name}: {(time.perf_counter() - start) * 1e3:.3f} ms")
        return outputs
    return Wrapped(program, around)


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


def compile(function: Callable[..., Any] | None = None, /, *, backend: str | None = None,
            precision: str = "float32") -> Any:
    """Compile a function of tensors: traced once per signature, differentiated, optimised, run as one program.

    Args:
        function: any function built from chainrule's operations; it may read and assign Variables. Python control flow
            runs while tracing; conditions on tensors need `cr.where`.
        backend: "native" (machine code for this CPU), "reference" (NumPy) or "xla" (JAX); default CHAINRULE_BACKEND.
        precision: of matrix products and convolutions of float32 tensors, gradients included: "float32", or "bfloat16":
            operands are rounded to bfloat16 and summed in float32; Variables and results stay float32. An unknown one
            raises ArgumentError.

    Arrays (of NumPy or any library that shares memory: torch, pandas, jax) and Python floats are dynamic, also within
    lists, tuples, dicts and other mappings, dataclasses and namespaces; ints, words and other values are part of the
    signature, so another value is traced again. Where an integer was only calculated with, its values share a program;
    else each has its own, and a warning names the integer that had eight. An array, cr.asarray(i), is not traced again.
    An object that holds arrays and is none of these is refused.

    Called eagerly, a compiled function is an operation: gradients, `vmap` and other transforms pass through it; within
    another compiled function it becomes part of that, with its backend and precision. Where it has overwritten the
    Variables that its results were computed from, a gradient by these raises TraceError. As a method it belongs to each
    object separately.

    What the function finds beside its arguments is noticed when it changes: names of enclosing functions and of the
    module, attributes that it reads of plain objects, items of small lists and dicts, attributes of layers, losses and
    optimisers. Not noticed, because looking would cost more than the call: elements written into a NumPy array that the
    function closes over (pass it as an argument, or hold it in a Variable), items of containers deeper than four levels
    or longer than 64, what `__init__` or a library computed from a value before, and environment variables.

    >>> @cr.compile
    ... def f(x):
    ...     return cr.sum(x * x)
    >>> f(np.array([1.0, 2.0, 3.0]))
    Tensor(14., dtype=float64)
    """
    if function is None:
        return functools.partial(compile, backend=backend, precision=precision)
    return Compiled(function, backend, precision)
