"""Which checkpoint an interrupted training goes on from: the last that was written to its end.

The trainer writes a checkpoint in place, file after file, and its state last. LLaMA-Factory takes the newest folder,
which a killed training may have left half-written.
"""

import json
from pathlib import Path

from llamafactory.extras import logging
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR


logger = logging.get_logger(__name__)


def last_whole_checkpoint(folder: str) -> str | None:
    """As transformers' `get_last_checkpoint`, but passes over those without a readable state, and says so.

    Args:
        folder: the training's `output_dir`.
    """
    found = [path for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.rpartition("-")[2].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            logger.warning_rank0(f"{path} was not written to its end (no readable trainer_state.json): passed over.")
        else:
            return str(path)
    return None
