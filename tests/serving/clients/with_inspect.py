"""inspect-ai: an evaluation with a scorer, and one with a tool. `ACCORD_BASE_URL` is its own name
for the address of a service called accord."""

import sys

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool


@tool
def add():  # type: ignore[no-untyped-def]
    async def execute(x: int, y: int) -> str:
        """Add two numbers.

        Args:
            x: First number.
            y: Second number.
        """
        return str(x + y)

    return execute


samples = [Sample(input=f"What is {n} and {n}?", target=str(2 * n)) for n in range(4)]
plain = Task(dataset=samples, solver=generate(), scorer=includes(), name="plain")
tools = Task(
    dataset=samples[:1], solver=[use_tools(add()), generate()], scorer=includes(), name="tool"
)
for log in evaluate(
    [plain, tools], model=f"openai-api/accord/{sys.argv[1]}", max_tokens=12, display="none",
    log_dir=sys.argv[2], max_connections=4, temperature=0.0, seed=1, top_p=0.9, stop_seqs=["###"],
):  # fmt: skip
    assert log.status == "success", log.error
    assert log.stats.model_usage, "no usage came back"
    assert all(sample.output.completion is not None for sample in log.samples or [])
print("ok")
