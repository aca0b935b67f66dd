# SPDX-License-Identifier: Apache-2.0
"""Words of PyTorch, Keras and TensorFlow at the top level, of ready-made models, of optimisers and of callbacks -> what
one writes here.

Those of layers are in `nn.foreign`, those of data and files beside them.
"""

from __future__ import annotations

_ARRAY, _BATCHES = ("cr.asarray(values)",
                    "cr.data.Batches((x, y), 32), or give fit the arrays: cr.fit(model, (x, y), batch_size=32)")
_DEVICE = "cr.compile(function, backend='xla') and fit(..., backend='xla') compute on JAX's device"

TOP = {
    "tensor": _ARRAY, "array": _ARRAY, "from_numpy": _ARRAY, "as_tensor": _ARRAY, "constant": _ARRAY,
    "convert_to_tensor": _ARRAY, "Parameter": "cr.Variable(array)",
    "manual_seed": "cr.random.seed(0)", "set_seed": "cr.random.seed(0)", "seed": "cr.random.seed(0)",
    "rand": "cr.random.uniform(shape)",
    "randn": "cr.random.normal(shape)", "randint": "cr.random.randint(...)", "DataLoader": _BATCHES,
    "Dataset": _BATCHES, "TensorDataset": _BATCHES,
    "device": _DEVICE, "cuda": _DEVICE, "jit": "cr.compile(function)", "function": "cr.compile(function)",
    "GradientTape": "cr.gradients(loss, model)",
    "autograd": "cr.gradients(loss, model), cr.grad(function)", "backward": "cr.gradients(loss, model)",
    "inference_mode": "cr.no_grad()",
    "Module": "cr.nn.Module", "Model": "cr.nn.Module", "Sequential": "cr.nn.Sequential([...])", "layers": "cr.nn",
    "keras": "cr.nn and cr.fit",
    "callbacks": "cr.train", "optimizers": "cr.optim", "cat": "cr.concat(arrays, axis=0)",
    "concatenate": "cr.concat(arrays, axis=0)", "unsqueeze": "cr.expand_dims(x, axis=0)",
    "transpose": "x.mT, or cr.permute_dims(x, axes)", "permute": "cr.permute_dims(x, axes)",
    "reduce_mean": "cr.mean(x)", "reduce_sum": "cr.sum(x)",
    "cumsum": "cr.cumulative_sum(x)", "mm": "x @ y", "dot": "x @ y", "clamp": "cr.clip(x, low, high)",
    "norm": "cr.linalg.vector_norm(x)", "float": "cr.float32",
    "save_model": "cr.save(model, path)", "load_model": "cr.load(path)", "train_test_split": "cr.data",
    "arcsin": "cr.asin", "arccos": "cr.acos", "arctan": "cr.atan",
}
STEP = "optimizer.update(model, cr.gradients(loss, model))"
OPTIMIZER = {
    "zero_grad": "gradients are results and do not add up: cr.gradients(loss, model)",
    "apply_gradients": "optimizer.update(model, grads)",
    "minimize": STEP, "param_groups": "optim.groups(optimizer, {pattern: options})",
    "state_dict": "optimizer.variables(), a dict by name",
    "load_state_dict": "optimizer.variables(), whose Variables take assign(array)",
    "lr": "optimizer.learning_rate",
}
_PRETRAINED = "cr.models.load_pretrained(folder), with config.json and safetensors"
MODELS = {
    **{f"resnet{depth}": f"cr.models.resnet({depth}, outputs=10)" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": "cr.models.vgg(outputs=10)" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": "cr.models.vgg(outputs=10)" for depth in (11, 13, 16, 19)},
    **{f"mobilenet_v3_{size}": f'cr.models.mobilenet_v3("{size}")' for size in ("small", "large")},
    **{f"efficientnet_b{i}": f"cr.models.efficientnet({i})" for i in range(5)},
    **{f"convnext_{size}": f'cr.models.convnext("{size}")' for size in ("tiny", "small", "base")},
    "vit_b_16": 'cr.models.vit("base")', "vit_l_16": 'cr.models.vit("large")',
    "alexnet": "cr.models.cnn(10, image_shape=(224, 224, 3))", "gpt2": 'cr.models.gpt(50257)',
    "transformer": "cr.models.TranslationTransformer",
    "from_pretrained": _PRETRAINED, "automodel": _PRETRAINED, "autotokenizer": "cr.models.load_tokenizer(folder)",
    "list_models": "dir(cr.models)",
    "sequential": "cr.nn.Sequential([...])", "model": "cr.nn.Module", "load_model": "cr.load(path)",
    "save_model": "cr.save(model, path)",
}
CALLBACK = {
    "on_epoch_end": "after_epoch(self, run, row)", "on_train_epoch_end": "after_epoch(self, run, row)",
    "on_validation_end": "after_epoch(self, run, row)",
    "on_validation_epoch_end": "after_epoch(self, run, row)", "on_train_batch_end": "after_step(self, run)",
    "on_batch_end": "after_step(self, run)",
    "on_step_end": "after_step(self, run)", "on_train_begin": "begin(self, run)", "on_train_start": "begin(self, run)",
    "on_fit_start": "begin(self, run)",
    "on_train_end": "end(self, run)", "on_fit_end": "end(self, run)",
    "on_epoch_begin": "begin(self, run), or after_epoch of the epoch before",
    "on_epoch_start": "begin(self, run), or after_epoch of the epoch before",
    "on_train_batch_begin": "after_step(self, run) of the step before",
    "on_evaluate": "after_epoch(self, run, row)", "on_log": "after_epoch(self, run, row)",
    "on_step_begin": "after_step(self, run) of the step before",
    "before_fit": "begin(self, run)", "after_fit": "end(self, run)",
    "before_epoch": "begin(self, run), or after_epoch of the epoch before",
    "before_step": "after_step(self, run) of the step before",
    "before_batch": "after_step(self, run) of the step before", "after_batch": "after_step(self, run)",
    "after_train": "after_epoch(self, run, row)", "after_validate": "after_epoch(self, run, row)",
    "on_train_epoch_start": "begin(self, run), or after_epoch of the epoch before",
    "on_train_batch_start": "after_step(self, run) of the step before",
}
