"""From fixations, photographs and descriptions to a data set that LLaMA-Factory can train on. Nothing imports torch."""
