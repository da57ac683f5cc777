"""The tiny model's own tokenizer and processor, in the shape of Qwen2.5-VL's."""

import itertools

from transformers import Qwen2_5_VLProcessor, Qwen2Tokenizer, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

from llamafactory_gaze.demo import drawing
from llamafactory_gaze.demo.captions import MANNERS, PROMPT, plain
from llamafactory_gaze.demo.scenes import Thing


SYSTEM_PROMPT = "You are a helpful assistant."
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY = 768

# What people say about photographs, so that other captions than the demo's do not fall apart into single bytes.
_ENGLISH = """
A man and a woman are standing in front of a building with their backs to us. There are some people sitting around the
table, and one of them is holding a glass of water in his hand. In the middle of the picture you can see a small dog
that is looking at the camera. On the left side there is something like a large tree, behind it a white wall and the
window of an old house. The girl on the right was wearing a black shirt; her hair is long and brown. I think it could be
a street in the city with many cars, or maybe the road near the park. Two children were playing with their toys on the
floor of the room. It has a very bright light above, with dark shadows under the chair. What I noticed first were the
hands and the face of the person, then the food on the plate: bread, cheese, fruit and a cup of coffee. Some birds fly
over the water, the sky is blue with clouds, and the mountains are far away in the background. They seem to be happy,
smiling and talking to each other. Next to that, an open book, several papers, a computer keyboard and a phone lying on
the desk. This one shows lines, colours and patterns, nothing that I could really name. At the top there's a sign with
letters; below, at the bottom, just grass and flowers. Everything else looks blurry, grey or out of focus.
"""

CHAT_TEMPLATE = (
    "{% set images = namespace(n=0) %}"
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\n" + SYSTEM_PROMPT + "<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE: any text can be encoded and comes back unchanged; the demo's captions take few tokens."""
    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        _corpus(),
        vocab_size=VOCABULARY,
        new_special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.model_max_length = 4096
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_processor() -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor; the demo's pictures keep their size, others become at most 196 x 196 pixels large."""
    sizes = {
        "min_pixels": 56 * 56,
        "max_pixels": 196 * 196,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
    }
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=make_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=CHAT_TEMPLATE,
    )


def _corpus() -> list[str]:
    """All phrases of the demo, and some plain English."""
    box = (0.0, 0.0, 1.0, 1.0)
    kinds = [*drawing.SHAPES, *drawing.BIG_THINGS, *drawing.SMALL_THINGS, *drawing.PEOPLE, *drawing.PATTERNS]
    things = [Thing(kind, colour, box) for kind, colour in itertools.product(kinds, drawing.COLOURS)]
    pairs = list(zip(things, things[5:], strict=False))
    texts = [manner.describe([a, b]) for manner in MANNERS for a, b in pairs]
    texts += [plain([a, b]) for a, b in pairs]
    texts += [f"system\n{SYSTEM_PROMPT}\n", f"user\n{PROMPT}\n", "assistant\n"] * 100
    return [*texts, *[_ENGLISH.replace("\n", " ")] * 10]
