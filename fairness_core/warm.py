"""Imported by the runner's forkserver, and by nothing else, for its effect."""

import json
import os
from pathlib import Path

from fairness_core.worker import PRELOAD_FOR, preload

_root, _data_dir = json.loads(os.environ[PRELOAD_FOR])
preload(Path(_root), Path(_data_dir) if _data_dir else None)
