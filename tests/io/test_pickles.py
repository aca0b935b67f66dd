# SPDX-License-Identifier: Apache-2.0
"""Everything a user holds goes through pickle, `copy.deepcopy` and another process: every public class, in every state.
"""

from __future__ import annotations

import atexit
import copy
import dataclasses
import importlib
import inspect
import io
import math
import multiprocessing
import pickle
import shutil
import tarfile
import tempfile
import warnings
import wave
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import (
    augment,
    boxes,
    data,
    distributions,
    generative,
    losses,
    mesh,
    metrics,
    models,
    nn,
    optim,
    rl,
    statistics,
    tasks,
    train,
    tuning,
)
from chainrule import inspect as looking
from chainrule.errors import ArgumentError
from tests.tables.layers import LAYERS

RNG = np.random.default_rng(0)
X, Y = RNG.random((16, 4), dtype=np.float32), RNG.integers(0, 3, 16)
HOW = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "deepcopy": copy.deepcopy}
TRIAL_LEAVES = (str, bytes, int, float, complex, bool, type(None), type, np.dtype, Path, range, slice)


def absolute(outputs, targets):
    return np.abs(np.asarray(outputs) - np.asarray(targets))


@cr.compile
def plus_one(x):
    return x + 1


def network():
    return nn.Sequential([nn.Dense(5, activation="relu"), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(3)])


def trained(optimizer=None, **options):
    model = network()
    return (model, cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optimizer or optim.Adam(0.01), epochs=1,
                          batch_size=8, seed=0, progress=False, **options))


def alike(a, b, path="x", seen=None):
    """Assert that both hold the same, however deep; returns nothing."""
    seen = set() if seen is None else seen
    assert type(a) is type(b), f"{path}: {type(a)} and {type(b)}"
    if id(a) in seen or a is b:
        return
    seen.add(id(a))
    if isinstance(a, cr.Tensor | cr.Variable | np.ndarray | np.generic):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=path)
        assert np.asarray(a).dtype == np.asarray(b).dtype
    elif isinstance(a, dict):
        assert len(a) == len(b), path
        for (k, v), (m, w) in zip(a.items(), b.items(), strict=True):
            alike(k, m, f"{path} key", seen)
            alike(v, w, f"{path}[{k!r}]", seen)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (v, w) in enumerate(zip(a, b, strict=True)):
            alike(v, w, f"{path}[{i}]", seen)
    elif isinstance(a, float):
        assert a == b or (math.isnan(a) and math.isnan(b)), path
    elif isinstance(a, TRIAL_LEAVES) or inspect.isroutine(a):
        assert a == b, path
    else:
        state = [getattr(x, "__dict__", None) or {n: getattr(x, n) for n in getattr(type(x), "__slots__", ())
                                                  if hasattr(x, n)} for x in (a, b)]
        state = [{k: v for k, v in s.items() if k != "__wrapped__"} for s in state]
        alike(*state, path=f"{path}.{type(a).__name__}", seen=seen)


# ---- models

@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_unbuilt_and_built(name, how):
    make, shape = LAYERS[name]
    shapes = shape if isinstance(shape, list) else [shape]
    layer = make()
    alike(layer, HOW[how](layer))
    inputs = [RNG.integers(0, 4, s) if "embedding" in name else RNG.random(s, dtype=np.float32) for s in shapes]
    try:
        before = layer(*inputs)
    except cr.errors.ChainruleError:
        pytest.skip("takes other inputs")
    again = HOW[how](layer)
    assert list(again.variables()) == list(layer.variables())
    assert not {map(id, again.variables().values())} & {map(id, layer.variables().values())}
    if hasattr(layer, "_forget"):
        layer.reset_states()
        again.reset_states()
        before = layer(*inputs)
    alike(before, again(*inputs))


@pytest.mark.parametrize("how", HOW)
def test_a_frozen_model_stays_frozen(how):
    built, unbuilt = trained()[0], network()
    for model in (built, unbuilt):
        model.freeze()
        again = HOW[how](model)
        again(X)
        assert not again.parameters() and set(again.variables()) == set(built.variables())


@pytest.mark.parametrize("how", HOW)
def test_tied_weights_stay_tied(how):
    model = models.LanguageModel(11, 8, width=8, heads=2, depth=1, tied=True)
    model(np.zeros((1, 3), "int64"))
    again = HOW[how](model)
    assert list(again.parameters()) == list(model.parameters())
    next(iter(again.parameters().values())).assign(np.zeros((11, 8), "float32"))
    assert not np.asarray(again(np.zeros((1, 3), "int64"))).any() and np.asarray(model(np.zeros((1, 3), "int64"))).any()


@pytest.mark.parametrize("how", HOW)
def test_quantized_and_folded_models(how):
    model, _ = trained()
    nn.fold_batch_norms(model)
    for other in (model, nn.quantize(model)):
        np.testing.assert_array_equal(HOW[how](other)(X), other(X))


def test_a_model_with_a_generator_draws_the_same_from_then_on():
    model = nn.Sequential([nn.Dropout(0.5)])
    model(X, training=True)
    again = HOW["pickle"](model)
    np.testing.assert_array_equal(again(X, training=True), model(X, training=True))


# ---- optimisers

SCHEDULES = optim.schedules
OPTIMIZERS = {
    **{name: (lambda name=name: getattr(optim, name)(0.01)) for name in optim.__all__
       if inspect.isclass(getattr(optim, name))
       and "learning_rate" in inspect.signature(getattr(optim, name).__init__).parameters
       and name not in ("Muon", "Optimizer", "LBFGS")},
    "schedule": lambda: optim.Adam(SCHEDULES.warmup(SCHEDULES.cosine(0.01, 100), 10)),
    "groups": lambda: optim.groups(optim.Adam(0.01), {"*bias": optim.SGD(0.1, momentum=0.9)}),
    "chain": lambda: optim.chain(optim.transforms.centralize(), optim.transforms.clip_norm(1.0), optim.Adam(0.01)),
    "accumulate": lambda: optim.accumulate(optim.Adam(0.01), 2),
    "constrained": lambda: optim.constrained(optim.Adam(0.01), nn.constraints.max_norm(1.0)),
    "proximal": lambda: optim.Proximal(optim.SGD(0.1), optim.proximal.l1(0.01)),
    "noise": lambda: optim.GradientNoise(optim.SGD(0.1)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_with_slots_goes_on_with_its_model(name, how):
    model = nn.Sequential([nn.Dense(3)])
    optimizer = OPTIMIZERS[name]()

    def step(model, optimizer):
        loss = losses.mean_squared_error(model(X), np.ones((16, 3), "float32"))
        optimizer.update(model, cr.gradients(loss, model))
        return {key: value.numpy() for key, value in {**model.variables(), **optimizer.variables()}.items()}
    step(model, optimizer)
    pair = HOW[how]((model, optimizer))
    for _ in range(3):
        alike(step(model, optimizer), step(*pair))


MADE = {
    "constant": SCHEDULES.constant(0.1), "step": SCHEDULES.step(0.1, 3),
    "multi_step": SCHEDULES.multi_step(0.1, [2, 5]),
    "exponential": SCHEDULES.exponential(0.1, 4, 0.5), "cosine": SCHEDULES.cosine(0.1, 10, final=0.01),
    "linear": SCHEDULES.linear(0.1, 10),
    "polynomial": SCHEDULES.polynomial(0.1, 10, power=2.0), "inverse_sqrt": SCHEDULES.inverse_sqrt(0.1, 4),
    "cosine_restarts": SCHEDULES.cosine_restarts(0.1, 5, factor=2.0), "one_cycle": SCHEDULES.one_cycle(0.1, 10),
    "cyclic": SCHEDULES.cyclic(0.01, 0.1, 3),
    "warmup": SCHEDULES.warmup(0.1, 3), "warmup_cosine": SCHEDULES.warmup_cosine(0.1, 3, 10),
    "sequence": SCHEDULES.sequence([SCHEDULES.linear(0.1, 4), 0.01], [4]),
    "product": SCHEDULES.product(SCHEDULES.cosine(0.1, 10), SCHEDULES.step(1.0, 3)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", MADE)
def test_schedules_have_the_same_rates(name, how):
    again = HOW[how](MADE[name])
    assert [float(again(i)) for i in range(12)] == [float(MADE[name](i)) for i in range(12)]
    assert repr(again) == repr(MADE[name]) and repr(again).startswith(name)


def test_every_schedule_is_tried():
    made = {name for name, f in vars(SCHEDULES).items() if inspect.isfunction(f) and f.__module__ == SCHEDULES.__name__
            and name[0] != "_"}
    assert made == set(MADE)


@pytest.mark.parametrize("made", [
    optim.penalties.l2(0.1), optim.penalties.l1(0.1, only="0.*"), optim.penalties.ridge(0.1),
    optim.penalties.l1_l2(0.1, 0.2), optim.penalties.group_lasso(0.1),
    optim.proximal.l1(0.1), optim.proximal.ridge(0.1), optim.proximal.group_lasso(0.1),
    *(getattr(optim.transforms, n)(0.1) for n in (
        "clip_norm", "clip_value", "clip_adaptive", "decay_weights")), optim.transforms.negate(),
        optim.transforms.centralize(),
    nn.constraints.max_norm(2.0), nn.constraints.unit_norm(), nn.constraints.non_negative(),
    nn.constraints.bounded(0.0, 1.0),
    nn.initializers.variance_scaling(2.0, "out"), nn.initializers.constant(3.0), *nn.initializers.TABLE.values()],
                         ids=lambda made: getattr(made, "__name__", repr(made)))
def test_functions_that_are_made(made):
    for through in HOW.values():
        assert (callable(through(made)) and repr(through(made)) == repr(made)) or inspect.isfunction(made)


@pytest.mark.parametrize("name", sorted(losses.TABLE))
def test_losses_by_name_and_with_options(name):
    loss = getattr(losses, name)
    assert HOW["pickle"](loss) is loss
    options = {"label_smoothing": 0.1} if name == "cross_entropy" else {"delta": 2.0} if name == "huber" else {}
    alike(HOW["pickle"](loss.using(**options)).options, options)


# ---- every other public class

FILES = Path(tempfile.mkdtemp(prefix="chainrule-"))
atexit.register(shutil.rmtree, FILES, ignore_errors=True)


def file_of(name):
    path = FILES / name
    if name == "x.npy":
        np.save(path, X)
    elif name == "shard.tar":
        with tarfile.open(path, "w") as shard:
            for i in range(2):
                content = f"{i}".encode()
                member = tarfile.TarInfo(f"{i}.cls")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    else:
        path.write_text("a,b\n1,2\n3,4\n")
    return path


def boxed_images():
    """A folder in YOLO's form, whose image is read only when it is asked for."""
    for name, content in (("images/1.png", b""), ("labels/1.txt", b""), ("classes.txt", b"cell")):
        path = FILES / "boxed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return FILES / "boxed"


def folder_of(kind):
    for name in ("one", "two"):
        folder = FILES / kind / name
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "wav":
            with wave.open(str(folder / "x.wav"), "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes(bytes(16))
        else:
            (folder / f"x.{kind}").write_bytes(b"")
    return FILES / kind


EXAMPLES = {
    mesh.Mesh: lambda: mesh.Mesh({"data": 2, "model": 1, "sequence": 1}),
    mesh.Plan: lambda: mesh.Mesh({"data": 1}).plan(nn.Dense(2, input_shape=(3,))),
    augment.Augmented: lambda: augment.Augmented(RNG.random((4, 8, 8, 3)), Y[:4], augment.Flip()),
    augment.Batch: lambda: augment.Batch(X),
    augment.Compose: lambda: augment.Compose([augment.Flip(), augment.Rotate(10)]),
    augment.Crop: lambda: augment.Crop(4),
    augment.Draws: lambda: augment.Draws(0, 1, np.arange(3), 0),
    augment.Handedness: lambda: augment.Handedness(1.0, 0.5),
    augment.OneOf: lambda: augment.OneOf([augment.Flip(), augment.Rotate(10)]),
    augment.ResizedCrop: lambda: augment.ResizedCrop(4),
    augment.Rotate: lambda: augment.Rotate(10),
    augment.Scale: lambda: augment.Scale(0.1),
    augment.Shear: lambda: augment.Shear(0.1),
    boxes.Detections: lambda: boxes.Detections(X[:2], [0, 1], [0.5, 0.6]),
    data.BoxImages: lambda: data.BoxImages(boxed_images()),
    metrics.DetectionScores: lambda: metrics.mean_average_precision(
        [boxes.Detections(X[:2], [0, 1], [0.5, 0.6])], [boxes.Detections(X[:2], [0, 1])], resamples=4
    ),
    data.Ragged: lambda: data.Ragged(X, np.array([1, 2])),
    data.Loader: lambda: data.Loader((X, Y), batch_size=4),
    data.Memmap: lambda: data.Memmap(file_of("x.npy")),
    data.TextLines: lambda: data.TextLines(file_of("lines.txt")),
    data.Rows: lambda: data.Rows(file_of("rows.csv")),
    data.ImageFolder: lambda: data.ImageFolder(folder_of("png")),
    data.AudioFolder: lambda: data.AudioFolder(folder_of("wav")),
    data.TarShards: lambda: data.TarShards(file_of("shard.tar")),
    generative.SampleGrid: lambda: generative.SampleGrid(None, "samples"),
    losses.Several: lambda: losses.of_outputs({"a": "mse", "b": "huber"}),
    metrics.Coverage: lambda: metrics.coverage(X, X),
    metrics.PrecisionRecall: lambda: metrics.precision_recall(X, X),
    rl.MDP: lambda: rl.MDP(np.full((2, 1, 2), 0.5), np.zeros((2, 1)), 0.9),
    rl.GridWorld: lambda: rl.GridWorld("SG"),
    rl.Environment: None,
    rl.Tabular: None,
    rl.Gym: None,
    rl.Transition: lambda: rl.Transition(*[cr.ones(2)] * 5),
    train.Run: None,
    train.Trainer: None,
    rl.Episode: lambda: rl.play(np.zeros(3, int), "CartPole-v1"),
    rl.Seeds: None,
    data.Batches: lambda: data.Batches((X, Y), 4),
    data.CharacterTokenizer: lambda: data.CharacterTokenizer(["abc"]),
    data.Dataset: lambda: data.Dataset(
        "d", X, Y, X, Y, data.FeatureScaling((0.0,), (1.0,), (4,)), data.Target("regression")
    ),
    data.Duplicates: lambda: data.Duplicates(()),
    data.FeatureScaling: lambda: data.FeatureScaling((0.0,), (1.0,), (1,)),
    data.ImageScaling: lambda: data.ImageScaling((0.0,), (1.0,), (2, 2, 1)),
    data.Series: lambda: data.Series(X, ("a", "b", "c", "d")),
    data.Target: lambda: data.Target("classification", ("a", "b"), ("a", "b")),
    data.TablePreprocess: lambda: data.TablePreprocess(("a",), "y", ()),
    distributions.Bernoulli: lambda: distributions.Bernoulli(0.3),
    distributions.Beta: lambda: distributions.Beta(1.0, 2.0),
    distributions.Binomial: lambda: distributions.Binomial(3, 0.3),
    distributions.Categorical: lambda: distributions.Categorical([0.3, 0.7]),
    distributions.Dirichlet: lambda: distributions.Dirichlet([1.0, 2.0]),
    distributions.Gamma: lambda: distributions.Gamma(1.0),
    distributions.Multinomial: lambda: distributions.Multinomial(3, [0.5, 0.5]),
    distributions.Poisson: lambda: distributions.Poisson(2.0),
    distributions.MultivariateNormal: lambda: distributions.MultivariateNormal([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
    distributions.StudentT: lambda: distributions.StudentT(3.0),
    losses.Loss: lambda: losses.huber,
    looking.Importance: lambda: looking.Importance(("a",), np.ones(1)),
    looking.LayerRecord: lambda: looking.LayerRecord(X, X),
    looking.Shifts: lambda: looking.Shifts({1: 0.0}, {1: 0.0}, {1: 0.0}),
    looking.Explanation: lambda: looking.Explanation([]),
    metrics.Estimate: lambda: metrics.Estimate(0.5, 0.4, 0.6),
    metrics.Mean: lambda: metrics.Mean(absolute),
    models.LanguageModel: lambda: models.LanguageModel(11, 8, width=8, heads=2, depth=1),
    models.Decoder: None,
    train.SavedRun: None,
    models.EncoderDecoder: lambda: models.EncoderDecoder(5, 6),
    models.MaskedLanguageModel: None,
    models.UNet: lambda: models.UNet(2, 4, 1),
    models.VisionTransformer: lambda: models.VisionTransformer(2, (8, 8, 1), 4, 8, 1, 2),
    models.TranslationTransformer: lambda: models.TranslationTransformer(9, width=8, depth=1, heads=2),
    nn.AttentionRecord: None,
    nn.KeyValueCache: lambda: nn.KeyValueCache(1, 2, 3, 4),
    nn.ReceptiveField: lambda: nn.ReceptiveField("a", (1,), (1,), (0,)),
    nn.Symbol: lambda: nn.Input((3,)),
    tasks.Objective: lambda: tasks.multiclass(3),
    tasks.Forecast: lambda: tasks.Forecast(np.zeros(3), np.zeros(3), np.ones(3)),
    tasks.Report: lambda: tasks.Report({"accuracy": metrics.Estimate(0.5, 0.4, 0.6)}, 10),
    optim.GradientNoise: OPTIMIZERS["noise"],
    optim.Proximal: OPTIMIZERS["proximal"],
    optim.Optimizer: None,
    optim.Minimum: lambda: optim.Minimum(0.0, 0.0, 1, 2, "gradient"),
    statistics.Run: lambda: statistics.Run("a", np.ones(3)),
    statistics.NormalNormal: lambda: statistics.NormalNormal(noise=1.0),
    statistics.DirichletMultinomial: lambda: statistics.DirichletMultinomial([1.0, 2.0]),
    statistics.Comparison: lambda: cr.compare([0.9, 0.8, 0.85], [0.7, 0.65, 0.6]),
    statistics.Reliability: lambda: statistics.Reliability(np.arange(3.0), *[np.ones(2)] * 5),
    train.Checkpoint: lambda: train.Checkpoint("x.ckpt"),
    train.Finding: lambda: train.Finding("k", "w", "p", "r"),
    train.RateTest: lambda: train.RateTest((0.1,), (1.0,), 0.1, 0.1),
    train.Scores: lambda: train.Scores("a", values=(1.0,), low=0.0, high=1.0),
    train.TopLosses: None,
    train.Training: None,
    train.Ranking: lambda: train.Ranking((), ()),
    train.Until: lambda: train.Until(steps=10),
    train.Validation: lambda: train.Validation(3),
    tuning.Record: lambda: tuning.Record(0, {}),
    tuning.Search: lambda: tuning.Search((), None, True),
    tuning.Trial: None,
    tuning.Winner: None,
}


def public_classes():
    found = {}
    for module in cr._MODULES:
        where = importlib.import_module(f"chainrule.{module}")
        for name in getattr(where, "__all__", ()):
            kind = getattr(where, name)
            if inspect.isclass(kind) and not issubclass(kind, Exception | Warning
                                                        | nn.Module) and kind.__module__.startswith("chainrule"):
                found[kind] = f"{module}.{name}"
    return found


CLASSES = public_classes()


def needs_arguments(kind):
    return any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
               for p in inspect.signature(kind).parameters.values())


def filled(kind):
    """A dataclass with its names as values, for what has no example; any other class needs one in EXAMPLES."""
    one = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(one, field.name, field.name)
    return one


@pytest.mark.parametrize("kind", CLASSES, ids=CLASSES.get)
def test_every_public_class(kind):
    make = EXAMPLES.get(kind, kind)
    if make is None:
        pytest.skip("made by the library only, while it works")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = filled(kind) if make is kind and dataclasses.is_dataclass(kind) and needs_arguments(kind) else make()
    for through in HOW.values():
        alike(one, through(one), CLASSES[kind])


@pytest.mark.parametrize("how", HOW)
def test_what_training_leaves(how):
    stop, average = train.EarlyStopping(monitor="loss"), train.EMA()
    _, history = trained(callbacks=[stop, average], metrics=["accuracy"], validation=(X, Y))
    for one in (history, stop, average):
        alike(one, HOW[how](one))
    assert HOW[how](history).best("loss") == history.best("loss") if callable(getattr(history, "best", None)) else True


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", sorted(metrics.NAMES))
def test_metrics_in_the_middle(name, how):
    metric = metrics.get(name)
    outputs, targets = (RNG.random((16, 3)),
                        Y) if not isinstance(metric, metrics.Mean | metrics.R2) else (X[:, 0], X[:, 1])
    try:
        metric.update(outputs, targets)
    except cr.errors.ChainruleError:
        pytest.skip("takes other outputs")
    again = HOW[how](metric)
    for one in (metric, again):
        one.update(outputs, targets)
    alike(metric, again)


# ---- compiled functions

def test_compiled_functions():
    assert HOW["pickle"](plus_one) is plus_one and HOW["deepcopy"](plus_one)(1.0) == 2.0
    anonymous = cr.compile(lambda x: x + 1)
    anonymous(1.0)
    assert HOW["deepcopy"](anonymous)(1.0) == 2.0
    with pytest.raises(ArgumentError, match="top can be pickled"):
        pickle.dumps(anonymous)


# ---- another process

def elsewhere(model, optimizer, schedule, history, x, function):
    loss = losses.cross_entropy(model(x), np.zeros(len(x), "int64"))
    optimizer.update(model, cr.gradients(loss, model))
    return model(x), float(schedule(3)), history, model, function(x)


def test_a_new_process_gets_and_returns_them():
    optimizer = optim.Adam(SCHEDULES.cosine(0.01, 100))
    model, history = trained(optimizer)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        given = (model, optimizer, MADE["cosine"], history, cr.asarray(X), plus_one)
        y, rate, returned, other, more = pool.apply(elsewhere, given)
        expected = elsewhere(*copy.deepcopy(given))
    np.testing.assert_array_equal(y, expected[0])
    alike((rate, returned, other), expected[1:4])
    np.testing.assert_array_equal(more, X + 1)
