# SPDX-License-Identifier: Apache-2.0
"""The learning rate: a range test suggests it, a schedule changes it step by step, and both are looked at before
training.
"""

import chainrule as cr
from chainrule import inspect, models, optim, train

digits = cr.data.load("digits")
x, y = digits.x_train.astype("float32") / digits.x_train.max(), digits.y_train
x_test, y_test = digits.x_test.astype("float32") / digits.x_train.max(), digits.y_test

found = train.lr_find(models.mlp(10, (64,)), (x, y), loss="cross_entropy", batch_size=32)
print(found)

steps = 5 * -(-len(x) // 32)
schedule = optim.schedules.warmup_cosine(found.suggestion, warmup_steps=20, decay_steps=steps)
rates = inspect.schedule_values(schedule, steps)
print(f"the rate grows to {rates.max():.3g} at step {rates.argmax()} and falls to {rates[-1]:.1e}; picture:",
      inspect.draw_schedules(schedule, steps, "rates.png"))

accuracy = {}
for name, rate in (("suggested", schedule), ("too small", found.suggestion / 1000)):
    model = models.mlp(10, (64,))
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(rate), epochs=5, batch_size=32, progress=False)
    accuracy[name] = cr.evaluate(model, (x_test, y_test), metrics=["accuracy"])["accuracy"]
    print(f"{name:10} {accuracy[name]}")

assert accuracy["suggested"].value > 0.9 > accuracy["too small"].value
