"""LLaMA-Factory's own tests, with the plug-in and without it: is any outcome another?

    make neighbours LLAMAFACTORY=/path/to/a/checkout/of/v0.9.5

Their tests take tiny models and data from the Hub. Stand-ins for those are made from their own demo data, in a folder
where their names are found as relative paths, so that most tests run offline; the others fail, in both runs alike.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.neighbours.outcomes import Outcomes, differences, print_differences, print_table, run_pytest


os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"  # the stand-ins are made without the plug-in
SUITES = ("tests/data", "tests/model", "tests/train", "tests/eval")
SWITCHES = {"without": "0", "with": "1"}
SEEN = "from llamafactory.hparams import parser; print(any(c.__name__ == 'GazeArguments' for c in parser._TRAIN_ARGS))"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def make_stand_ins(folder: Path, checkout: Path) -> None:
    """`llamafactory/tiny-random-Llama-3` and what else their tests name, under `folder`."""
    make_models(folder / "llamafactory")
    make_data(folder, checkout / "data")


def make_models(folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import AutoModelForCausalLMWithValueHead

    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytewise = Tokenizer(models.BPE(vocab=letters, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", chat_template=CHAT_TEMPLATE
    )
    tokenizer.add_tokens(["<|start_header_id|>", "<|end_header_id|>"], special_tokens=True)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    stock, valuehead = folder / "tiny-random-Llama-3", folder / "tiny-random-Llama-3-valuehead"
    LlamaForCausalLM(config).half().save_pretrained(stock)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules=targets, init_lora_weights=False)
    model = AutoModelForCausalLM.from_pretrained(stock)
    get_peft_model(model, lora).save_pretrained(folder / "tiny-random-Llama-3-lora")
    AutoModelForCausalLMWithValueHead.from_pretrained(str(stock)).save_pretrained(valuehead)
    for each in (stock, valuehead):
        tokenizer.save_pretrained(each)


def make_data(folder: Path, demo: Path) -> None:
    """Their demo data as two repositories: one of alpaca format, and one with a subset for each data set."""
    tiny, many = folder / "llamafactory/tiny-supervised-dataset", folder / "llamafactory/demo_data"
    rows = json.loads((demo / "alpaca_en_demo.json").read_text())[:64]
    tiny.mkdir(parents=True)
    (tiny / "train.json").write_text(
        json.dumps([{key: row[key] for key in ("instruction", "input", "output")} for row in rows])
    )
    system = [
        {
            "messages": [
                {"role": "system", "content": "Answer briefly."},
                {"role": "user", "content": first["instruction"]},
                {"role": "assistant", "content": first["output"]},
                {"role": "user", "content": second["instruction"]},
                {"role": "assistant", "content": second["output"]},
            ]
        }
        for first, second in zip(rows[::2], rows[1::2], strict=True)
    ]
    known = json.loads((demo / "dataset_info.json").read_text())
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    info = {"system_chat": {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}}
    sets = {"system_chat": system}
    for name in ("alpaca_en_demo", "dpo_en_demo", "kto_en_demo"):
        sets[name] = json.loads((demo / f"{name}.json").read_text())[:64]
        info[name] = {key: value for key, value in known[name].items() if key != "file_name"}
    sets["c4_demo"] = [json.loads(line) for line in (demo / "c4_demo.jsonl").read_text().splitlines()[:64]]
    info["c4_demo"] = {key: value for key, value in known["c4_demo"].items() if key != "file_name"}
    many.mkdir()
    configs = ["---", "configs:"]
    for name, entries in sets.items():
        (many / f"{name}.json").write_text(json.dumps(entries))
        info[name] |= {"hf_hub_url": "llamafactory/demo_data", "subset": name}
        configs += [f"- config_name: {name}", f"  data_files: {name}.json"]
    (many / "README.md").write_text("\n".join([*configs, "---", ""]))
    # `REMOTE:` asks the Hub for this one file: it is put where a download would have left it.
    downloaded = folder / "hub/datasets--llamafactory--demo_data"
    for place, text in (("refs/main", "0" * 40), (f"snapshots/{'0' * 40}/dataset_info.json", json.dumps(info))):
        (downloaded / place).parent.mkdir(parents=True)
        (downloaded / place).write_text(text)


def run(which: str, folder: Path, checkout: Path) -> Outcomes:
    place = folder / which
    place.mkdir()
    (place / "llamafactory").symlink_to(folder / "llamafactory")
    environment = {
        **os.environ,
        "TORCH_DEVICE_BACKEND_AUTOLOAD": SWITCHES[which],
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_DATASETS_CACHE": str(place / "datasets"),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONSAFEPATH": "1",
    }
    seen = subprocess.run([sys.executable, "-c", SEEN], env=environment, text=True, capture_output=True, check=True)
    if seen.stdout.split()[-1] != str(which == "with"):
        sys.exit(f"The run {which} the plug-in is none: is it installed here? {seen.stderr[-500:]}")
    suites = [str(checkout / suite) for suite in SUITES]
    return run_pytest(place / "report.xml", f"--rootdir={checkout}", *suites, cwd=place, env=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of LLaMA-Factory, of the installed version")
    checkout = parser.parse_args().checkout.resolve()
    with tempfile.TemporaryDirectory() as folder:
        make_stand_ins(Path(folder), checkout)
        runs = {which: run(which, Path(folder), checkout) for which in SWITCHES}
    without = runs["without"]
    print_table("LLaMA-Factory tests", runs, lambda name: name.split("::")[0])
    print_differences(runs)
    passed = sum(outcome.what == "passed" for outcome in without.values())
    different = differences(runs)
    print(f"{len(without)} tests, {passed} passed without the plug-in, {len(different)} differ with it.")
    kinds = Counter(outcome.kind for outcome in without.values() if outcome.is_failure)
    for kind, number in kinds.most_common():
        print(f"  failed without it, too: {number} x {kind}")
    sys.exit(bool(different) or not passed)


if __name__ == "__main__":
    main()
