# SPDX-License-Identifier: Apache-2.0
"""Tasks on real data, each by a command: `python -m benchmarks.tasks.text`, `.tabular`, `.forecasting`, `.recommender`.

Each prints figure, interval, time and what stands beside it. The data lie in the folder that CHAINRULE_TEST_DATA names,
`../shared/data` by default.
"""
