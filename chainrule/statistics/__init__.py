# SPDX-License-Identifier: Apache-2.0
"""What data say: estimation, Bayes' rule, comparison of runs, calibration."""
