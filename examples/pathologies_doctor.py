# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a training, told by itself: pixels not scaled, vanishing gradients, overfitting, and a healthy
run's silence.
"""

import chainrule as cr
from chainrule import nn, optim, train

digits = cr.data.load("digits")
x, y = digits.x_train.reshape(len(digits.x_train), -1).astype("float32"), digits.y_train
x_test, y_test = digits.x_test.reshape(len(digits.x_test), -1).astype("float32"), digits.y_test
scale = x.max()


def network(activation="relu", depth=1):
    return nn.Sequential([*[nn.Dense(64, activation=activation) for _ in range(depth)], nn.Dense(10)])


print(raw := cr.diagnose(network(), (x * 16, y), loss="cross_entropy"), "\n")
print(deep := cr.diagnose(network("sigmoid", depth=20), (x / scale, y), loss="cross_entropy"), "\n")

doctor = train.Doctor()
cr.fit(network(), (x[:60] / scale, y[:60]), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=60,
       validation=(x_test / scale, y_test), callbacks=[doctor],
       progress=False)
print(doctor.findings, "\n")

print("healthy:", healthy := cr.diagnose(network(), (x / scale, y), loss="cross_entropy"))
sanity = train.overfit_one_batch(network(), (x / scale, y), loss="cross_entropy", optimizer=optim.Adam(1e-2))
print(f"loss after learning one batch by heart: {sanity:.2g}")
print("spread of each layer's results:", train.activation_report(network(depth=3), x[:200] / scale), sep="\n")

assert raw.kinds == ["inputs not normalised"]
assert "vanishing gradients" in deep.kinds
assert "overfitting" in doctor.findings.kinds
assert healthy == [] and sanity < 1e-2
