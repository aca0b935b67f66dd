# SPDX-License-Identifier: Apache-2.0
"""What everything stands on and knows nothing of arrays: argument checks, configuration, debugging, files, forks,
names, pickling, nested structures."""
