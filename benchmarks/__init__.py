# SPDX-License-Identifier: Apache-2.0
"""Measurements beside PyTorch: the same networks on both sides, in turns, after a check that both compute the same.

    python -m benchmarks.run [names] [--quick] [--json FILE] [--picture FILE]    training steps and inference calls
    python -m benchmarks.feel [--json FILE]                                      import, size, an epoch, bits
    python -m benchmarks.profile [names]                                         kernels of a workload, slowest first
    python -m benchmarks.loading FOLDER                                images and tokens from files to a training step
    python -m benchmarks.overhead                                                what the Python side of a call costs
    python benchmarks/kernels.py [part of a row's name …]                        products and convolutions alone
    python -m benchmarks.arrays [part of a row's name …]                         array programs beside NumPy
    python -m benchmarks.convolutions [part of a row's name …]           convolutions of many kinds, kernel by kernel
"""
