"""Upload of a finished model to a Hugging Face hub.

The token is what `hf auth login` or HF_TOKEN gave to huggingface_hub; it is neither asked for nor
written anywhere here. HF_ENDPOINT names another hub.
"""

import os
from pathlib import Path
from typing import Any

from accord.core import processes
from accord.core.errors import ConfigError, HubError
from accord.wiring import stage_outputs


def check_push(stage: str, repo_id: str) -> None:
    """Refuse, before any work is done, what could not be pushed when it is done.

    Raises:
        ConfigError: the name is not `NAME` or `USER/NAME` in the hub's alphabet, or the stage
            leaves no model.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    if "model" not in stage_outputs(stage):
        raise ConfigError(f"push_to_hub: the stage {stage!r} leaves no model")
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise ConfigError(
            f"push_to_hub: {repo_id!r} is no repository name; expected USER/NAME of letters, "
            "digits, '-', '_' and '.'"
        ) from None


def push_model(run_path: Path, repo_id: str, *, private: bool = False) -> str:
    """Upload a run's `model/` as one commit; of several processes the main one does it.

    A repository that exists gets a new commit; files that the model lacks stay in it.

    Args:
        run_path: the directory of a finished stage.
        repo_id: `USER/NAME`; `NAME` alone is the token's user's.
        private: make a new repository private; an existing one has to be private already.

    Returns:
        the repository's address.

    Raises:
        ConfigError: the stage left no model.
        HubError: the hub refused or could not be reached; the run is as it was.
    """
    model_path = run_path / "model"
    if not (model_path / "config.json").is_file():
        raise ConfigError(f"{run_path}: holds no finished model/ that could be pushed")
    return processes.by_main(lambda: _push(model_path, repo_id, private=private))


def _push(model_path: Path, repo_id: str, *, private: bool) -> str:
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if os.environ.get("ACCORD_QUIET"):
        disable_progress_bars()
    kept = (
        f"The model is safe in {model_path}: the same command with the same output_dir uploads it "
        "without training again"
    )
    if not get_token():
        raise HubError(f"{repo_id}: not logged in: run `hf auth login` or set HF_TOKEN. {kept}")
    api = HfApi(library_name="accord")
    try:
        address = api.create_repo(repo_id, private=private or None, exist_ok=True)
        # An existing repository keeps its visibility, whatever was asked for.
        if private and not api.repo_info(address.repo_id).private:
            raise HubError(
                f"{repo_id}: exists and is public, but hub_private is set; nothing was uploaded: "
                f"make it private on the hub, or choose another name. {kept}"
            )
        api.upload_folder(
            repo_id=address.repo_id, folder_path=model_path, commit_message="Upload model"
        )
    except HubError:
        raise
    # The library and the transport below it have dozens of errors, which the user meets as one.
    except Exception as error:
        raise HubError(f"{repo_id}: {_advice(error)}. {kept}") from error
    return str(address)


def _advice(error: Any) -> str:
    """What to do about an error, and what the hub said."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    while not hasattr(error, "response") and isinstance(error.__cause__, Exception):
        error = error.__cause__  # an upload's own error hides what went wrong
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = f"({' '.join(f'{type(error).__name__}: {error}'.split())})"
    if isinstance(error, OfflineModeIsEnabled):
        return f"offline mode is on: unset HF_HUB_OFFLINE {said}"
    if status == 401:
        return f"the hub does not know this token: run `hf auth login`, or renew HF_TOKEN {said}"
    if status in {403, 404}:
        return (
            "the token may not write there: choose a name under your own user or organisation, or "
            f"a token with write access {said}"
        )
    if status == 409:
        return f"the name is taken by something else: choose another {said}"
    if status is None:
        return f"the hub could not be reached: look at the network and HF_ENDPOINT {said}"
    return f"the hub refused {said}"
