"""Normalisation from the data set to the data set: what is asked, what is kept from before, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import PLACEHOLDER
from llamafactory_gaze.normalize.base_model import FrozenModel, find_model
from llamafactory_gaze.normalize.engines import Backend, Engine, Question, check_backend, load_engine
from llamafactory_gaze.normalize.journal import Answer, AnswerJournal, Entry, hash_of
from llamafactory_gaze.normalize.output import Target, write_targets
from llamafactory_gaze.normalize.prompts import Prompt, find_prompt
from llamafactory_gaze.normalize.source import Sample, Source, hash_files, read_source


GAZE_TEMPLATE = "qwen2_5_vl_gaze"
JOURNALS = ".normalize"  # in dataset_dir, so that a data set that is built anew finds the answers to its old rows
_NAMED = 10  # rows in a message
_TRIES = 2  # how often a question is asked whose answer is empty

Report = Callable[[int, int], None]  # (rows answered, all rows), before the first batch and after each


@dataclass(frozen=True)
class NormalizeOptions:
    """What `llamafactory-gaze normalize` is asked for; its --help explains each."""

    name: str
    dataset_dir: Path = Path("data_registry")
    model: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    template: str = "qwen2_vl"
    backend: Backend = "huggingface"
    prompt: str = "rewrite"
    batch_size: int = 16
    max_new_tokens: int = 256
    image_max_pixels: int = 768 * 768
    keep_original: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Normalized:
    """What was done, for the summary."""

    source: Source
    prompt: Prompt
    targets: list[Target]
    asked: int  # questions that this call has put to the model; 0 where all answers were in the journal
    changed: bool  # whether a file of the data set had to be written


def normalize_dataset(options: NormalizeOptions, report: Report = lambda done, rows: None) -> Normalized:
    """Let the frozen base model say the training descriptions of a data set, and make its words the targets of stage 1.

    The rows of `<name>_stage2` are read, and the file of `<name>_stage1` is written anew with the same rows: the target
    is the model's, `original` the person's, `normalization` names the record in `stage1.normalization.json` beside it.
    The data card says so too. Nothing of the data set changes before all rows have an answer.

    Whatever has been answered is in a journal below `<dataset_dir>/.normalize/<name>/`, one for each prompt, model,
    template, engine and image size. Another call goes on there; where a description, an image or a setting has changed,
    the model is asked anew, and the former answers stay.

    Raises:
        DataError: bad input, an engine that is not installed, another call at work, or answers that cannot be targets
            (empty twice, cut off, with a placeholder in them) unless `keep_original` is set.
    """
    if options.template == GAZE_TEMPLATE:
        raise DataError(
            f"--template {GAZE_TEMPLATE} is the one with gaze; the targets of stage 1 come from the base model without."
        )
    check_backend(options.backend)
    prompt = find_prompt(options.prompt)
    source = read_source(options.dataset_dir, options.name, options.overwrite)
    journals = options.dataset_dir / JOURNALS / options.name
    journals.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(journals / "lock", timeout=0):
            return _normalize(options, prompt, source, find_model(options.model), journals, report)
    except Timeout:
        raise DataError(
            f"Another call normalises {options.name} in {options.dataset_dir} at this moment; wait for its end."
        ) from None


def _normalize(
    options: NormalizeOptions, prompt: Prompt, source: Source, model: FrozenModel, journals: Path, report: Report
) -> Normalized:
    identity = {
        "prompt": prompt.text,
        "model": model.identity,
        "template": options.template,
        "engine": options.backend,
        "image_max_pixels": options.image_max_pixels,
    }
    journal = AnswerJournal(journals / f"{hash_of(identity)[:16]}.jsonl")
    try:
        asking = _Asking(options, prompt, source, model, journal, report)
        asking.run()
        targets = [Target(sample, entry := asking.entry(sample), _problem(entry.answer)) for sample in source.samples]
        failed = [target for target in targets if target.problem]
        if failed and not options.keep_original:
            raise DataError(_refusal(failed, len(targets), options, source))
        source.check_unchanged()
        changed = write_targets(source, targets, journal.records)
    finally:
        journal.close()
    return Normalized(source, prompt, targets, asking.asked, changed)


class _Asking:
    """Puts to the model what the journal has no answer to."""

    def __init__(
        self,
        options: NormalizeOptions,
        prompt: Prompt,
        source: Source,
        model: FrozenModel,
        journal: AnswerJournal,
        report: Report,
    ) -> None:
        self.options, self.prompt, self.samples, self.model = options, prompt, source.samples, model
        self.journal, self.report = journal, report
        self.asked = 0
        self.engine: Engine | None = None
        images = hash_files({path for sample in self.samples for path in sample.images})
        self.keys = {
            sample.id: hash_of([sample.id, sample.text, [images[path] for path in sample.images]])
            for sample in self.samples
        }

    def run(self) -> None:
        """Asks all that is open in batches, then what was answered by nothing once more, one by one."""
        waiting = [sample for sample in self.samples if self.entry_or_none(sample) is None]
        self._ask(waiting, self.options.batch_size)
        self._ask([sample for sample in self.samples if self._is_empty_once(sample)], 1)

    def entry(self, sample: Sample) -> Entry:
        entry = self.entry_or_none(sample)
        assert entry is not None, sample.id
        return entry

    def entry_or_none(self, sample: Sample) -> Entry | None:
        """The last answer that counts: with a higher limit, what was cut off at the lower one is asked again."""
        entries = self.journal.entries.get(self.keys[sample.id], [])
        return next((entry for entry in reversed(entries) if self._counts(entry)), None)

    def _counts(self, entry: Entry) -> bool:
        limit = self.journal.records[entry.record]["max_new_tokens"]
        return entry.answer.complete or limit == self.options.max_new_tokens

    def _is_empty_once(self, sample: Sample) -> bool:
        entries = [entry for entry in self.journal.entries[self.keys[sample.id]] if self._counts(entry)]
        return len(entries) < _TRIES and not entries[-1].answer.text

    def _ask(self, samples: Sequence[Sample], size: int) -> None:
        if not samples:
            return
        if self.engine is None:
            self.engine = self._load()
        record = self._record(self.engine)
        rows = len(self.samples)
        self.report(rows - len(samples), rows)
        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            answers = self.engine.answer([Question(self.prompt.about(sample.text), sample.images) for sample in batch])
            self.journal.add(
                record, [(sample.id, self.keys[sample.id], a) for sample, a in zip(batch, answers, strict=True)]
            )
            self.asked += len(batch)
            self.report(rows - len(samples) + start + len(batch), rows)

    def _load(self) -> Engine:
        options = self.options
        images = max(len(sample.images) for sample in self.samples)
        return load_engine(
            options.backend,
            self.model.folder,
            options.template,
            options.max_new_tokens,
            options.image_max_pixels,
            images,
        )

    def _record(self, engine: Engine) -> dict[str, Any]:
        """All that a row needs to say how its target came about."""
        prompt = self.prompt
        return {
            "prompt": {"name": prompt.name, "text": prompt.text, "stand_in": prompt.stand_in},
            "model": self.model.identity,
            "template": self.options.template,
            "engine": self.options.backend,
            "greedy": True,
            "max_new_tokens": self.options.max_new_tokens,
            "image_max_pixels": self.options.image_max_pixels,
            "batch_size": self.options.batch_size,
            "runtime": engine.runtime(),
        }


def _problem(answer: Answer) -> str | None:
    """Why an answer cannot be a target."""
    if not answer.text:
        return "empty"
    if not answer.complete:
        return "cut off"
    if mark := PLACEHOLDER.search(answer.text):
        return f"contains {mark[0]}"  # which LLaMA-Factory would take for one more image
    return None


def _refusal(failed: Sequence[Target], rows: int, options: NormalizeOptions, source: Source) -> str:
    named = ", ".join(f"{target.sample.id} ({target.problem})" for target in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    longer = (
        f"raise --max-new-tokens (now {options.max_new_tokens}; only what was cut off is asked again), "
        if any(target.problem == "cut off" for target in failed)
        else ""
    )
    return (
        f"{len(failed)} of {rows} answers cannot be targets: {named}{more}. {source.target} is as it was, and all "
        f"answers are kept for the next call: {longer}try another --prompt, or add --keep-original to let these rows "
        "keep what the person said."
    )
