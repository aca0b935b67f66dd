# SPDX-License-Identifier: Apache-2.0
"""The Loader: batches of a source or a stream, made ahead by workers, in an order that is a function of (seed, epoch).
"""
