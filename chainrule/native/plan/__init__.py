# SPDX-License-Identifier: Apache-2.0
"""From a graph to a plan: what is stored, which steps there are and in which order, and where everything lies in
memory."""
