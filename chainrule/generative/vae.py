# SPDX-License-Identifier: Apache-2.0
"""`VAE`: the variational autoencoder (Kingma and Welling, "Auto-encoding variational Bayes", 2014)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn, random
from ..compiler.compile import compile
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor, Variable, no_grad
from ..typing import ArrayLike
from .base import GenerativeModel
from .draws import Draws

LOG_2PI = math.log(2 * math.pi)


class VAE(GenerativeModel):
    """z ~ N(0, I), x ~ p(x | z): an encoder q(z | x) = N(μ, σ²) and a decoder learn together by the evidence lower
    bound

    ELBO = E_q log p(x | z) - KL(q(z | x) || N(0, I)) <= log p(x).

    Args:
        encoder: x → features (N, ...), from which two linear maps make μ and log σ².
        decoder: z (N, latent) → the shape of x: logits of a Bernoulli, or means of a Gaussian.
        latent: dimensions of z.
        likelihood: "bernoulli" for x in [0, 1], or "gaussian" with one standard deviation that is learnt.
        beta: weight of the KL divergence (Higgins et al., 2017).
        free_bits: nats of KL that each latent dimension may have for nothing, on the mean of a batch (Kingma et al.,
            2016).

    >>> import numpy as np, chainrule as cr
    >>> x = (np.random.default_rng(0).random((64, 8)) < 0.5).astype("float32")
    >>> model = cr.generative.VAE(cr.nn.Dense(16, activation="relu"), cr.nn.Dense(8), latent=2)
    >>> history = model.fit(x, epochs=2, batch_size=32, progress=False)
    >>> model.sample(5, seed=0).shape
    (5, 8)
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int = 16, likelihood: str = "bernoulli",
                 beta: float = 1.0, free_bits: float = 0.0):
        if likelihood not in ("bernoulli", "gaussian"):
            raise ArgumentError(explain("there is no such likelihood", got=shown(likelihood),
                                        expected='"bernoulli" or "gaussian"'))
        self.encoder, self.decoder, self.latent = encoder, decoder, int(latent)
        self.mean, self.log_variance = nn.Dense(self.latent), nn.Dense(self.latent)
        self.likelihood, self.beta, self.free_bits = likelihood, float(beta), float(free_bits)
        if likelihood == "gaussian":
            self.log_scale = Variable(np.float32(0), name="log_scale")

    def encode(self, x: ArrayLike, training: bool = False) -> tuple[Tensor, Tensor]:
        """(μ, log σ²) of q(z | x), each (N, latent)."""
        features = self.encoder(x, training=training)
        features = features if features.ndim == 2 else cr.reshape(features, (features.shape[0], -1))
        return self.mean(features), self.log_variance(features)

    def decode(self, z: ArrayLike) -> Tensor:
        """The mean of p(x | z): probabilities or numbers, in the shape of x."""
        out = self._decoded(z)
        return cr.sigmoid(out) if self.likelihood == "bernoulli" else out

    def forward(self, x: Any) -> Tensor:
        """The reconstruction of x from the mean of q(z | x)."""
        return self.decode(self.encode(x)[0])

    def losses(self, x: ArrayLike, condition: ArrayLike | None = None) -> dict[str, Tensor]:
        """-ELBO in nats, with its two terms."""
        mean, log_variance = self.encode(x, training=True)
        z = mean + cr.exp(0.5 * log_variance) * random.normal(mean.shape)
        error = -cr.mean(self._log_likelihood(x, z, training=True))
        divergence = 0.5 * (cr.exp(log_variance) + mean ** 2 - 1 - log_variance)
        kl = cr.mean(cr.sum(divergence, axis=1))
        penalty = cr.sum(cr.maximum(cr.mean(divergence, axis=0), self.free_bits)) if self.free_bits else kl
        return {"loss": error + self.beta * penalty, "reconstruction": error, "kl": kl}

    def draw(self, random: Draws, count: int, condition: ArrayLike | None = None, noise: bool = False) -> Tensor:
        """The means of p(x | z) for z ~ N(0, I); with `noise`, draws from it."""
        x = self.decode(random.normal((count, self.latent)))
        if not noise:
            return x
        return (cr.astype(random.bernoulli(x), x.dtype) if self.likelihood == "bernoulli" else x
                + cr.exp(self.log_scale.value) * random.normal(x.shape))

    def bound(self, x: ArrayLike, samples: int = 1, seed: int = 0, batch_size: int = 256) -> np.ndarray:
        """Importance-weighted bound on log p(x) of each sample, in nats (Burda et al., 2016): log 1/k Σ p(x, z_i) /
        q(z_i | x).

        For one sample it is the ELBO; it rises to log p(x) with the number of samples.
        """
        @compile
        def step(state: Any, x: Any) -> tuple[Tensor, Tensor]:
            draws = Draws(state)
            with no_grad():
                mean, log_variance = self.encode(x)
                noise = draws.normal(mean.shape)
                z = mean + cr.exp(0.5 * log_variance) * noise
                log_prior = -0.5 * cr.sum(z ** 2, axis=1)
                # both without log 2π, which they share
                log_posterior = -0.5 * cr.sum(noise ** 2 + log_variance, axis=1)
                return self._log_likelihood(x, z) + log_prior - log_posterior, draws.now
        x, state, found = np.asarray(x, np.float32), random.Generator(seed).state.numpy(), []
        for start in range(0, len(x), batch_size):
            weights = []
            for _ in range(samples):
                value, after = step(state, x[start:start + batch_size])
                weights.append(value.numpy().astype(np.float64))
                state = after.numpy()
            found.append(np.logaddexp.reduce(weights, axis=0) - math.log(samples))
        return np.concatenate(found)

    def _decoded(self, z: Any) -> Tensor:
        out = self.decoder(z)
        return (out if self.event is None or out.shape[1:] == self.event
                else cr.reshape(out, (out.shape[0], *self.event)))

    def _log_likelihood(self, x: Any, z: Any, training: bool = False) -> Tensor:
        """log p(x | z), (N,)."""
        out = self.decoder(z, training=training)
        x, out = cr.reshape(x, (out.shape[0], -1)), cr.reshape(out, (out.shape[0], -1))
        if self.likelihood == "bernoulli":
            return cr.sum(x * out - cr.softplus(out), axis=1)
        s = self.log_scale.value
        return cr.sum(-0.5 * ((x - out) * cr.exp(-s)) ** 2 - s - 0.5 * LOG_2PI, axis=1)
