"""From a request to the tower's input: the alpha channel of an image is its saliency map (`saliency/gazed_image.py`).

vLLM keeps what it has computed of an image, and finds it again by a hash of the image: the output of the processor and
of the tower, and the keys and values of the language model (prefix caching). The map has to be in that hash, or the
second gaze at a picture would get the answer to the first one. In the alpha channel it is, since vLLM hashes the whole
image; and a request over HTTP needs no field that the API of vLLM does not have.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image
from transformers import BatchFeature
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLMultiModalProcessor, Qwen2_5_VLProcessingInfo
from vllm.model_executor.models.qwen2_vl import Qwen2VLMultiModalDataParser
from vllm.multimodal.image import normalize_image
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import ImageProcessorItems, ImageSize

from llamafactory_gaze.modeling import Qwen2_5_VLGazeConfig
from llamafactory_gaze.modeling.input_channel import with_saliency_channel
from llamafactory_gaze.saliency.gazed_image import gaze_in_alpha


class GazeDataParser(Qwen2VLMultiModalDataParser):
    """Keeps the alpha channels that the stock parser, and vLLM's server before it, lay over a white ground."""

    def _parse_image_data(self, data: Any) -> Any:
        items = super()._parse_image_data(data)
        if not isinstance(items, ImageProcessorItems):  # no image, or one that has been through the tower
            return items
        given = [data] if isinstance(data, Image.Image | MediaWithBytes) else data
        return ImageProcessorItems([_with_alpha(item) for item in given])


class GazeProcessingInfo(Qwen2_5_VLProcessingInfo):
    """What vLLM asks about the model before it sees an image."""

    def get_hf_config(self) -> Qwen2_5_VLGazeConfig:
        return self.ctx.get_hf_config(Qwen2_5_VLGazeConfig)

    def get_hf_processor(self, **kwargs: object) -> Any:
        return self.ctx.get_hf_processor(**kwargs)

    def get_data_parser(self) -> GazeDataParser:
        return GazeDataParser(
            self.get_hf_config().vision_config.spatial_merge_size,
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": None}  # gaze over time has no way into a request

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return {"image": self.get_max_image_tokens()}

    def get_image_size_with_most_features(self, max_pixels: int | None = None) -> ImageSize:
        """The gaze processor scales images down to `image_max_pixels` before anything else."""
        processor = self.get_hf_processor()
        pixels = min(processor.image_max_pixels, processor.image_processor.size["longest_edge"])
        return super().get_image_size_with_most_features(pixels if max_pixels is None else max_pixels)


class GazeMultiModalProcessor(Qwen2_5_VLMultiModalProcessor):
    """Calls the gaze processor with images and their maps."""

    def _call_hf_processor(
        self,
        prompt: str,
        mm_data: Mapping[str, object],
        mm_kwargs: Mapping[str, object],
        tok_kwargs: Mapping[str, object],
    ) -> BatchFeature:
        data = dict(mm_data)
        images = data.get("images")
        if isinstance(images, list):
            data["images"] = [gaze_in_alpha(image) for image in images]
        outputs = super()._call_hf_processor(prompt, data, mm_kwargs, tok_kwargs)
        if "pixel_values" in outputs:
            # vLLM puts together images of different requests: they are equally wide, whether they have a map or not.
            vision = self.info.get_hf_config().vision_config
            outputs["pixel_values"] = with_saliency_channel(outputs["pixel_values"], vision)
        return outputs


def _with_alpha(item: Any) -> Any:
    """An image as it was given: RGBA where it has transparency, else RGB."""
    if isinstance(item, MediaWithBytes):
        if item.io_config is None:  # the server was told to keep the channels
            return item
        image = Image.open(BytesIO(item.original_bytes))
        return MediaWithBytes(_with_alpha(image), item.original_bytes, item.io_config)
    if not isinstance(item, Image.Image):
        return item
    transparent = "A" in item.getbands() or "transparency" in item.info
    return normalize_image(item).convert("RGBA" if transparent else "RGB")
