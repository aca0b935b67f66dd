# SPDX-License-Identifier: Apache-2.0
"""Data: from the user's files to arrays, with fixed splits, fitted preprocessing and batches that can be resumed.

    dataset = data.load("people.csv", target="income")
    print(dataset)                                      # what was found and done
    batches = data.Batches(dataset.x_train, 64, seed=0)
"""

from typing import Any

from ..foundations.names import unknown_attribute
from .again import load_again, split_of
from .dataset import Dataset, load, load_like, read_image
from .dataset import load_digits as digits
from .fingerprints import Assignment, Fingerprints, assign, fingerprints
from .folds import Duplicates, duplicates, folds, split_groups, split_time, time_folds
from .foreign import advice
from .idx import read_idx
from .inputs import as_network_inputs
from .loader.loader import Loader
from .preprocess import FeatureScaling, ImageScaling, TablePreprocess, as_inputs, preprocess_from_config
from .series import Series, read_series, windows
from .sound import read_sound, write_sound
from .sources.arrays import as_source
from .sources.base import Source
from .sources.boxes import BoxImages
from .sources.cached import cache
from .sources.collate import Ragged, collate
from .sources.compose import concat, filter, map, shuffle, subset
from .sources.folders import AudioFolder, ImageFolder
from .sources.lines import TextLines
from .sources.memmap import Memmap
from .sources.rows import Rows
from .sources.shards import TarShards
from .splits import Batches, permutation, split
from .table import Dialect, read_table, read_text
from .target import Target
from .tokens import CharacterTokenizer, pack
from .toys import two_spirals, xor

__all__ = [
    "Assignment", "AudioFolder", "Batches", "BoxImages", "CharacterTokenizer", "Dataset", "Dialect", "Duplicates",
    "FeatureScaling", "Fingerprints", "ImageFolder", "ImageScaling", "Loader", "Memmap", "Ragged", "Rows", "Series",
    "Source", "TablePreprocess", "TarShards", "Target", "TextLines", "as_inputs", "as_network_inputs", "as_source",
    "assign", "cache", "collate", "concat", "digits", "duplicates", "filter", "fingerprints", "folds", "load",
    "load_again", "load_like", "map", "pack", "permutation", "preprocess_from_config", "read_idx", "read_image",
    "read_series", "read_sound", "read_table", "read_text", "shuffle", "split", "split_groups", "split_of",
    "split_time", "subset", "time_folds", "two_spirals", "windows", "write_sound", "xor",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("data", name, __all__, advice(name))
