"""Warnings of other packages about themselves, which nobody who trains can do anything about.

This module is imported before those packages; all other warnings are shown.
"""

import warnings

for message, category in (
    ("pkg_resources is deprecated", UserWarning),  # torchmetrics 0.11, which Asteroid asks for
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),  # Lightning 2.6
    ("The '(train|val)_dataloader' does not have many workers", UserWarning),  # as configured
):
    warnings.filterwarnings("ignore", message, category)
