"""What only a GPU can show: the real flash-attention kernel, bfloat16, compilation, memory, and the paper's 50 ms.

    python -m pytest -m gpu tests/gpu

The tower has the 3B's shape with random weights. Without a GPU, or without flash-attn, these tests are left out.
"""

import statistics

import pytest
import torch
from transformers.utils import is_flash_attn_2_available

from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import Gaze


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
needs_flash = pytest.mark.skipif(not is_flash_attn_2_available(), reason="flash-attn is not installed")

PAPER_MS = 50  # the paper's latency for one image and its map
SIDE = 32  # patches, 448 pixels


def make_tower(attention: str, **gaze) -> Qwen2_5_VLGazeVisionTransformer:
    torch.manual_seed(0)
    config = Qwen2_5_VLGazeVisionConfig(
        depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=2048,
        fullatt_block_indexes=[7, 15, 23, 31], window_size=112, gaze_layers=[28], **gaze,
    )  # fmt: skip
    tower = Qwen2_5_VLGazeVisionTransformer._from_config(config, attn_implementation=attention, dtype=torch.bfloat16)
    torch.nn.init.normal_(tower.blocks[28].calibrator.o_proj.weight, std=0.02)
    return tower.cuda().eval()


def make_input(images: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(images * SIDE * SIDE, 4 * 392, generator=generator, dtype=torch.float32)
    return values.bfloat16().cuda(), torch.tensor([[1, SIDE, SIDE]] * images)


def milliseconds(work, repeats: int = 20) -> float:
    times = []
    for _ in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[3:])


@needs_flash
@pytest.mark.parametrize("gaze", [{}, {"gaze_query": "global"}, {"gaze_scope": "window"}], ids=str)
def test_flash_attention_gives_what_sdpa_gives(gaze):
    tower, (values, grid) = make_tower("sdpa", **gaze), make_input(2)
    with torch.no_grad():
        expected = tower(values, grid).pooler_output.float()
        tower.config._attn_implementation = "flash_attention_2"
        found = tower(values, grid).pooler_output.float()
    assert (found - expected).norm() < 0.03 * expected.norm()


@needs_flash
@pytest.mark.parametrize("trained", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_gradients_are_those_without(reentrant, trained):
    """With the trained weights in float32, as LLaMA-Factory has them with `bf16: true`, under autocast."""
    found = []
    for checkpointing in (False, True):
        tower, (values, grid) = make_tower("flash_attention_2"), make_input()
        tower.requires_grad_(False)
        tower.blocks[28].calibrator.requires_grad_(True).to(trained)
        if checkpointing:
            tower.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        tower.train()
        with torch.autocast("cuda", torch.bfloat16, enabled=trained is torch.float32):
            output = tower(values, grid).pooler_output
        output.float().square().mean().backward()
        found.append(torch.cat([p.grad.float().flatten() for p in tower.blocks[28].calibrator.parameters()]))
    assert (found[0] - found[1]).norm() < 0.05 * found[0].norm()


def test_the_product_of_the_patch_embedding_is_the_convolution():
    tower, (values, _) = make_tower("sdpa"), make_input()
    patches = values[:, : 3 * 392].view(-1, 3, 2, 14, 14)
    projection = tower.patch_embed.proj
    with torch.no_grad():
        convolved = torch.nn.Conv3d.forward(projection, patches)
        assert (projection(patches) - convolved).float().norm() < 0.01 * convolved.float().norm()


def test_no_block_waits_for_the_gpu():
    tower, (values, grid) = make_tower("sdpa"), make_input(2)
    layout = tower.layout(grid, values.device)
    seen = Gaze(values[:, 3 * 392 :], layout.images, layout.windows)
    with torch.no_grad():
        tower.gaze_stage(tower.image_stage(values, grid, layout), layout, seen)
        torch.cuda.set_sync_debug_mode("error")
        try:
            tower.gaze_stage(tower.image_stage(values, grid, layout), layout, seen)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_it_compiles():
    tower, (values, grid) = make_tower("sdpa"), make_input()
    with torch.no_grad():
        expected = tower(values, grid).pooler_output.float()
        found = torch.compile(tower)(values, grid).pooler_output.float()
    assert (found - expected).norm() < 0.03 * expected.norm()


def test_one_image_with_its_map_takes_no_longer_than_in_the_paper():
    attention = "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    tower, (values, grid) = make_tower(attention), make_input()
    with torch.no_grad():
        taken = milliseconds(lambda: tower(values, grid))
    print(f"{taken:.1f} ms with {attention} on {torch.cuda.get_device_name()}")
    assert taken < PAPER_MS


def test_a_calibrator_takes_little_memory():
    peaks = []
    for gaze in (False, True):
        tower, (values, grid) = make_tower("sdpa"), make_input()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.no_grad():
            tower(values if gaze else values[:, : 3 * 392].contiguous(), grid)
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] <= 1.1 * peaks[0]
