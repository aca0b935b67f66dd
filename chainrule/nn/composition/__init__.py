# SPDX-License-Identifier: Apache-2.0
"""How modules are put together: containers, functional models, and models as configurations."""
