"""Operations and bytes counted on our own modules of the real sizes, on torch's meta device: nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel

from benchmarks.cost.shapes import Language, Tower
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionConfig, Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.gaze import Gaze


def tower_module(tower: Tower, device: str = "meta", **gaze: Any) -> Qwen2_5_VLGazeVisionTransformer:
    config = Qwen2_5_VLGazeVisionConfig(
        depth=tower.depth, hidden_size=tower.width, intermediate_size=tower.inner, num_heads=tower.heads,
        out_hidden_size=tower.out, fullatt_block_indexes=list(tower.full), window_size=14 * tower.window, **gaze,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with torch.device(device):
        return Qwen2_5_VLGazeVisionTransformer(config)


def language_module(language: Language, device: str = "meta") -> Qwen2_5_VLTextModel:
    config = Qwen2_5_VLTextConfig(
        hidden_size=language.width, intermediate_size=language.inner, num_hidden_layers=language.layers,
        num_attention_heads=language.heads, num_key_value_heads=language.kv_heads, vocab_size=language.vocabulary,
        rope_parameters={"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with torch.device(device):
        return Qwen2_5_VLTextModel(config)


def run_language(module: Qwen2_5_VLTextModel, tokens: int) -> Tensor:
    """Tokens whose embeddings want a gradient, as those of an image do; without the vocabulary at the end."""
    width, device = module.config.hidden_size, next(module.parameters()).device
    embeddings = torch.zeros(1, tokens, width, dtype=module.dtype, device=device, requires_grad=True)
    positions = torch.arange(tokens, device=device).expand(3, 1, tokens)
    return module(inputs_embeds=embeddings * 1, position_ids=positions, use_cache=False).last_hidden_state


def run_tower(module: Qwen2_5_VLGazeVisionTransformer, grid: tuple[int, int], with_map: bool = True) -> Tensor:
    """One image through the tower. On meta, the layout, which is read as numbers, is made on the CPU."""
    n, device = grid[0] * grid[1], next(module.parameters()).device
    shape = torch.tensor([[1, *grid]])
    if device.type == "meta":
        module.rotary_pos_emb.to_empty(device="cpu")
    layout = module.layout(shape, torch.device("cpu"))
    layout = layout._replace(position_embeddings=tuple(each.to(device) for each in layout.position_embeddings))
    config = module.config
    options = {"device": device, "dtype": module.dtype}
    layout = layout._replace(position_embeddings=tuple(each.to(module.dtype) for each in layout.position_embeddings))
    with torch.no_grad():
        features = module.image_stage(torch.zeros(n, 3 * config.saliency_width, **options), shape, layout)
    gaze = Gaze(torch.zeros(n, config.saliency_width, **options), layout.cu_seqlens) if with_map else None
    return module.gaze_stage(features, layout, gaze).pooler_output


def trained(module: Qwen2_5_VLGazeVisionTransformer, rank: int = 16) -> Qwen2_5_VLGazeVisionTransformer:
    """As stage 1 trains the tower: calibrators in full, LoRA on the MLP of block 28 and on all that follows."""
    first = module.config.first_trained_block
    targets = [f"blocks.{first}.mlp.{name}_proj" for name in ("gate", "up", "down")]
    for i in range(first + 1, module.config.depth):
        targets += [f"blocks.{i}.{name}" for name in ("attn.qkv", "attn.proj")]
        targets += [f"blocks.{i}.mlp.{name}_proj" for name in ("gate", "up", "down")]
    module.requires_grad_(False)
    with next(module.parameters()).device:
        inject_adapter_in_model(LoraConfig(r=rank, target_modules=targets), module)
    module.blocks[first].calibrator.requires_grad_(True)
    return module.train()


def kept(module: torch.nn.Module, run: Callable[[], Any]) -> int:
    """Bytes that autograd keeps for the backward run, each storage once and the weights left out; on the CPU."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}  # held until the end, so that no other gets the place of one

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for place, storage in storages.items() if place not in weights)


def flops(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()
