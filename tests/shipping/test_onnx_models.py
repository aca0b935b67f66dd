# SPDX-License-Identifier: Apache-2.0
"""Each model of the zoo as an ONNX file, run by ONNX Runtime at sizes that it was not exported for."""

from __future__ import annotations

import numpy as np
import pytest
from shipping.onnx_runs import same

import chainrule as cr
from chainrule import models

RNG = np.random.default_rng(0)


def floats(*shape):
    return lambda batch, length=None: RNG.standard_normal((batch, *shape)).astype("float32")


def words(length, vocabulary=11):
    return lambda batch, more=0: RNG.integers(1, vocabulary, (batch, length + more))


# name: model, inputs, whether their length is free too
ZOO = {
    "mlp": (lambda: models.mlp(3, (8,)), [floats(5)], False),
    "cnn": (lambda: models.cnn(4, (8, 8, 3), width=4, hidden=8), [floats(8, 8, 3)], False),
    "lenet5": (lambda: models.lenet5(), [floats(28, 28, 1)], False),
    "vgg": (lambda: models.vgg(4, (8, 8, 3), (4, 8)), [floats(8, 8, 3)], False),
    "resnet": (lambda: models.resnet(18, 5, (32, 32, 3)), [floats(32, 32, 3)], False),
    "resnet_cifar": (lambda: models.resnet_cifar(8), [floats(32, 32, 3)], False),
    "mobilenet_v2": (lambda: models.mobilenet_v2(4, (32, 32, 3), width=0.25), [floats(32, 32, 3)], False),
    "mobilenet_v3": (lambda: models.mobilenet_v3("small", 4, (32, 32, 3), width=0.25), [floats(32, 32, 3)], False),
    "efficientnet": (lambda: models.efficientnet(0, 4, (32, 32, 3), width=0.25), [floats(32, 32, 3)], False),
    "convnext": (lambda: models.convnext("tiny", 4, (32, 32, 3), depths=(1, 1, 1, 1), widths=(8, 8, 8, 8)),
                 [floats(32, 32, 3)], False),
    "vit": (lambda: models.vit("tiny", 4, (32, 32, 3)), [floats(32, 32, 3)], False),
    "dcgan_generator": (lambda: models.dcgan_generator(width=4), [floats(7)], False),
    "dcgan_critic": (lambda: models.dcgan_critic(width=4), [floats(28, 28, 1)], False),
    "dcgan_critic spectral": (lambda: models.dcgan_critic(width=4, spectral=True), [floats(28, 28, 1)], False),
    "clip_network": (lambda: models.clip_network(3, (4, 4)), [floats(4, 8, 8, 1)], False),
    "sequence_classifier": (lambda: models.sequence_classifier(3, 11, 8, 4, "lstm", 2, True), [words(5)], True),
    "sequence_classifier of numbers": (lambda: models.sequence_classifier(2, units=4), [floats(5, 2)], False),
    "sequence_tagger": (lambda: models.sequence_tagger(3, 11, 8, 4, "gru"), [words(5)], True),
    "EncoderDecoder": (lambda: models.EncoderDecoder(11, 11, 8, 4), [words(5), words(3)], True),
    "TranslationTransformer": (lambda: models.TranslationTransformer(11, 11, 8, 1, 2, 16, length=32),
                               [words(5), words(3)], True),
    "gpt": (lambda: models.gpt(11, 32, 8, 2, 2), [words(5)], True),
    "llama": (lambda: models.llama(11, 32, 8, 2, 4, 2), [words(5)], True),
    "BERT": (lambda: models.BERT(11, 32, width=8, depth=2, heads=2), [words(5)], True),
    "MaskedLanguageModel": (lambda: models.MaskedLanguageModel(models.BERT(11, 32, width=8, depth=1, heads=2)),
                            [words(5)], True),
    "SequenceClassifier": (lambda: models.SequenceClassifier(models.BERT(11, 32, width=8, depth=1, heads=2), 3),
                           [words(5)], True),
    "TokenClassifier": (lambda: models.TokenClassifier(models.BERT(11, 32, width=8, depth=1, heads=2), 3), [words(5)],
                        True),
    "SpanReader": (lambda: models.SpanReader(models.BERT(11, 32, width=8, depth=1, heads=2)), [words(5)], True),
    "TimeMLP": (lambda: models.TimeMLP(2), [floats(2), floats()], False),
    "TimeUNet": (lambda: models.TimeUNet(1, widths=(8, 8)), [floats(8, 8, 1), floats()], False),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "resnet")) for name in ZOO])
def test_a_model_of_the_zoo_gives_the_same_in_onnx_runtime(name, tmp_path):
    make, inputs, lengths = ZOO[name]
    model = make()
    draws = [[draw(3) for draw in inputs], [draw(1) for draw in inputs], [draw(5) for draw in inputs]]
    if lengths:
        draws += [[draw(2, 4) for draw in inputs]]
    model(*draws[0])
    same(model, tmp_path / "model.onnx", draws, free=(0, 1) if lengths else (0,), longest=32)


def test_every_model_has_a_row():
    made = {word for word in models.__all__ if word[0].islower()
            and not word.startswith(("generate", "load", "save", "mask", "fill", "of_"))}
    assert made <= set(ZOO)


def test_a_structure_goes_in_and_comes_out_by_name(tmp_path):
    from shipping.onnx_runs import session

    def model(left, right):
        return {"sum": left + right, "first": left[:1]}
    x = {"left": np.ones((2, 3), "float32"), "right": np.ones((2, 3), "float32")}
    ready = session(cr.export(model, tmp_path / "model.onnx", x))
    assert [item.name for item in ready.get_inputs()] == ["left", "right"]
    assert [(item.name, item.shape) for item in ready.get_outputs()] == [("sum", ["batch", 3]), ("first", [1, 3])]
