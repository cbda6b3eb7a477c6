"""Warnings as errors, for tests of numbers."""

import pytest

STRICT = pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # what other tests left is collected here
