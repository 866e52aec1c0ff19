"""lm-eval: log-likelihoods by `local-completions`, generation by both of its local models."""

import json
import sys
from pathlib import Path

import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

base_url, model, tokenizer, folder = sys.argv[1:]
rows = [{"question": f"{n} and {n}?", "answer": n % 2, "text": str(2 * n)} for n in range(4)]
data = Path(folder) / "rows.jsonl"
data.write_text("\n".join(map(json.dumps, rows)))
common = {
    "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
    "test_split": "test", "doc_to_text": "{{question}}",
}  # fmt: skip
choice = {
    "task": "choice", "output_type": "multiple_choice", "doc_to_choice": [" even", " odd"],
    "doc_to_target": "answer", "metric_list": [{"metric": "acc"}], **common,
}  # fmt: skip
words = {
    "task": "words", "output_type": "generate_until", "doc_to_target": "text",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
    "metric_list": [{"metric": "exact_match"}], **common,
}  # fmt: skip
for task in (choice, words):
    (Path(folder) / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
tasks = TaskManager(include_path=folder, include_defaults=False)
chat = f"model={model},base_url={base_url}/chat/completions,num_concurrent=2"
completions = chat.replace("/chat", "") + f",tokenizer={tokenizer}"
found = simple_evaluate(
    "local-completions", model_args=completions, tasks=["choice", "words"], task_manager=tasks
)
assert 0 <= found["results"]["choice"]["acc,none"] <= 1
assert len(found["samples"]["words"]) == 4
found = simple_evaluate(
    "local-chat-completions", model_args=chat, tasks=["words"], task_manager=tasks,
    apply_chat_template=True,
)  # fmt: skip
assert all(isinstance(s["resps"][0][0], str) for s in found["samples"]["words"])
print("ok")
