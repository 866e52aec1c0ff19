"""The stages, in the order of the loop; each is a folder with `config.py` and `run.py`."""

STAGES = {
    "sample": "accord.stages.sample_set",
    "pretrain": "accord.stages.pretraining",
    "sft": "accord.stages.sft",
    "revise": "accord.stages.revision",
    "preferences": "accord.stages.preferences",
    "judge": "accord.stages.ai_feedback",
    "reward": "accord.stages.reward_modeling",
    "process_reward": "accord.stages.process_reward",
    "classifier": "accord.stages.classification",
    "ppo": "accord.stages.policy_training.ppo",
    "grpo": "accord.stages.policy_training.grpo",
    "rloo": "accord.stages.policy_training.rloo",
    "reinforce": "accord.stages.policy_training.reinforce",
    "online_dpo": "accord.stages.policy_training.online_dpo",
    "best_of_n": "accord.stages.policy_training.best_of_n",
    "dpo": "accord.stages.policy_training.dpo",
    "kto": "accord.stages.policy_training.kto",
    "orpo": "accord.stages.policy_training.orpo",
    "simpo": "accord.stages.policy_training.simpo",
    "evaluate": "accord.stages.evaluation",
    "benchmark": "accord.stages.benchmarks",
    "red_team": "accord.stages.red_team",
    "oversight": "accord.stages.oversight",
    "deploy": "accord.stages.deployment",
}
"""Name on the command line and in pipelines -> package with `config.Config` and `run.run`."""
