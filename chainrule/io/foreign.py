# SPDX-License-Identifier: Apache-2.0
"""Words of PyTorch, Keras, joblib and others for files -> what one writes here, for the message about an unknown name.
"""

from __future__ import annotations

SAVE, LOAD = 'cr.save(model, "model.safetensors")', 'cr.load("model.safetensors"), or cr.load(RUN_FOLDER)'
WEIGHTS = "model.load_weights(path_or_dict); cr.io.read_weights(path) gives the arrays"
CHECKPOINT = 'cr.fit(..., checkpoint="run.ckpt"); cr.fit(..., resume="run.ckpt") goes on'
PRETRAINED = "cr.models.load_pretrained(folder), with config.json and safetensors"

FOREIGN = {
    "savemodel": SAVE, "dump": SAVE, "savestatedict": SAVE, "saveweights": SAVE, "savez": SAVE, "savefile": SAVE,
    "write": SAVE, "export": SAVE,
    "loadmodel": LOAD, "loadfile": LOAD, "openmodel": LOAD, "restore": LOAD, "read": LOAD,
    "loadweights": WEIGHTS, "loadstatedict": WEIGHTS, "setweights": WEIGHTS,
    "savecheckpoint": CHECKPOINT, "loadcheckpoint": CHECKPOINT, "checkpoint": CHECKPOINT,
    "checkpointmanager": CHECKPOINT,
    "frompretrained": PRETRAINED, "loadpretrained": PRETRAINED,
    "savepretrained": "cr.models.save_pretrained(model, folder)",
    "readcsv": 'cr.data.load("people.csv", target="income")', "readimage": "cr.data.read_image(path)",
    "imread": "cr.data.read_image(path)",
    "loadtxt": 'cr.data.read_table("numbers.csv")', "loadnpz": 'cr.data.load("t.npz")',
}


def advice(name: str) -> str | None:
    """What one writes here for a word of another library, if it is one that is known."""
    return FOREIGN.get(name.lower().replace("_", ""))
