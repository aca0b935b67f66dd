# SPDX-License-Identifier: Apache-2.0
"""What a mistake prints: each message as a golden text, with the layer or the user's line, what came, what was expected
and one fix. `CHAINRULE_UPDATE_GOLDEN=1` writes the texts anew."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import ChainruleError

GOLDEN = Path(__file__).parents[1] / "golden" / "mistakes"
MISTAKES: dict[str, Callable[[], Any]] = {}


def mistake(function: Callable[[], Any]) -> Callable[[], Any]:
    MISTAKES[function.__name__] = function
    return function


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def small_cnn() -> nn.Sequential:
    model = nn.Sequential([nn.Conv2D(8, 3, activation="relu"), nn.MaxPool2D(2), nn.ReLU(), nn.Flatten(), nn.Dense(10)])
    model(images(2, 10, 10, 1))
    return model


class Forgetful(nn.Module):
    def __init__(self):
        self.dense = nn.Dense(3)

    def forward(self, x):
        self.dense(x)


class Several(Forgetful):
    def forward(self, x):
        return self.dense(x), self.dense(x)


def compiled(model: nn.Module) -> Any:
    return cr.compile(lambda x: model(x), backend="reference")


# ---- shapes and dtypes inside layers

@mistake
def flatten_gives_other_features():
    model = small_cnn()
    model(images(4, 28, 28, 1))


@mistake
def flatten_gives_other_features_compiled():
    model = small_cnn()
    compiled(model)(images(4, 28, 28, 1))


@mistake
def features_other_than_declared():
    nn.Sequential([nn.Flatten(), nn.Dense(10, input_shape=(100,))])(images(4, 28, 28, 1))


@mistake
def both_ways_as_an_argument():
    nn.LSTM(8, bidirectional=True)


@mistake
def padding_mode_of_another_library():
    nn.Conv2D(8, 3, padding_mode="replicate")


@mistake
def too_many_positions_added():
    nn.Conv2DTranspose(8, 3, stride=2, output_padding=2)


@mistake
def attention_mask_by_another_name():
    nn.MultiHeadAttention(2)(images(2, 5, 6), attention_mask=np.ones((2, 5), bool))


@mistake
def positions_told_their_width():
    nn.PositionalEncoding(512)


@mistake
def batch_is_channels_first():
    model = nn.Sequential([nn.Conv2D(8, 3, input_shape=(28, 28, 1))])
    model.parameters()
    model(images(4, 1, 28, 28))


@mistake
def images_have_other_channels():
    model = nn.Sequential([nn.ZeroPad2D(1), nn.Conv2D(8, 3)])
    model(images(4, 28, 28, 3))
    model(images(4, 28, 28, 4))


@mistake
def images_without_channels():
    model = nn.Sequential([nn.Conv2D(8, 3)])
    model(images(4, 28, 28))


@mistake
def one_image_without_batch_into_dense():
    model = nn.Sequential([nn.Dense(3)])
    model(images(10))


@mistake
def dense_between_convolutions():
    model = nn.Sequential([nn.Flatten(), nn.Conv2D(8, 3)])
    model(images(4, 28, 28, 1))


@mistake
def kernel_larger_than_image():
    model = nn.Sequential([nn.MaxPool2D(4), nn.Conv2D(8, 5)])
    model(images(2, 16, 16, 1))


@mistake
def pool_larger_than_image():
    model = nn.Sequential([nn.Conv2D(8, 3), nn.MaxPool2D((2, 40))])
    model(images(2, 16, 16, 1))


@mistake
def double_precision_into_single():
    model = nn.Sequential([nn.Dense(8), nn.Dense(3)])
    model(np.ones((4, 5)))


@mistake
def double_precision_into_single_compiled():
    model = nn.Sequential([nn.Dense(8), nn.Dense(3)])
    compiled(model)(np.ones((4, 5)))


@mistake
def images_of_bytes():
    model = nn.Sequential([nn.Conv2D(8, 3)])
    model(np.zeros((4, 28, 28, 1), "uint8"))


@mistake
def integers_into_dense():
    model = nn.Sequential([nn.Dense(8)])
    model(np.zeros((4, 28), "int64"))


@mistake
def norm_of_other_features():
    model = nn.Sequential([nn.LayerNorm()])
    model(images(4, 8))
    model(images(4, 9))


@mistake
def batch_norm_of_one_sample():
    model = nn.Sequential([nn.BatchNorm()])
    model(images(1, 8), training=True)


@mistake
def residual_ways_differ():
    model = nn.Sequential([nn.Residual([nn.Conv2D(16, 3, stride=2, padding="same")])])
    model(images(2, 8, 8, 4))


@mistake
def reshape_does_not_fit():
    model = nn.Sequential([nn.Reshape((7, 7, -1))])
    model(images(2, 100))


@mistake
def reflection_without_pixels():
    model = nn.Sequential([nn.ReflectPad2D(3)])
    model(images(2, 3, 8, 1))


# ---- tokens and attention

@mistake
def token_outside_vocabulary():
    model = nn.Sequential([nn.Embedding(100, 8)])
    model(np.array([[5, 7, 100]]))


@mistake
def negative_token():
    model = nn.Sequential([nn.Embedding(100, 8)])
    model(np.array([[5, -1, 7]]))


@mistake
def token_outside_vocabulary_compiled():
    model = nn.Sequential([nn.Embedding(100, 8)])
    compiled(model)(np.array([[5, 7, 100]]))


@mistake
def tokens_are_floats():
    model = nn.Sequential([nn.Embedding(100, 8)])
    model(np.array([[5.0, 7.0]], "float32"))


@mistake
def heads_do_not_divide_width():
    model = nn.Sequential([nn.Dense(100), nn.MultiHeadAttention(8)])
    model(images(2, 5, 7))


@mistake
def attention_in_the_order_of_pytorch():
    nn.MultiHeadAttention(64, 8)


@mistake
def block_in_the_order_of_pytorch():
    nn.TransformerEncoderLayer(64, 8)


@mistake
def view_of_a_weight():
    layer = nn.Dense(2)
    layer(images(2, 5))
    layer.weight.view(-1)


@mistake
def mask_of_integers():
    layer = nn.MultiHeadAttention(2)
    layer(images(2, 5, 8), mask=np.ones((2, 5), "int64"))


@mistake
def mask_of_another_shape():
    layer = nn.MultiHeadAttention(2)
    layer(images(2, 5, 8), mask=np.ones((5, 5), bool))


@mistake
def groups_do_not_divide_channels():
    model = nn.Sequential([nn.GroupNorm(5)])
    model(images(2, 4, 4, 8))


@mistake
def sequence_longer_than_positions():
    model = nn.Sequential([nn.PositionalEncoding("learned", length=4)])
    model(images(2, 5, 8))


# ---- arguments

@mistake
def dropout_in_percent():
    nn.Dropout(20)


@mistake
def misspelt_activation():
    nn.Dense(10, activation="rellu")


@mistake
def input_size_as_in_pytorch():
    nn.Dense(1352, 10)


@mistake
def argument_of_another_library():
    nn.Conv2D(8, 3, strides=2)


@mistake
def missing_argument():
    nn.Conv2D(32)


@mistake
def misspelt_argument():
    nn.Conv2D(8, 3, activaton="relu")


@mistake
def kernel_of_three_extents():
    nn.Conv2D(8, (3, 3, 3))


@mistake
def misspelt_padding():
    nn.Conv2D(8, 3, padding="smae")


@mistake
def groups_do_not_divide_filters():
    nn.Conv2D(10, 3, groups=4)


@mistake
def class_in_place_of_layer():
    nn.Sequential([nn.Flatten, nn.Dense(10)])


@mistake
def layers_without_list():
    nn.Sequential(nn.Flatten())


@mistake
def several_layers_without_list():
    nn.Sequential(nn.Dense(3), nn.ReLU())


@mistake
def features_given_to_a_norm():
    nn.LayerNorm(64)


@mistake
def features_given_to_batch_norm():
    nn.BatchNorm(64)


@mistake
def features_given_to_a_recurrent_layer():
    nn.LSTM(32, 64)


@mistake
def nothing_into_a_layer():
    nn.Sequential([Forgetful(), nn.Dense(2)])(images(2, 4))


@mistake
def text_into_a_layer():
    nn.Embedding(10, 3)("a text")


@mistake
def too_many_inputs():
    nn.Dense(3)(images(2, 4), images(2, 4))


@mistake
def mask_as_in_pytorch():
    nn.MultiHeadAttention(2)(images(2, 5, 4), attn_mask=np.ones((5, 5), bool))


@mistake
def activation_layer_of_another_library():
    nn.ReLU6()


@mistake
def list_of_another_library():
    nn.ModuleList([nn.Dense(3)])


@mistake
def name_in_place_of_layer():
    nn.Sequential([nn.Dense(3), "relu"])


@mistake
def layer_of_another_library():
    nn.Linear(10)


@mistake
def loss_class_of_another_library():
    losses.CrossEntropyLoss()


@mistake
def optimizer_in_other_case():
    optim.RMSProp(1e-3)


@mistake
def misspelt_loss():
    losses.get("cross_entropi")


@mistake
def loss_of_another_library():
    losses.get("sparse_categorical_crossentropy")


@mistake
def misspelt_optimizer():
    optim.get("adm")


@mistake
def misspelt_initializer():
    nn.Dense(3, weight_initializer="glorot")(images(2, 3))


@mistake
def input_shape_with_unknown_batch():
    nn.Dense(3, input_shape=(None, 28))


@mistake
def summary_of_an_unknown_input():
    nn.Sequential([nn.Dense(3)]).summary()


@mistake
def negative_learning_rate():
    optim.Adam(-1e-3)


# ---- losses

LOGITS, LABELS = images(4, 3), np.array([0, 1, 2, 1])


@mistake
def labels_in_a_column():
    losses.cross_entropy(LOGITS, LABELS[:, None])


@mistake
def labels_from_one():
    losses.cross_entropy(LOGITS, LABELS + 1)


@mistake
def label_far_out():
    losses.cross_entropy(LOGITS, np.array([0, 1, 2, 7]))


@mistake
def labels_are_floats():
    losses.cross_entropy(LOGITS, LABELS.astype("float32"))


@mistake
def one_hot_of_another_width():
    losses.cross_entropy(LOGITS, np.eye(5, dtype="float32")[LABELS])


@mistake
def labels_of_another_batch():
    losses.cross_entropy(LOGITS, LABELS[:3])


@mistake
def one_logit_into_cross_entropy():
    losses.cross_entropy(LOGITS[:, :1], LABELS)


@mistake
def column_against_vector():
    losses.mean_squared_error(images(8, 1), images(8))


@mistake
def column_against_vector_compiled():
    cr.compile(lambda x, y: losses.mean_squared_error(x, y), backend="reference")(images(8, 1), images(8))


@mistake
def binary_targets_from_one():
    losses.binary_cross_entropy(images(3), np.array([1.0, 2.0, 1.0], "float32"))


@mistake
def weights_do_not_fit():
    losses.mean_squared_error(images(8, 2), images(8, 2), weights=images(8, 1))


@mistake
def misspelt_reduction():
    losses.mean_squared_error(images(8), images(8), reduction="avg")


@mistake
def softmax_before_cross_entropy():
    losses._warned.clear()
    model = nn.Sequential([nn.Dense(3, activation="softmax")])
    losses.cross_entropy(model(images(4, 5)), LABELS)


# ---- words of other libraries for methods and arguments

@mistake
def fit_as_in_keras():
    cr.fit(small_cnn(), images(4, 10, 10, 1), np.zeros(4, int), loss="cross_entropy")


@mistake
def argument_of_fit_as_in_keras():
    cr.fit(small_cnn(), (images(4, 10, 10, 1), np.zeros(4, int)), loss="cross_entropy", validation_data=None)


@mistake
def frozen_as_in_keras():
    small_cnn()[0].trainable = False


@mistake
def method_of_a_model_as_in_keras():
    small_cnn().fit(images(4, 10, 10, 1), np.zeros(4, int))


@mistake
def backward_as_in_pytorch():
    cr.mean(small_cnn()(images(4, 10, 10, 1))).backward()


@mistake
def method_that_is_a_function():
    cr.asarray(images(3)).softmax()


@mistake
def axis_by_another_name():
    cr.asarray(images(3, 2)).sum(dim=1)


@mistake
def format_of_several_numbers():
    str.format("{:.4f}", cr.asarray(images(3)))


@mistake
def initializer_of_another_library():
    nn.Dense(3, weight_initializer="xavier_uniform")(images(2, 4))


# ---- gradients, updates, values

@mistake
def array_in_place_of_a_variable():
    layer = nn.Dense(3, input_shape=(2,))
    layer.parameters()
    layer.weight = images(2, 3)


@mistake
def gradient_by_a_module():
    cr.grad(lambda model: cr.sum(model(images(2, 4))))(nn.Dense(3))


@mistake
def function_of_a_symbol():
    cr.relu(nn.Input((3,)))


@mistake
def input_between_layers():
    nn.Sequential([nn.Dense(3), nn.Input((3,)), nn.Dense(2)])


@mistake
def gradient_of_a_vector():
    w = cr.Variable(images(3))
    cr.gradients(w * w, w)


@mistake
def gradients_of_another_model():
    first, second = nn.Sequential([nn.Dense(3)]), nn.Sequential([nn.Flatten(), nn.Dense(3)])
    grads = cr.gradients(cr.mean(first(images(2, 4))), first)
    second(images(2, 4))
    optim.SGD(0.1).update(second, grads)


@mistake
def gradient_of_another_shape():
    optim.SGD(0.1).update({"w": cr.Variable(images(3))}, {"w": images(4)})


@mistake
def one_optimizer_for_two_models():
    optimizer = optim.Adam(0.1)
    for _ in range(2):
        model = nn.Sequential([nn.Dense(3, input_shape=(4,))])
        optimizer.update(model, cr.gradients(cr.mean(model(images(2, 4))), model))


@mistake
def update_of_no_model():
    optim.SGD(0.1).update(images(3), {})


@mistake
def branch_on_a_traced_value():
    @cr.compile(backend="reference")
    def clipped(x):
        if x > 0:
            return x
        return -x
    clipped(np.float32(1))


@mistake
def index_outside_a_tensor():
    cr.asarray([1.0, 2.0, 3.0, 4.0, 5.0])[10]


@mistake
def nothing_given_to_a_layer():
    nn.Dense(3)()


@mistake
def input_given_by_name():
    nn.Dense(3)(input=images(2, 4))


@mistake
def forward_without_return_at_the_end():
    nn.Sequential([nn.Dense(2), Forgetful()])(images(2, 4))


@mistake
def tuple_into_a_layer():
    nn.Sequential([Several(), nn.Dense(2)])(images(2, 4))


@mistake
def tuple_into_a_layer_compiled():
    compiled(nn.Sequential([Several(), nn.Dense(2)]))(images(2, 4))


@mistake
def tuple_returned_in_fit():
    cr.fit(Several(), (images(2, 4), np.zeros(2, "int64")), loss="cross_entropy", progress=False)


@mistake
def nothing_returned_in_fit():
    cr.fit(Forgetful(), (images(2, 4), np.zeros(2, "int64")), loss="cross_entropy", progress=False)


@mistake
def second_input_of_a_model():
    nn.Sequential([nn.Dense(3)])(images(2, 4), images(2, 4))


@mistake
def no_input_of_a_model():
    nn.Sequential([nn.Dense(3)])()


@mistake
def number_of_units_as_text():
    nn.Dense("10")


@mistake
def number_of_units_as_a_float():
    nn.Dense(10.0)


@mistake
def inputs_where_units_are_told():
    nn.Dense(images(200, 300))


@mistake
def class_among_layers_without_list():
    nn.Sequential(nn.Dense(3), nn.ReLU)


@mistake
def class_given_to_fit():
    cr.fit(Forgetful, (images(2, 4), np.zeros(2, "int64")), loss="cross_entropy", progress=False)


@mistake
def function_in_place_of_a_loss():
    model = nn.Sequential([nn.Dense(2, input_shape=(4,))])
    cr.gradients(lambda: cr.sum(model(images(2, 4))), model)


@mistake
def class_in_place_of_an_inner_layer():
    nn.TimeDistributed(nn.Dense)


@mistake
def class_in_place_of_a_recurrent_layer():
    nn.Bidirectional(nn.LSTM)


@mistake
def loss_of_nothing():
    losses.cross_entropy(Forgetful()(images(2, 4)), np.zeros(2, "int64"))


@mistake
def loss_of_a_tuple():
    losses.cross_entropy(Several()(images(2, 4)), np.zeros(2, "int64"))


@mistake
def gradient_of_nothing():
    model = Forgetful()
    cr.gradients(model(images(2, 4)), model)


@mistake
def gradient_of_a_tuple():
    model = Several()
    cr.gradients(model(images(2, 4)), model)


@mistake
def tuple_measured_in_fit():
    cr.fit(Several(), (images(2, 4), np.zeros(2, "int64")), loss=lambda y, t: losses.cross_entropy(y[0], t),
           metrics=["accuracy"], progress=False)


# ---- the test

def message_of(function: Callable[[], Any]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function()
        except (ChainruleError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
    assert len(caught) == 1, "neither an error nor a warning"
    return f"{caught[0].category.__name__}: {caught[0].message}"


@pytest.mark.parametrize("name", MISTAKES)
def test_message(name):
    text = re.sub(r"(\w+\.py):\d+", r"\1:N", message_of(MISTAKES[name])) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("CHAINRULE_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MISTAKES)
def test_message_has_all_parts(name):
    text = message_of(MISTAKES[name])
    assert re.search(r"^  at +test_mistakes\.py:\d+", text, re.M), "the user's line"
    assert re.search(r"^  got +\S", text, re.M)
    assert re.search(r"^  expected +\S", text, re.M)
    assert re.search(r"^  fix +\S", text, re.M)


def test_every_text_belongs_to_a_mistake():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(MISTAKES)


@pytest.mark.parametrize("name", [n for n in MISTAKES if n.removesuffix("_compiled") != n
                                  and n.removesuffix("_compiled") in MISTAKES])
def test_compiled_says_the_same(name):
    plain, traced = (message_of(MISTAKES[n]).splitlines() for n in (name.removesuffix("_compiled"), name))
    if "token" in name:  # found while it runs: the layer is known, its own words are not
        assert plain[0].split(": ")[:2] == traced[0].split(": ")[:2]
    else:
        assert plain[:2] == traced[:2]
