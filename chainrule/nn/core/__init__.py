# SPDX-License-Identifier: Apache-2.0
"""The base class of all layers, symbolic inputs of functional models, and the checks that layers share."""
