# SPDX-License-Identifier: Apache-2.0
"""Words of PyTorch, Keras, scikit-learn and pandas for data -> what one writes here, for the message about an unknown
name."""

from __future__ import annotations

BATCHES = ("data.Loader(source, batch_size=64) makes batches of any source; cr.fit(model, (x, y), batch_size=64) those "
           "of arrays itself")
SAMPLER = ('data.Loader(source, weights="balanced"), or weights=one chance for each sample, or sampler=function of the '
           'epoch')
STREAM = "data.Loader(stream, steps_per_epoch=100) for any iterable, or a function that makes one"
ROWS = ('data.Rows("people.parquet", target="income") for samples; data.load("people.csv", target="income") for '
        'encoded arrays')
SHARDS = 'data.TarShards("train-{000..009}.tar", fields=("jpg", "cls"))'
ARRAYS = "a pair of arrays is a data set: cr.fit(model, (x, y))"
FOLDER = 'data.load("photos/"), one folder per class, with train/ and test/ above them or not'
TABLE = 'data.load("people.csv", target="income"); data.read_table("people.csv") for the texts alone'
SPLIT = "train, test = data.split(x, 0.8, seed=0, stratify=y); then x[train], y[train]"
FOLDS = "data.folds(x, k=5, stratify=y), or groups=...; cr.train.cross_validate trains on each"
SCALING = "data.load scales by the training part; data.FeatureScaling.fit(x).transform(x) for an array"
COLUMNS = "data.load encodes the columns of a table; dataset.preprocess.transform(rows) does so with new rows"
KNOWN_SETS = ('data.digits() is built in; data.load(path) reads the files of others ("mnist/", "cifar/", "t.npz", '
              '"t.csv")')
TOKENS = "data.CharacterTokenizer(text); cr.models.load_tokenizer(folder) for a tokenizer.json"

FOREIGN = {
    "dataloader": BATCHES, "batchsampler": SAMPLER, "sampler": SAMPLER, "randomsampler": SAMPLER,
    "defaultcollate": "data.collate(samples); Loader(..., collate=function) for your own",
    "collatefn": "Loader(..., collate=function)",
    "weightedrandomsampler": SAMPLER, "distributedsampler": "Loader(..., shard=(k, n))", "iterabledataset": STREAM,
    "fromgenerator": STREAM, "webdataset": SHARDS, "webloader": SHARDS,
    "tfrecorddataset": SHARDS, "tensordataset": ARRAYS, "fromtensorslices": ARRAYS, "fromnumpy": ARRAYS,
    "arraydataset": ARRAYS,
    "concatdataset": "data.concat(a, b)", "chaindataset": "data.concat(a, b)",
    "take": "data.subset(source, slice(0, n))",
    "datasetfolder": FOLDER, "imagedatasetfromdirectory": FOLDER, "flowfromdirectory": FOLDER,
    "imagedatagenerator": f"{FOLDER}; cr.augment changes the images in cr.fit(..., augment=...)",
    "textlinedataset": "data.TextLines(path)",
    "memmapdataset": 'data.Memmap("tokens.bin", "uint16", window=128, targets=True)',
    "readcsv": TABLE, "readexcel": f"save it as CSV: {TABLE}", "readparquet": ROWS, "readfeather": ROWS,
    "fromparquet": ROWS, "dataframe": TABLE, "frompandas": TABLE,
    "genfromtxt": TABLE, "loadtxt": TABLE, "csvdataset": ROWS,
    "traintestsplit": SPLIT, "randomsplit": SPLIT, "shufflesplit": SPLIT, "stratifiedshufflesplit": SPLIT,
    "splitdataset": SPLIT,
    "kfold": FOLDS, "stratifiedkfold": FOLDS, "repeatedkfold": FOLDS, "groupkfold": FOLDS, "leaveoneout": FOLDS,
    "crossvalscore": FOLDS,
    "groupshufflesplit": "data.split_groups(groups, (0.8, 0.2))", "timeseriessplit": "data.time_folds(len(x), k=5)",
    "standardscaler": SCALING, "minmaxscaler": SCALING, "robustscaler": SCALING, "normalizer": SCALING,
    "normalize": SCALING, "totensor": SCALING,
    "labelencoder": "data.Target does it: dataset.target.encode, dataset.target.decode",
    "labelbinarizer": "class numbers are targets as they are",
    "onehotencoder": COLUMNS, "ordinalencoder": COLUMNS, "simpleimputer": COLUMNS, "columntransformer": COLUMNS,
    "getdummies": COLUMNS,
    "mnist": KNOWN_SETS, "fashionmnist": KNOWN_SETS, "cifar10": KNOWN_SETS, "cifar100": KNOWN_SETS,
    "imagenet": KNOWN_SETS, "loadiris": KNOWN_SETS,
    "loaddigits": KNOWN_SETS, "fetchopenml": KNOWN_SETS, "loaddataset": KNOWN_SETS,
    "fetchcaliforniahousing": KNOWN_SETS,
    "tokenizer": TOKENS, "textvectorization": TOKENS, "countvectorizer": TOKENS,
    "padsequences": "cr.nn.length_mask(lengths) masks what was padded",
    "timeseriesdatasetfromarray": "data.windows(series, length, horizon)",
    "slidingwindowview": "data.windows(series, length, horizon)",
    "imread": "data.read_image(path)", "openimage": "data.read_image(path)", "decodeimage": "data.read_image(path)",
    "loadimg": "data.read_image(path)",
    "loadaudio": "data.read_sound(path)", "decodewav": "data.read_sound(path)", "makemoons": "data.two_spirals(...)",
}


def advice(name: str) -> str | None:
    """What one writes here for a word of another library, if it is one that is known."""
    return FOREIGN.get(name.lower().replace("_", ""))
