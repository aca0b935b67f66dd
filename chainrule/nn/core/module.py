# SPDX-License-Identifier: Apache-2.0
"""`Module`: a layer is data plus one call.

A subclass has `__init__` (what comes out) and `forward` (what happens); Variables and modules are found among its
attributes, in the order in which they were set, also in lists, tuples and dicts. What comes in is inferred at the first
call, by `build`. While a module runs, messages name it by its path: ``model[4] Dense``, ``model.encoder Dense``.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, explain, inside_layer, shortened, shown
from ...foundations.arguments import brief, is_ours, told
from ...foundations.names import check_options, closest, unknown_member
from ...ir import Tensor, Type, Variable, as_tensor, tracing
from ...ir.bind import contains
from ...ir.dtype import canonical
from ...ir.graph import input_node
from ...ir.trace import eager
from ...ir.watched import Watched
from ...random import Generator
from ...typing import ArrayLike, ModelLike
from . import freezing
from .budget import count_module
from .foreign import ARGUMENTS, MEMBERS
from .symbols import connect, symbols_in

REGISTRY: dict[str, type[Module]] = {}
# what a method of that name calls; nn.analysis, which knows the layers, enters it
TOOLS: dict[str, Callable[..., Any]] = {}


@dataclass
class Record:
    """What is remembered of a module: how it was made, whether it is built, for what inputs, what was ordered to be
    frozen before it was
    built, which of the modules below it took another's place since (by dotted name), and the programs that were made of
    it.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None
    built: bool = False
    orders: list[freezing.Order] = field(default_factory=list)
    inputs: tuple[Type, ...] | None = None
    replaced: dict[str, Module] = field(default_factory=dict)
    programs: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Run:
    """One call of an outermost module: the dotted name of each module below it, and the mode of what runs now."""

    root: Module
    names: dict[int, str]
    training: bool


_run: contextvars.ContextVar[Run | None] = contextvars.ContextVar("chainrule_run", default=None)


class _Recorder(type):
    """Remembers the arguments of a constructor, so that authors of layers owe nothing for being saved."""

    def __call__(cls, *args: Any, input_shape: Any = None, **options: Any) -> Any:
        signature = inspect.signature(cls.__init__)
        _check_names(cls, signature, options)
        bound = _bound(cls, signature, args, options)
        if cls.registered_name.startswith("chainrule."):
            _refuse_classes(bound.arguments)
        count_module()
        module = cls.__new__(cls)
        module._record = Record(dict(list(bound.arguments.items())[1:]), _shape(input_shape))
        try:
            module.__init__(*args, **options)
        except Exception as error:
            if not is_ours(error):
                raise
            raise told(cls.__name__, args, options, error) from error
        return module


def _bound(cls: type, signature: inspect.Signature, args: Any, options: Any) -> inspect.BoundArguments:
    try:
        return signature.bind(None, *args, **options)
    except TypeError as error:
        given = ", ".join([*map(_named, args), *(f"{name}={_named(value)}" for name, value in options.items())])
        wanted = ", ".join(str(p.replace(annotation=p.empty)) for p in list(signature.parameters.values())[1:])
        raise ArgumentError(explain(f"{cls.__name__} cannot be made of these arguments: {error}",
                                    got=f"{cls.__name__}({given})",
                                    expected=f"{cls.__name__}({wanted})",
                                    fix=f"put them into one list: {cls.__name__}([...])" if len(args) > 1
                                    and all(isinstance(a, Module) or _is_layer(a) for a in args)
                                    else "give the arguments that have no default" if "missing" in str(error)
                                    else "leave out what is not expected")) from None


def _refuse_classes(arguments: dict[str, Any]) -> None:
    """A class of layers among the arguments is a pair of parentheses that were forgotten; an activation may be one."""
    for name, value in arguments.items():
        if _is_layer(value) and not name.endswith("activation"):
            raise class_for_layer(value)


def class_for_layer(kind: type) -> ArgumentError:
    """The error for the class of a layer in the place of a layer."""
    return ArgumentError(explain("this is the class of a layer, not a layer", got=kind.__name__,
                                 expected=f"an instance of {kind.__name__}", fix=f"call it: {kind.__name__}(...)"))


def _named(value: Any) -> str:
    return value.__name__ if _is_layer(value) else shown(value)


def _is_layer(value: Any) -> bool:
    return isinstance(value, _Recorder)


def _check_names(cls: type, signature: inspect.Signature, options: dict[str, Any]) -> None:
    if inspect.Parameter.VAR_KEYWORD not in [p.kind for p in signature.parameters.values()]:
        check_options(cls.__name__, options, [*list(signature.parameters)[1:], "input_shape"], ARGUMENTS)


def _shape(shape: Any) -> tuple[int, ...] | None:
    if shape is None:
        return None
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ArgumentError(explain("input_shape holds the positive extents of one sample, without the batch",
                                    got=str(shape),
                                    expected="for example (28, 28, 1)", fix="leave the batch axis out"))
    return tuple(int(n) for n in shape)


class Module(Watched, metaclass=_Recorder):
    """Base of every layer and model.

    Write `__init__` and `forward(x, ...)`; no call of `super().__init__()` is needed. A layer whose Variables depend on
    what comes in also writes `build(x, ...)`, which runs once before the first `forward`. `forward` may take
    `training`. Any module can be given `input_shape=` (one sample, without the batch) when it is made.

    >>> class Scale(nn.Module):
    ...     def build(self, x):
    ...         self.weight = cr.Variable(np.ones(x.shape[-1], "float32"))
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> layer = Scale()
    >>> layer(cr.ones((2, 3))).shape, list(layer.parameters())
    ((2, 3), ['weight'])
    """

    _record: Record
    input_dtype: Any = "float32"
    instead_of_array = "call it, model(x); for gradients by its Variables there is cr.gradients(loss, model)"
    takes_arrays = True  # False: anything may come in, for what is below to judge

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__module__.startswith(__package__.split(".")[0] + ".")
        cls.registered_name = f"chainrule.{cls.__name__}" if own else cls.__name__
        REGISTRY[cls.registered_name] = cls
        cls.takes_training, cls.takes_mask = (name in inspect.signature(cls.forward).parameters
                                              for name in ("training", "mask"))
        cls.__signature__ = _public_signature(cls)

    registered_name = "chainrule.Module"
    takes_training = takes_mask = False

    def __init__(self) -> None:
        """Nothing is kept here: a subclass sets its attributes."""

    def build(self, *inputs: Any) -> None:
        """Create the Variables that depend on what comes in; runs once, before the first `forward`."""

    def forward(self, *inputs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, x)")

    def __call__(self, *inputs: Any, training: bool | None = None, **options: Any) -> Any:
        """Run the module; `training` is passed to every module below, and is False unless it is given here or above."""
        if next(symbols_in((inputs, options)), None) is not None:
            return connect(self, inputs, options)
        with _running(self, training) as mode:
            try:
                return self._called(inputs, options, mode)
            except Exception as error:
                if not is_ours(error):
                    raise
                if inputs and isinstance(inputs[0], tuple | list | dict | set | type):
                    raise _no_array(inputs[0]) from error
                raise told(type(self).__name__, inputs, options, error) from error

    def _called(self, inputs: tuple[Any, ...], options: dict[str, Any], mode: bool) -> Any:
        arrays = tuple(_input(x) for x in inputs)
        options = {name: _input(x) for name, x in options.items()}
        if not arrays or arrays[0] is None or isinstance(arrays[0], str):
            _refuse_what_is_no_array(self, arrays, options)
        if not self._record.built:
            self._build_as_declared(arrays)
        if not self._record.built:
            self._build(arrays, options)
        inherited = {"training": mode} if self.takes_training else {}
        try:
            result = self.forward(*arrays, **options, **inherited)
        except TypeError:
            _explain_call(self, arrays, options)
            raise
        for watch in _watches.get():
            watch(self, result)
        return result

    # ---- what it holds

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. ArgumentError where an array would take the place of a Variable, which would then be no
        parameter any more, and
        where a layer of the library would get an attribute of another's that it does not look at."""
        if name in ("trainable", "training") and self.registered_name.startswith("chainrule."):
            raise ArgumentError(explain(f"{type(self).__name__} does not look at an attribute {name!r}",
                                        got=f".{name} = {value!r}", expected="a call", fix=MEMBERS[name]))
        if isinstance(vars(self).get(name),
                      Variable) and isinstance(value, Tensor | np.ndarray | np.generic | int | float | list | tuple):
            raise ArgumentError(explain(f"{name} of {type(self).__name__} is a Variable, an array in its place would "
                                        "not be a parameter",
                                        got=type(value).__name__, expected="a Variable, or None",
                                        fix=f"change what it holds: layer.{name}.assign(array)"))
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise unknown_member(type(self).__name__, name, MEMBERS)

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """(name, Variable or Module) for everything that this module holds itself, in order."""
        for name, value in vars(self).items():
            yield from _held(name, value)

    def modules(self) -> dict[str, Module]:
        """Dotted name → module, for this module ("") and all below, each once."""
        return {name: module for name, module in _walk(self, "", set()) if isinstance(module, Module)}

    def variables(self) -> dict[str, Variable]:
        """Dotted name → Variable, trainable or not, in the order of the layers, each once."""
        self._build_from_shape()
        return {name: value for name, value in _walk(self, "", set()) if isinstance(value, Variable)}

    def parameters(self) -> dict[str, Variable]:
        """Dotted name → trainable floating-point Variable, in the order of the layers, weight before bias.

        ArgumentError if the model has not been called yet and has layers whose parameters depend on what comes in.
        """
        self._build_from_shape()
        waiting = ([] if self.built
                   else [name for name, module in self.modules().items() if freezing.has_to_be_built(module)])
        if waiting:
            raise ArgumentError(explain("the model is not built yet: its parameters depend on what comes in",
                                        got=", ".join(
                display(name, self.modules()[name]) for name in waiting[:3]) + (", ..." if len(waiting) > 3 else ""),
                expected="a model that was called once",
                                        fix="call it once, model(x), or give its first layer input_shape=..."))
        return {name: value for name, value in self.variables().items() if value.trainable and value.dtype.kind == "f"}

    def freeze(self, *choices: str | Callable[[str, Variable], bool], **options: Any) -> None:
        """Fix parameters here and below, those that are not built yet too; a layer's running statistics stay as they
        are and are used.

            model.freeze(); model.freeze("encoder.*", "*.bias"); model.freeze(lambda name, variable: variable.ndim == 1)

        Args:
            choices: patterns, as for files, of the names in `variables()` or of the modules above them, or functions
                (name, variable) -> bool; everything if there is none.

        Raises ArgumentError, and changes nothing, if a pattern fits nothing.
        """
        check_options("freeze", options, ["choices"], {"trainable": "model.unfreeze()"})
        freezing.change(self, choices, True)

    def unfreeze(self, *choices: str | Callable[[str, Variable], bool], **options: Any) -> None:
        """Make parameters trainable again, and let statistics follow the data again: the same choices as for `freeze`.
        """
        check_options("unfreeze", options, ["choices"], {"trainable": "model.freeze()"})
        freezing.change(self, choices, False)

    def reset_states(self) -> None:
        """Forget what came before, in all stateful layers here and below."""
        for module in self.modules().values():
            module._forget()

    def _forget(self) -> None:
        """Forget what came before: for layers that keep something from call to call."""

    # ---- building

    @property
    def built(self) -> bool:
        """Whether this module knows what comes in."""
        return self._record.built

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample, as given or as seen at the first call; None if not known yet."""
        if self._record.input_shape is not None or not self._record.inputs:
            return self._record.input_shape
        return self._record.inputs[0].shape[1:]

    def _build(self, arrays: tuple[Any, ...], options: dict[str, Any]) -> None:
        if all(isinstance(x, Tensor) for x in arrays):
            self._record.inputs = tuple(x.node.type for x in arrays)
        with eager():
            self.build(*_accepted(self.build, arrays), **_accepted_options(self.build, options))
        prefix = _dotted(self)
        for name, value in self.attributes():
            if isinstance(value, Variable) and value.name in ("", "random", name, name.split(".")[-1]):
                value.name = f"{prefix}.{name}" if prefix else name
        self._record.built = True
        for order in self._record.orders:
            freezing.follow(self, order)
        freezing.inherit(self)
        self._record.orders = []

    def _build_as_declared(self, arrays: tuple[Any, ...]) -> None:
        """Build for the `input_shape` that was given if another one comes first, so that the layer that cannot take it
        says so."""
        declared = self._record.input_shape
        if (
            declared is not None
            and len(arrays) == 1
            and isinstance(arrays[0], Tensor)
            and arrays[0].shape[1:] != declared
        ):
            self.trace(Type((*arrays[0].shape[:1], *declared), arrays[0].dtype))

    def _build_from_shape(self) -> None:
        if not self._record.built and self.input_shape is not None:
            self.trace(Type((1, *self.input_shape), self._input_type()))

    def _input_type(self) -> np.dtype:
        return canonical(self.input_dtype)

    def trace(self, *types: Type, training: bool = False) -> tuple[list[Any], Any]:
        """Run on symbols of the given types, without computing: (input nodes, result). Builds what is not built yet."""
        with tracing():
            nodes = [input_node(kind) for kind in types]
            return nodes, self(*(Tensor(node) for node in nodes), training=training)

    def features(self, x: ArrayLike, layer: ModelLike | None = None, **options: Any) -> np.ndarray:
        """What a layer (name, place or module; by default the last hidden one) gives for x; see `nn.features`."""
        return TOOLS["features"](self, x, layer, **options)

    # ---- files and tables

    def load_weights(self, source: str | os.PathLike[str] | Mapping[str, Any], rename: Any = None, strict: bool = True,
                     layout: str | None = None) -> Any:
        """Take the weights and running statistics of another model of this architecture, whichever library it was made
        with.

            model.load_weights("resnet20.th")
            report = model.load_weights("other.safetensors", rename={"backbone.*": "*"}, strict=False)

        Layers are found by their names; what is left, by shapes and order. Axes are turned: PyTorch's (out, in, height,
        width) and (out, in), also for a Dense behind a Flatten, whose rows PyTorch has channel by channel. Queries,
        keys and values that lie side by side are taken apart, and so are the gates and biases of recurrent layers.

        Args:
            source: a file that `cr.io.read_weights` reads, or a dict name -> array (also a `state_dict()`).
            rename: a function old name -> new name (None: leave it out), or a dict of such pairs in which "*" stands
                for anything.
            strict: every Variable must get its array, and every array its Variable. If not, what fits is taken and the
                rest stays new, such as a head for other classes; a first convolution of another number of input
                channels takes their sum (for one), or repeats them.
            layout: how the axes lie: "torch", "keras" or "chainrule"; by default what the file or its shapes tell.

        Returns a report: `taken`, `missing`, `left_over`, `other_shape`, `changed`. Raises DataError, and changes
        nothing, if the weights do not fit; ArgumentError if nothing tells how square matrices lie, or if the model is
        not built yet.
        """
        # it lies above this package
        return importlib.import_module(f"{__name__.partition('.')[0]}.io.transfer").load_weights(
            self, source, rename, strict, layout
        )

    def config(self) -> dict[str, Any]:
        """The arguments from which the constructor makes this module again."""
        return dict(self._record.arguments)

    def summary(self, input_shape: Any = None, show: bool = True) -> Any:
        """Print a table, unless `show` is False, and return it: layers, output shapes, parameters, FLOPs, memory and
        receptive fields.

        What is returned is text; at a prompt, in a notebook and in `print(model.summary())` it shows itself as one
        line, so that the table is there once.
        """
        text = TOOLS["summary"](self, _shape(input_shape))
        if show:
            print(text)
            text.printed = True
        return text

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={shown(value, 1000)}" for name, value in type(self).config(self).items())
        return shortened(f"{type(self).__name__}({arguments})", 2000)


def _refuse_what_is_no_array(module: Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Say so if one of our layers gets nothing or text; modules of users may take anything."""
    if not module.takes_arrays or not module.registered_name.startswith("chainrule."):
        return
    if inputs:
        raise _no_array(inputs[0])
    _explain_call(module, inputs, options)
    raise DTypeError(explain("a layer computes on arrays, given by position",
                             got=", ".join(f"{name}=..." for name in options) or "nothing", expected="layer(x)",
                             fix="write layer(x), without a name" if options
                             else "give it what it computes on: layer(x)"))


def _no_array(value: Any) -> DTypeError:
    """What came into a layer in the place of an array."""
    got, fix = shown(value), "does the function that gave it end with `return`?"
    if isinstance(value, str):
        fix = "turn text into ids first, for example with data.CharacterTokenizer"
    elif isinstance(value, type):
        got, fix = f"the class {value.__name__}", f"call it: {value.__name__}(...)"
    elif isinstance(value, tuple | list | dict | set):
        got = (f"a {type(value).__name__} of {len(value)}: " + ", ".join(map(brief, list(value)[:4]))
               + (", …" if len(value) > 4 else ""))
        fix = ("give the one that is meant, such as outputs[0]; in a Sequential, the function `lambda outputs: "
               "outputs[0]` does so")
    return DTypeError(explain("a layer computes on arrays", got=got,
                              expected="a Tensor, a NumPy array or nested lists of numbers", fix=fix))


def _explain_call(module: Module, arrays: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Raise ArgumentError if the call does not fit `forward` at all; a TypeError from within is another matter."""
    signature = inspect.signature(module.forward)
    try:
        signature.bind(*arrays, **options)
    except TypeError as error:
        names = list(signature.parameters)
        wrong = next((name for name in options if name not in names), None)
        many = len(arrays) > 1 and len(names) == 1
        fix = (
            (ARGUMENTS.get(wrong) or closest(wrong, names))
            if wrong
            else "join arrays first: nn.Concatenate, nn.Add, ..."
            if many
            else None
        )
        fix = fix or (None if arrays else "give it what it computes on, by position: layer(x)")
        raise ArgumentError(
            explain(
                f"this layer is called otherwise: {error}",
                got=f"({_counted(arrays, options)})",
                fix=fix,
                expected=f"({', '.join(str(p.replace(annotation=p.empty)) for p in signature.parameters.values())})",
            )
        ) from None


def _counted(arrays: tuple[Any, ...], options: dict[str, Any]) -> str:
    return ", ".join([f"{len(arrays)} input{'s' * (len(arrays) != 1)}", *(f"{name}=..." for name in options)])


def _accepted(function: Any, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many of the arrays as the function takes by position: `build(self, x)` need not know about masks."""
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return arrays
    return arrays[:sum(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)]


def _accepted_options(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


def _public_signature(cls: type[Module]) -> inspect.Signature:
    """What help() shows: the constructor's arguments and input_shape."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    shape = inspect.Parameter("input_shape", inspect.Parameter.KEYWORD_ONLY, default=None)
    rest = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    return inspect.Signature([*(p for p in parameters if p not in rest and p.name != "input_shape"), shape, *rest])


# ---- the modules and Variables below a module

def _held(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Variable | Module):
        yield name, value
    elif isinstance(value, Generator):
        yield f"{name}.state", value.state
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _held(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _held(f"{name}.{key}", item)


def _walk(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(dotted name, Module or Variable) from here downwards, shared ones at their first place."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield name, value
    if isinstance(value, Module):
        for below, item in value.attributes():
            yield from _walk(item, f"{name}.{below}" if name else below, seen)


def float_type(model: Any) -> np.dtype:
    """The dtype of the floating-point numbers that a model takes: that of its first layer that has one; float32 for
    what is no Module."""
    for module in model.modules().values() if isinstance(model, Module) else ():
        own = [getattr(module, "dtype", None),
               *(value.dtype for _, value in module.attributes() if isinstance(value, Variable))]
        for dtype in own:
            if isinstance(dtype, np.dtype) and dtype.kind == "f":
                return dtype
    return canonical("float32")


def own_parameters(module: Module) -> list[Variable]:
    """The Variables that are parameters by nature, frozen now or not: floating-point, not in a layer's `statistics` or
    `constants`."""
    return [value for owner in module.modules().values() for name, value in owner.attributes()
            if isinstance(value, Variable)
            and name not in (*getattr(owner, "statistics", ()), *getattr(owner, "constants", ())) and value.dtype.kind
            == "f"]


# ---- running

Watch = Callable[[Module, Any], None]
_watches: contextvars.ContextVar[tuple[Watch, ...]] = contextvars.ContextVar("chainrule_watches", default=())


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Within, `watch(module, result)` sees the result of every module that runs."""
    token = _watches.set((*_watches.get(), watch))
    try:
        yield
    finally:
        _watches.reset(token)


@contextlib.contextmanager
def _running(module: Module, training: bool | None) -> Iterator[bool]:
    outer = _run.get()
    if outer is not None and id(module) not in outer.names:  # made while a layer was built
        outer.names.update(_names(outer.root))
    if outer is None or id(module) not in outer.names:
        outer = Run(module, _names(module), outer.training if outer is not None else False)
    mode = bool(outer.training if training is None else training)
    token = _run.set(Run(outer.root, outer.names, mode))
    try:
        with inside_layer(display(outer.names[id(module)], module)):
            yield mode
    finally:
        _run.reset(token)


def _names(module: Module) -> dict[int, str]:
    return {id(m): name for name, m in module.modules().items()}


def display(name: str, module: Module) -> str:
    """A dotted name as messages show it: ``model[4] Dense`` for "4", ``model.encoder Dense``; alone: ``Dense``."""
    path = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in name.split(".") if part)
    return f"model{path} {type(module).__name__}" if path else type(module).__name__


def _dotted(module: Module) -> str:
    run = _run.get()
    return run.names.get(id(module), "") if run is not None else ""


def _input(x: Any) -> Any:
    if isinstance(x, Variable | np.ndarray | np.generic):
        return as_tensor(x)
    if isinstance(x, list | tuple) and x and not contains(x, Tensor | Variable | np.ndarray
                                                          | Module) and contains(x, int | float):
        return as_tensor(x)
    return x
