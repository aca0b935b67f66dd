# SPDX-License-Identifier: Apache-2.0
"""Sources: samples that are read when they are asked for, and the functions that make sources of sources."""
