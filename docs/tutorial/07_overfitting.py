"""
7. Overfitting, and what helps against it
=========================================

A large network can learn few samples by heart. It then knows them perfectly and has learnt little. A *validation* part,
which is not trained on, shows it.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import augment, nn, optim, train
from chainrule.data import digits

data = digits()
x, y = data.x_train[:120].astype("float32") / 255, data.y_train[:120].copy()
y[::6] = np.random.default_rng(0).integers(
    0, 10, len(y[::6])
)  # somebody was careless: one label of six is arbitrary
x_val, y_val = data.x_test.astype("float32") / 255, data.y_test


def run(rate=0.0, **options):
    model = nn.Sequential(
        [
            nn.Flatten(),
            nn.Dense(256, activation="relu"),
            nn.Dropout(rate),
            nn.Dense(10),
        ]
    )
    return cr.fit(
        model,
        (x, y),
        loss="cross_entropy",
        optimizer=optim.Adam(3e-3),
        epochs=60,
        validation=(x_val, y_val),
        progress=False,
        seed=0,
        **options,
    )


# %%
# Nothing against it: the loss of training goes to zero, that of the validation part turns round and rises.

plain = run()

# %%
# - *Dropout* switches off half of the neurons at random in each step, so that none can rely on another.
# - A *penalty* on the squares of the weights (weight decay) keeps them small.
# - *Augmentation* changes the images a little each time; the network never sees the same one twice.

runs = {
    "nothing": plain,
    "dropout": run(0.5),
    "penalty": run(penalty=optim.penalties.l2(3e-3)),
    "augmentation": run(augment=augment.Translate(0.1)),
}

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
left.plot(plain["loss"], label="training")
left.plot(plain["validation_loss"], label="validation")
left.set_title("nothing: learnt by heart")
left.legend()
for name, history in runs.items():
    right.plot(history["validation_loss"], label=name)
right.set_title("validation loss")
right.legend()
plt.show()

# %%
# *Early stopping* ends the run when the validation loss has not improved for some epochs, and goes back to the best
# weights.

stopping = train.EarlyStopping(patience=5)
stopped = run(callbacks=[stopping])
print(f"{len(stopped)} of 60 epochs; the best was epoch {stopping.best_epoch}")

# %%
# What one should have seen:

for name, history in runs.items():
    print(
        f"{name:14} training {history['loss'][-1]:.3f}  ",
        f"validation {history['validation_loss'][-1]:.3f}",
    )
assert plain["validation_loss"][-1] > 1.2 * min(plain["validation_loss"])
assert all(
    history["validation_loss"][-1] < plain["validation_loss"][-1]
    for name, history in runs.items()
    if name != "nothing"
)
assert len(stopped) < 60
