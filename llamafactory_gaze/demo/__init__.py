"""The embedded demo's SIMULATED world: scenes, observers who look at them and talk, and a tiny model that can see them.

    scenes       pictures of a few things each, in the paper's five categories
    drawing      how a thing is drawn
    observers    simulated people: where they look, and the saliency map of it
    captions     what they say: plain (the base model's style) and each in their own manner
    dataset      writes pictures, maps and captions as a LLaMA-Factory data set
    base_model   makes the tiny Qwen2.5-VL that ships in `base_model/`

Nothing here was recorded from people. Everything follows from a seed.
"""
