# SPDX-License-Identifier: Apache-2.0
"""Function transformations: compile, the derivatives, and the tape that compiled calls are recorded on."""
