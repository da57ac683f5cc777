"""How probable a model finds given captions, read and computed by LLaMA-Factory's own loaders as its training does."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader


Tokens = list[tuple[str, float]]  # (text up to and including the token, the token's probability)


class TeacherForcing:
    """A model that has been loaded for prediction, and gives the probability of each token of given captions.

    Args:
        recipe: keys and values of a prediction recipe.
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = {**recipe, "do_predict": False, "do_eval": True, "predict_with_generate": False}
        self.model: Any = None

    def captions(self, **values: Any) -> Iterator[Tokens]:
        """One list of tokens for each row of the recipe's data set that LLaMA-Factory can use, in its order.

        Args:
            values: keys of the recipe set otherwise, such as `gaze_ablation` or `eval_dataset`.
        """
        from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
        from llamafactory.extras.constants import IGNORE_INDEX
        from llamafactory.hparams import get_train_args
        from llamafactory.model import load_model, load_tokenizer

        model_args, data_args, training_args, finetuning_args, _ = get_train_args({**self.recipe, **values})
        tokenizer_module = load_tokenizer(model_args)
        tokenizer = tokenizer_module["tokenizer"]
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        dataset = get_dataset(template, model_args, data_args, training_args, stage="sft", **tokenizer_module)
        if self.model is None:
            self.model = load_model(tokenizer, model_args, finetuning_args, is_trainable=False)
            self.model.to(training_args.device).eval()
        collator = SFTDataCollatorWith4DAttentionMask(
            template=template, model=self.model, label_pad_token_id=IGNORE_INDEX, **tokenizer_module
        )
        loader = DataLoader(
            dataset["eval_dataset"], batch_size=training_args.per_device_eval_batch_size, collate_fn=collator
        )
        for batch in loader:
            labels = batch.pop("labels")[:, 1:]  # token i is predicted at place i - 1
            inputs = {k: v.to(training_args.device) if torch.is_tensor(v) else v for k, v in batch.items()}
            with torch.inference_mode():
                logits = self.model(**inputs).logits[:, :-1].float().cpu()
            for row_labels, row_logits in zip(labels, logits, strict=True):
                answer = row_labels != IGNORE_INDEX
                ids = row_labels[answer]
                chosen = row_logits[answer].softmax(-1).gather(1, ids[:, None])[:, 0]
                yield [(tokenizer.decode(ids[: i + 1]), float(p)) for i, p in enumerate(chosen)]
