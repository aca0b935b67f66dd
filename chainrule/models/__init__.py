# SPDX-License-Identifier: Apache-2.0
"""Ready-made networks, one file each, built from the public layers, and what one does with language models."""

from typing import Any

from ..foundations.foreign import MODELS
from ..foundations.names import unknown_attribute
from .bert import BERT, MaskedLanguageModel
from .clips import clip_network
from .cnn import cnn
from .convnext import convnext
from .dcgan import dcgan_critic, dcgan_generator
from .efficientnet import efficientnet
from .ensemble import of_members
from .factors import FactorModel
from .forecasts import DLinear, ForecastNetwork, NLinear, PatchLSTM, PatchTCN, PatchTST, TiDE
from .generation import Decoder, generate, generate_text
from .heads import SequenceClassifier, SpanReader, TokenClassifier
from .hub import load_pretrained, load_tokenizer, save_pretrained
from .language import LanguageModel, gpt, llama
from .lenet import lenet5
from .masking import fill_mask, mask_tokens
from .mlp import mlp
from .mobilenet import mobilenet_v2, mobilenet_v3
from .perceptron import Perceptron
from .resnet import resnet, resnet_cifar
from .sequences import EncoderDecoder, sequence_classifier, sequence_tagger
from .tabular import PiecewiseLinear, TabularLinear, TabularNetwork
from .texts import GramBag, NaiveBayesBag, TextCNN, TextNetwork
from .timed import TimeEmbedding, TimeMLP, TimeUNet
from .translation import TranslationTransformer
from .unet import UNet
from .vgg import vgg
from .vit import VisionTransformer, vit

__all__ = [
    "BERT",
    "DLinear",
    "Decoder",
    "EncoderDecoder",
    "FactorModel",
    "ForecastNetwork",
    "GramBag",
    "LanguageModel",
    "MaskedLanguageModel",
    "NLinear",
    "NaiveBayesBag",
    "PatchLSTM",
    "PatchTCN",
    "PatchTST",
    "Perceptron",
    "PiecewiseLinear",
    "SequenceClassifier",
    "SpanReader",
    "TabularLinear",
    "TabularNetwork",
    "TextCNN",
    "TextNetwork",
    "TiDE",
    "TimeEmbedding",
    "TimeMLP",
    "TimeUNet",
    "TokenClassifier",
    "TranslationTransformer",
    "UNet",
    "VisionTransformer",
    "clip_network",
    "cnn",
    "convnext",
    "dcgan_critic",
    "dcgan_generator",
    "efficientnet",
    "fill_mask",
    "generate",
    "generate_text",
    "gpt",
    "lenet5",
    "llama",
    "load_pretrained",
    "load_tokenizer",
    "mask_tokens",
    "mlp",
    "mobilenet_v2",
    "mobilenet_v3",
    "of_members",
    "resnet",
    "resnet_cifar",
    "save_pretrained",
    "sequence_classifier",
    "sequence_tagger",
    "vgg",
    "vit",
]


def __getattr__(name: str) -> Any:
    word = MODELS.get(name.lower())
    raise unknown_attribute("models", name, __all__, f"use {word}" if word else None)
