"""A sharded model is in parts, optimizer included, and comes out whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import torch
from accord.core import processes
from accord.models.loading import load_policy
from accord.models.logprobs import token_logprobs
from accord.models.sharding import in_step, shard, whole

processes.start()
plain = load_policy(sys.argv[1], device=torch.device("cpu"))
before = {name: t.clone() for name, t in plain.state_dict().items()}
size = sum(p.numel() for p in plain.parameters())
model = shard(plain)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
ids = torch.arange(12).view(1, 12)
mask = torch.ones(1, 12, dtype=torch.bool).index_fill(1, torch.tensor([0]), False)
# The first process has two pieces, the other none: it has to go along, and gets gradients too.
for piece in in_step([[0], [0]] if processes.is_main() else [], 2):
    token_logprobs(model, ids, torch.ones_like(ids), mask).logprobs.sum().backward()
norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).full_tensor()
optimizer.step()
states = [t for state in optimizer.state.values() for t in state.values() if t.dim() > 0]
for tensors, models in ((model.parameters(), 1), (states, 2)):
    mine = sum(t.to_local().numel() for t in tensors)
    assert 0.4 * models * size < mine < 0.6 * models * size, (mine, size)
again = whole(model)
assert type(again).__name__ == "LlamaForCausalLM"
assert again.lm_head.weight is again.model.embed_tokens.weight
assert all(torch.equal(t, before[name]) for name, t in again.state_dict().items())
for _ in range(2):
    token_logprobs(again, ids, torch.ones_like(ids), mask).logprobs.sum().backward()
expected = torch.nn.utils.get_total_norm([p.grad for p in again.parameters()])
torch.testing.assert_close(norm, expected)
print("fine")
"""


@pytest.mark.slow
def test_parts_are_halves_and_one_goes_along(tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, "--standalone", str(tmp_path / "script.py"), str(tiny_model_dir)],
        env={
            **os.environ,
            "ACCELERATE_USE_FSDP": "true",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in sys.path),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout.count("fine") == 2
