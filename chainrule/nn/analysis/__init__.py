# SPDX-License-Identifier: Apache-2.0
"""What is asked of a finished network: its summary, its features, its receptive field."""
