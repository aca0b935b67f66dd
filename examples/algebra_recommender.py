# SPDX-License-Identifier: Apache-2.0
"""Latent factors: from a third of the ratings of a table, the others, and what to recommend to whom.

Everybody's taste has two hidden sides, how much they like action and how much romance; the model is told neither.
"""

import numpy as np

import chainrule as cr

rng = np.random.default_rng(0)
people, films = rng.normal(size=(80, 2)), rng.normal(size=(50, 2))
table = np.clip(3.2 + people @ films.T + 0.2 * rng.normal(size=(80, 50)), 0.5, 5.0)
seen = rng.random(table.shape) < 1 / 3
users, items = np.nonzero(seen)
titles = np.array([f"film {i:02}" for i in range(50)])

model = cr.LatentFactors(2, method="als", regularization=0.02).fit(users, titles[items], table[seen])
hidden_users, hidden_items = np.nonzero(~seen)
guess = model.predict(hidden_users, titles[hidden_items])
error, spread = np.sqrt(np.mean((guess - table[~seen]) ** 2)), table[~seen].std()
print(f"ratings never seen: error {error:.3f} stars, against {spread:.3f} for always guessing the mean")

for user in (0, 1):
    best = model.recommend(user, 3)
    print(f"user {user}:", ", ".join(f"{title} ({stars:.1f})" for title, stars in best))
    chosen = [int(title[-2:]) for title, _ in best]
    assert not seen[user, chosen].any()
    assert table[user, chosen].mean() > table[user, ~seen[user]].mean()
assert error < 0.4 * spread
