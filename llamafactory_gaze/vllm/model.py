"""vLLM's Qwen2.5-VL with the gaze tower in the place of its own.

The tower is the one that was trained, `modeling/modeling_qwen2_5_vl_gaze.py`, with transformers' attention kernels; the
language model is vLLM's. So the weights keep their names, and whatever `gaze_fusion` puts into the tower is there.
"""

from typing import Any

import torch
import vllm
from torch import Tensor

from llamafactory_gaze.export.whole import check_whole
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.configuration import IN_PROMPT
from llamafactory_gaze.vllm import check_vllm


check_vllm(vllm.__version__)  # before its inside is imported

from vllm.config import VllmConfig  # noqa: E402
from vllm.model_executor.models import qwen2_5_vl  # noqa: E402
from vllm.model_executor.models.qwen2_vl import Qwen2VLDummyInputsBuilder  # noqa: E402
from vllm.multimodal import MULTIMODAL_REGISTRY  # noqa: E402

from llamafactory_gaze.vllm.processing import GazeMultiModalProcessor, GazeProcessingInfo  # noqa: E402


class _Tower(Qwen2_5_VLGazeVisionTransformer):
    """The tower as vLLM calls its own: grids in lists, and one tensor for an answer."""

    def forward(self, hidden_states: Tensor, grid_thw: list[list[int]]) -> Tensor:
        """hidden_states: (patches, 4 * T * P * P) -> (patches / 4, d_llm)"""
        grid = torch.tensor(grid_thw, device=self.device)
        return super().forward(hidden_states.to(self.device), grid).pooler_output


class _ImageInputsBuilder(Qwen2VLDummyInputsBuilder):
    """Without the videos of the stock model, which the gaze model does not take in here."""

    def get_dummy_mm_data(self, *args: Any, **kwargs: Any) -> Any:
        return {"image": super().get_dummy_mm_data(*args, **kwargs)["image"]}


@MULTIMODAL_REGISTRY.register_processor(
    GazeMultiModalProcessor, info=GazeProcessingInfo, dummy_inputs=_ImageInputsBuilder
)
class Qwen2_5_VLGazeForConditionalGeneration(qwen2_5_vl.Qwen2_5_VLForConditionalGeneration):
    supports_mm_device_do_normalize = False  # the map is no colour
    supports_encoder_tp_data = False

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        check_whole(vllm_config.model_config.model)
        fusion = vllm_config.model_config.hf_config.vision_config.gaze_fusion
        if fusion in IN_PROMPT:
            raise ValueError(
                f"{vllm_config.model_config.model} takes in gaze by its prompt (gaze_fusion {fusion}), which vLLM "
                "reads apart from the image. Serve it with `llamafactory-cli api`, or use llamafactory_gaze.inference."
            )
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        if isinstance(self.get_submodule("visual"), qwen2_5_vl.Qwen2_5_VisionTransformer):  # else no images are wanted
            self.visual = _Tower._from_config(self.config.vision_config, dtype=torch.get_default_dtype())
